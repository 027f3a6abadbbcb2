"""The evaluation report: one JSON file of all figures, and one page on which a person can listen and look.

Which examples can be heard is not left to taste: some are drawn at random, some are the best and some the worst by one metric.
The page is kept below a size that is asked for; what did not fit is said on it. Given a seed, the same bytes come out again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...atomic import check_new, replacing_all
from ...audio.units import PRINTED, hz_to_midi, note_name
from ...classification.classifier import Classifier
from ...errors import SettingsError
from ...models.timbre_model import TimbreModel
from ..compare import HeardRecording
from .examples import LONGEST_S, ExampleSet, Sounds
from .measure import Progress, measure
from .media import audio_uri, contour_path, frequency_marks, spectrogram_uri, top_level_db
from .page import Contours, PlayerView, Shown, example_section, kind_heading, page

SHOWN_S = 15.0  # length of each example that is heard
RANKINGS = (("lsd60_db", "lower"), ("loudness_error_db", "lower"))  # the first that is known
KINDS = ("all", "random", "best", "worst")
FEW = 3  # examples: no best and no worst among them
DEEPEST_DB = 60.0  # softer loudness is not drawn
JUST_UNDER_ONE = 0.98


@dataclass(frozen=True)
class ReportFiles:
    """Files of a report, and the number of examples that can be heard in it.

    Parameters
    ----------
    page, figures : Path
        HTML and JSON.
    n_shown : int
        Examples that can be heard.
    megabytes : float
        Of the page.
    """

    page: Path
    figures: Path
    n_shown: int
    megabytes: float


def check_report(path: Path, *, overwrite: bool = False) -> tuple[Path, Path]:
    """The two files of a report, or, before any long work, why they cannot be written.

    Raises
    ------
    SettingsError
    """
    if path.suffix.lower() != ".html":
        raise SettingsError(f"{path}: a report is a page ending in .html, with a .json beside it; name it {path.stem or 'report'}.html")
    files = path, path.with_suffix(".json")
    for file in files:
        check_new(file, SettingsError, overwrite=overwrite)
    return files


def write_report(
    path: str | os.PathLike[str],
    examples: ExampleSet,
    model: TimbreModel,
    classifier: Classifier,
    *,
    title: str | None = None,
    n_shown: int = 12,
    megabytes: float = 20.0,
    seed: int = 0,
    weights: str = "bundled",
    classifier_weights: str = "bundled",
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], ReportFiles]:
    """Measure a set of examples, and write what was found.

    Parameters
    ----------
    path : str or Path
        Of the page, ending in .html; the figures go into a .json beside it.
    examples : ExampleSet
        From :mod:`tonetransfer.evaluation.report.examples`.
    model : TimbreModel
        Its encoder gives embeddings.
    classifier : Classifier
        Says which instrument is heard.
    title : str or None
        None: what the set says of itself.
    n_shown : int, >= 0
        How many examples can be heard at most: a third drawn at random, a third the best, a third the worst.
    megabytes : float, > 0 [MB]
        Of the page at most; examples are left away until it fits.
    seed : int, >= 0
        Of the examples that are drawn, and of the intervals.
    weights, classifier_weights : str
        What they are called on the page.
    settings : dict or None
        More that is to be known of how it was made.
    overwrite : bool
        Whether existing files may be replaced.
    progress : callable (done, total) or None
        Told how many of how many steps are done.

    Returns
    -------
    findings : dict
        What stands in the JSON.
    files : ReportFiles

    Raises
    ------
    SettingsError
        The files exist or cannot be written, or none of the examples could be used.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tonetransfer.evaluation.report.examples import pairs_of_folders
    >>> t = np.arange(24000) / 48000
    >>> for folder, f0_hz in (("reference", 440.0), ("estimate", 442.0)):
    ...     Path(folder).mkdir()
    ...     tt.save_audio(f"{folder}/a.wav", 0.3 * np.sin(2 * np.pi * f0_hz * t), 48000)
    >>> model = tt.load_model()
    >>> pairs = pairs_of_folders(Path("reference"), Path("estimate"), None, model.grid)
    >>> findings, files = tt.write_report("report.html", pairs, model, tt.load_classifier())
    >>> Path("report.html").is_file(), Path("report.json").is_file()
    (True, True)
    """
    files = check_report(Path(path), overwrite=overwrite)
    measured = measure(examples, model, classifier, seed=seed, progress=progress)
    if not measured["examples"]:
        reason = measured["left_out"][0] if measured["left_out"] else "there are none"
        raise SettingsError(f"none of the {len(examples.examples)} examples could be used: {reason}")
    ranking, chosen = choose(measured["per_example"], n_shown, seed)
    findings: dict[str, Any] = {
        "title": title or examples.title,
        "kind": examples.kind,
        "versions": {"tonetransfer": version("tonetransfer"), "weights": weights, "classifier": classifier_weights},
        "settings": {
            "seed": seed,
            "sample_rate_hz": model.sample_rate,
            "longest_s": LONGEST_S,
            "shown_s": SHOWN_S,
            "ranked_by": ranking,
            "megabytes": megabytes,
            **(settings or {}),
        },
        **measured,
    }
    sections = _sections(examples, findings, chosen, megabytes * 1e6, model.sample_rate)
    findings["shown"] = [{"name": findings["per_example"][row]["name"], "why": why} for row, why, _ in sections]
    parts, before = [], None
    for _, why, section in sections:
        parts += ([kind_heading(why, ranking)] if why != before else []) + [section]
        before = why
    text = page(findings, parts, ranking=ranking)
    figures = json.dumps(findings, indent=1, allow_nan=False) + "\n"
    with replacing_all(files, error=SettingsError) as temporary:
        for part, content in zip(temporary, (text, figures), strict=True):
            part.write_text(content, encoding="utf-8")
    return findings, ReportFiles(*files, len(sections), len(text.encode()) / 1e6)


def choose(rows: list[dict[str, Any]], count: int, seed: int) -> tuple[str, list[tuple[int, str]]]:
    """Choose the examples that are heard: by what they were ranked, and rows with the reason why, the most telling first.

    A third is drawn at random, the rest are the best and the worst in turn; of three or fewer, all are shown as they come.
    """
    key, better = next((one for one in RANKINGS if any(one[0] in row["metrics"] for row in rows)), RANKINGS[0])
    ranked = sorted((row for row in range(len(rows)) if key in rows[row]["metrics"]), key=lambda row: rows[row]["metrics"][key])
    if better == "higher":
        ranked.reverse()
    if len(rows) <= min(FEW, count):
        return key, [(row, "all") for row in range(len(rows))]
    count = min(count, len(rows))
    n_ends = min((count - -(-count // 3)) // 2, len(ranked) // 2)
    ends = {"best": ranked[:n_ends], "worst": ranked[::-1][:n_ends]}
    others = [row for row in range(len(rows)) if row not in ends["best"] + ends["worst"]]
    drawn = np.random.default_rng(seed).permutation(len(others))[: count - 2 * n_ends]
    queues = {"random": [others[k] for k in drawn], **ends}
    in_turn = [(queue[turn], why) for turn in range(count) for why, queue in queues.items() if turn < len(queue)]
    return key, in_turn


def _sections(
    examples: ExampleSet, findings: dict[str, Any], chosen: list[tuple[int, str]], most_bytes: float, sample_rate: int
) -> list[tuple[int, str, str]]:
    """Row, reason and HTML of as many of the chosen examples as fit; the random ones first, then the best, then the worst."""
    by_name = {example.name: example for example in examples.examples}
    rows, room = findings["per_example"], most_bytes - 60_000 - 1500 * len(findings["per_example"])  # beside the tables
    sections: list[tuple[int, str, str]] = []
    for row, why in chosen:
        section = _section(row, rows[row], why, by_name[rows[row]["name"]].load(), sample_rate)
        if (room := room - len(section.encode())) < 0 and sections:
            break
        sections.append((row, why, section))
    return sorted(sections, key=lambda one: KINDS.index(one[1]))


def _section(number: int, row: dict[str, Any], why: str, sounds: Sounds, sample_rate: int) -> str:
    there = {"source": sounds.source, "estimate": sounds.estimate, "reference": sounds.reference}
    heard = {role: one for role, one in there.items() if one is not None}
    n_samples = min(max(len(one.audio) for one in heard.values()), round(SHOWN_S * sample_rate))
    seconds = n_samples / sample_rate
    peak = max(float(one.audio[:n_samples].abs().max()) for one in heard.values())
    gain = JUST_UNDER_ONE / peak if peak > JUST_UNDER_ONE else 1.0  # the same for all, so that their levels can be compared
    top_db = max(top_level_db(one.audio[:n_samples] * gain, sample_rate) for one in heard.values())
    target = row["wanted"] if row["wanted_known_by"] == "name" else None
    names = {"source": row["source_name"], "estimate": target, "reference": target}
    players = [
        PlayerView(
            role,
            names[role] or "",
            audio_uri(one.audio[:n_samples] * gain, sample_rate),
            spectrogram_uri(one.audio[:n_samples] * gain, sample_rate, seconds, top_db),
        )
        for role, one in heard.items()
    ]
    return example_section(
        Shown(
            number=number,
            name=row["name"],
            why=why,
            seconds=seconds,
            whole_seconds=row["seconds"],
            metrics=row["metrics"],
            heard_as=row["heard_as"].get("estimate"),
            wanted=row["wanted"],
            players=players,
            contours=list(_contours(heard, seconds)),
            marks=frequency_marks(sample_rate),
        )
    )


def _contours(heard: dict[str, HeardRecording], seconds: float) -> Iterator[Contours]:
    """f0 in note frames, and loudness, over each other."""
    n_frames = {role: round(seconds * one.controls.grid.frame_rate) for role, one in heard.items()}
    pitch = {
        role: torch.where(one.notes, hz_to_midi(one.controls.f0_hz.double()), torch.nan)[: n_frames[role]].numpy()
        for role, one in heard.items()
    }
    known = np.concatenate([values[np.isfinite(values)] for values in pitch.values()])
    if len(known):
        lowest, highest = np.floor(np.quantile(known, 0.005)) - 1.0, np.ceil(np.quantile(known, 0.995)) + 1.0
        named = _round_marks(lowest, highest, (1, 2, 3, 4, 6, 12, 24), lambda midi: note_name(midi, PRINTED))
        yield Contours("Pitch", {role: contour_path(one, lowest, highest, n_frames[role]) for role, one in pitch.items()}, named)
    loudness = {role: one.controls.loudness_db[: n_frames[role]].double().numpy() for role, one in heard.items()}
    top = max(float(one.max()) for one in loudness.values())
    top = max(5.0 * np.ceil(top / 5.0), -115.0)
    bottom = max(top - DEEPEST_DB, -120.0)
    named = _round_marks(bottom, top, (5, 10, 20), lambda level: f"{level:.0f} dB".replace("-", "−"))
    yield Contours("Loudness", {role: contour_path(one, bottom, top, n_frames[role]) for role, one in loudness.items()}, named)


def _round_marks(lowest: float, highest: float, steps: tuple[int, ...], name: Callable[[float], str]) -> list[tuple[str, float]]:
    """Names and heights of the round values in a range: as many as can be read."""
    step = next((step for step in steps if (highest - lowest) / step <= 5), steps[-1])
    values = np.arange(np.ceil(lowest / step) * step, highest + 0.01, step)
    return [(name(float(value)), float((value - lowest) / (highest - lowest))) for value in values]
