"""The evaluation report: one JSON file of all figures, and one page on which a person can listen and look.

Which examples can be heard is not left to taste: some are drawn at random, some are the best and some the worst by one metric.
The page is kept below a size that is asked for; what did not fit is said on it. Given a seed, the same bytes come out again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic import check_new, replacing_all
from ...classification.classifier import Classifier
from ...errors import SettingsError
from ...models.timbre_model import TimbreModel
from ...threads import Progress
from ..compare import HeardRecording
from .examples import LONGEST_S, ExampleSet, Sounds
from .measure import measure
from .media import Drawn, audio_uri, contours
from .page import PLACES, PlayerView, Shown, ShownResult, example_section, page

SHOWN_S = 15.0  # length of each example that is heard
RANKINGS = ("lsd60_db", "loudness_error_db")  # lower is better; the first that is known
KINDS = ("all", "random", "best", "worst")
FEW = 3  # examples: no best and no worst among them
JUST_UNDER_ONE = 0.98
PAGE_BYTES = 100_000  # styles, scripts and sentences


@dataclass(frozen=True)
class ReportFiles:
    """Files of a report, and the number of examples that can be heard in it."""

    page: Path  # HTML
    figures: Path  # JSON
    n_shown: int
    megabytes: float  # of the page


def check_report(path: Path, *, overwrite: bool = False) -> tuple[Path, Path]:
    """The two files of a report, or, before any long work, why they cannot be written, as a SettingsError."""
    page = check_new(path, SettingsError, kind="page", overwrite=overwrite)
    return page, check_new(path.with_suffix(".json"), SettingsError, overwrite=overwrite)


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report: its contents and its title."""

    title: str | None = None  # None: what the set says of itself
    n_shown: int = 12  # examples that can be heard, at most: a third drawn at random, a third the best, a third the worst
    megabytes: float = 20.0  # of the page, at most: examples are left away until it fits
    seed: int = 0  # of the examples that are drawn, and of the intervals
    weights: str = "bundled"  # what they are called on the page, as the next
    classifier_weights: str = "bundled"
    settings: dict[str, Any] | None = None  # more that is to be known of how it was made


def write_report(
    path: str | os.PathLike[str],
    examples: ExampleSet | Sequence[ExampleSet],
    model: TimbreModel,
    classifier: Classifier,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> tuple[dict[str, Any], ReportFiles]:
    """Measure a set of examples, or the same examples of several systems, and write what was found.

    Parameters
    ----------
    path : str or Path
        Of the page, ending in .html; the figures go into a .json beside it.
    examples : ExampleSet or sequence of ExampleSet
        From :mod:`tonetransfer.evaluation.report.examples`; several stand side by side on the page, under their `system`.
    model : TimbreModel
        Its encoder gives embeddings.
    classifier : Classifier
        Says which instrument is heard.
    overwrite : bool
        Whether existing files may be replaced.
    progress : callable (done, total) or None
        Told how many of how many steps are done.
    **options
        Fields of :class:`~tonetransfer.evaluation.report.build.ReportOptions`: `title`, `n_shown`, `megabytes` [MB], `seed`, `weights`,
        `classifier_weights`, `settings`.

    Returns
    -------
    findings : dict
        What stands in the JSON. Of several systems, what was measured of each lies under its name in `systems`.
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
    chosen = ReportOptions(**options)
    sets = [examples] if isinstance(examples, ExampleSet) else list(examples)
    measured = _measure_all(sets, model, classifier, chosen.seed, progress)
    rows = _common_rows(measured)
    if not rows:
        raise SettingsError("no example could be used of every system; see what is wrong by a report of each of them")
    ranking, order = choose(rows, chosen.n_shown, chosen.seed)
    findings: dict[str, Any] = {
        "title": chosen.title or _title(sets),
        "kind": sets[0].kind,
        "versions": {"tonetransfer": version("tonetransfer"), "weights": chosen.weights, "classifier": chosen.classifier_weights},
        "settings": {
            "seed": chosen.seed,
            "sample_rate_hz": model.sample_rate,
            "longest_s": LONGEST_S,
            "shown_s": SHOWN_S,
            "ranked_by": ranking,
            "megabytes": chosen.megabytes,
            **(chosen.settings or {}),
        },
        **(measured[0] if len(sets) == 1 else _of_several(sets, measured, rows)),
    }
    sections = _sections(sets, measured, rows, order, chosen.megabytes * 1e6, model.sample_rate)
    findings["shown"] = [{"name": rows[row]["name"], "why": why} for why, row, _ in sections]
    systems = [{"name": one.system, **found} for one, found in zip(sets, measured, strict=True)]
    text = page(findings, systems, sections, ranking=ranking)
    figures = json.dumps(findings, indent=1, allow_nan=False) + "\n"
    with replacing_all(files, error=SettingsError) as temporary:
        for part, content in zip(temporary, (text, figures), strict=True):
            part.write_text(content, encoding="utf-8")
    return findings, ReportFiles(*files, len(sections), len(text.encode()) / 1e6)


def _title(sets: Sequence[ExampleSet]) -> str:
    """Title of a report of one set, or of several systems against one reference."""
    return (
        sets[0].title if len(sets) == 1 else f"{', '.join(one.system for one in sets)} against {sets[0].title.rpartition(' against ')[2]}"
    )


def _measure_all(
    sets: Sequence[ExampleSet], model: TimbreModel, classifier: Classifier, seed: int, progress: Progress | None
) -> list[dict[str, Any]]:
    """Measure each system; SettingsError: of one of them, nothing could be used."""
    total, measured = sum(len(one.examples) for one in sets), []
    for number, one in enumerate(sets):
        before = sum(len(earlier.examples) for earlier in sets[:number])
        told = (lambda done, _n, before=before: progress(before + done, total)) if progress else None
        found = measure(one, model, classifier, seed=seed, progress=told)
        if not found["examples"]:
            reason = found["left_out"][0] if found["left_out"] else "there are none"
            raise SettingsError(f"none of the {len(one.examples)} examples could be used: {reason}")
        measured.append(found)
    return measured


def _common_rows(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by which examples are chosen: names that every system has, with the means of the systems' metrics."""
    if len(measured) == 1:
        return measured[0]["per_example"]
    by_name = [{row["name"]: row for row in found["per_example"]} for found in measured]
    common = []
    for name in by_name[0]:
        if all(name in rows for rows in by_name):
            each = [rows[name]["metrics"] for rows in by_name]
            keys = [key for key in each[0] if all(key in one for one in each)]
            common.append({"name": name, "metrics": {key: float(np.mean([one[key] for one in each])) for key in keys}})
    return common


def _of_several(sets: Sequence[ExampleSet], measured: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    left_out = dict.fromkeys(told for found in measured for told in found["left_out"])
    return {
        "examples": len(rows),
        "systems": {one.system: found for one, found in zip(sets, measured, strict=True)},
        "left_out": list(left_out),
    }


def choose(rows: list[dict[str, Any]], count: int, seed: int) -> tuple[str, list[tuple[int, str]]]:
    """Choose the examples that are heard: by what they were ranked, and rows with the reason why, the most telling first.

    A third is drawn at random, the rest are the best and the worst in turn; of three or fewer, all are shown as they come.
    """
    key = next((key for key in RANKINGS if any(key in row["metrics"] for row in rows)), RANKINGS[0])
    ranked = sorted((row for row in range(len(rows)) if key in rows[row]["metrics"]), key=lambda row: rows[row]["metrics"][key])
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
    sets: Sequence[ExampleSet],
    measured: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    order: Sequence[tuple[int, str]],
    most_bytes: float,
    sample_rate: int,
) -> list[tuple[str, int, str]]:
    """Reason, row and HTML of as many of the chosen examples as fit; the random ones first, then the best, then the worst."""
    examples = [{example.name: example for example in one.examples} for one in sets]
    own = [{row["name"]: row for row in found["per_example"]} for found in measured]
    room = most_bytes - PAGE_BYTES - 1500 * len(rows) * len(sets)  # beside the tables
    sections: list[tuple[str, int, str]] = []
    for row, why in order:
        name = rows[row]["name"]
        sounds = [by_name[name].load() for by_name in examples]
        section = _section(row, [one.system for one in sets], [by_name[name] for by_name in own], sounds, sample_rate)
        if (room := room - len(section.encode())) < 0 and sections:
            break
        sections.append((why, row, section))
    return sorted(sections, key=lambda one: KINDS.index(one[0]))


def _section(number: int, systems: Sequence[str], rows: Sequence[dict[str, Any]], sounds: Sequence[Sounds], sample_rate: int) -> str:
    """One example of all systems."""
    takes = _takes(systems, rows[0], sounds)
    n_samples = min(max(len(one.audio) for *_, one in takes), round(SHOWN_S * sample_rate))
    peak = max(float(one.audio[:n_samples].abs().max()) for *_, one in takes)
    gain = JUST_UNDER_ONE / peak if peak > JUST_UNDER_ONE else 1.0  # the same for all, so that their levels can be compared
    players = [PlayerView(role, name, note, audio_uri(one.audio[:n_samples] * gain, sample_rate)) for role, _, name, note, one in takes]
    drawn = [Drawn(colour, name, one.controls, one.notes) for _, colour, name, _, one in takes]
    results = [
        ShownResult(system, row["metrics"], row["heard_as"].get("estimate"), row["wanted"])
        for system, row in zip(systems, rows, strict=True)
    ]
    seconds = n_samples / sample_rate
    return example_section(Shown(number, rows[0]["name"], seconds, rows[0]["seconds"], players, list(contours(drawn, seconds)), results))


def _takes(systems: Sequence[str], row: dict[str, Any], sounds: Sequence[Sounds]) -> list[tuple[str, str, str, str, HeardRecording]]:
    """Role for the player, colour, name, note and sound of each take: source, results, reference."""
    target = (row["wanted"] if row["wanted_known_by"] == "name" else None) or ""
    found = []
    if sounds[0].source is not None:
        found.append(("source", "source", PLACES["source"], row["source_name"] or "", sounds[0].source))
    for number, (system, one) in enumerate(zip(systems, sounds, strict=True)):
        name = PLACES["estimate"] if len(systems) == 1 else system
        found.append(("other" if number else "result", f"system-{number + 1}", name, target, one.estimate))
    if sounds[0].reference is not None:
        found.append(("reference", "reference", PLACES["reference"], target, sounds[0].reference))
    return found
