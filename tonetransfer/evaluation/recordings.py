"""Real phrases, played again as the instrument that they are, beside the recordings.

Files are named after their instrument (``violin_bach_1.flac``, or ``INSTRUMENT__anything.wav``). Each is transferred to that instrument
without transposition, moved to where it fits best, brought to the recording's level, and compared with it at 48 kHz by
:func:`compare_resynthesis`. Pitch is judged by CREPE, which no default of the program uses.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..audio.files import AudioLike, load_audio, resample, sound_files
from ..audio.frames import FrameGrid
from ..audio.loudness import loudness_db
from ..audio.stft import audible_log_spectral_distance_db, same_length
from ..audio.units import db_to_amplitude
from ..errors import AudioError, InstrumentError, SettingsError, ToneTransferWarning, did_you_mean
from ..models.instrument_names import find_name
from ..models.timbre_model import TimbreModel
from ..pipeline.transfer import transfer
from ..pitch.estimators import SAMPLE_RATE as PITCH_RATE
from ..pitch.estimators import TRACKERS
from ..threads import Progress, counted
from . import performance_metrics as performance
from .compare import SILENT_DB
from .metrics import loudness_contour_error_db, mel_cepstral_distortion_db, raw_pitch_accuracy

GRID = FrameGrid(48000, 480)
ACTIVE_DB, SOUNDING_DB = -40.0, -30.0  # re the loudest frame: whose level counts, and whose pitch
SURE = 0.6  # CREPE's confidence from which its f0 counts
NAME_END = "__"  # of an instrument that the model need not know
PLACES = 4  # decimal

BAND_KEYS = tuple(f"band_{low / 1000:g}_to_{high / 1000:g}_khz_db" for low, high in performance.BANDS_HZ)
FIGURES = {  # key: heading, and its unit
    "lsd60_db": ("LSD-60", "dB"),
    "mel_cepstral_distortion_db": ("MCD", "dB"),
    "raw_pitch_accuracy": ("pitch", "share"),
    "loudness_contour_error_db": ("loudness", "dB"),
    "movement_db": ("movement", "dB"),
    "recording_movement_db": ("recorded", "dB"),
    "between_partials_db": ("between", "dB"),
    **{key: (f"{low / 1000:g}-{high / 1000:g} kHz", "dB") for key, (low, high) in zip(BAND_KEYS, performance.BANDS_HZ, strict=True)},
    "centroid_octaves": ("centroid", "octaves"),
    "ghost_db": ("ghost", "dB"),
    "lag_ms": ("lag", "ms"),
    "articulation_recall": ("articulation", "share"),
    "added_articulation_share": ("added", "share"),
}


def compare_resynthesis(reference: AudioLike, estimate: AudioLike, sample_rate: int) -> dict[str, float]:
    """The figures of :data:`FIGURES` for a recording and another version of the same performance, (n_samples,) each, the longer one cut.

    A gain, and a delay of up to 40 ms, change nothing but `lag_ms`. ``lsd60_db``, ``mel_cepstral_distortion_db``, ``raw_pitch_accuracy``
    (50 cents) and ``loudness_contour_error_db`` are as in :mod:`~tonetransfer.evaluation.metrics`, the rest as in
    :mod:`~tonetransfer.evaluation.performance_metrics`: differences, estimate minus reference, but for ``movement_db`` and
    ``recording_movement_db``, which stand beside each other, and the shares of the reference's articulations that are found and of the
    estimate's that are its own. What has no meaning is not there; empty where one of them is silent.
    """
    x, y = same_length(*(resample(audio, sample_rate, GRID.sample_rate) for audio in (reference, estimate)))
    lag_s = performance.find_lag_s(x, y, GRID.sample_rate)
    lag = round(lag_s * GRID.sample_rate)
    x, y = same_length(x[max(0, -lag) :], y[max(0, lag) :])
    levels_db = [loudness_db(audio, GRID).double() for audio in (x, y)]
    if min(float(level.max()) for level in levels_db) <= SILENT_DB:
        return {}
    active = levels_db[0] > levels_db[0].max() + ACTIVE_DB
    gain_db = float((levels_db[0] - levels_db[1])[active].mean())
    y, levels_db[1] = y * db_to_amplitude(gain_db), levels_db[1] + gain_db
    found = {
        "lsd60_db": audible_log_spectral_distance_db(x, y),
        "mel_cepstral_distortion_db": mel_cepstral_distortion_db(x, y, GRID.sample_rate),
        "loudness_contour_error_db": loudness_contour_error_db(*(level[active] for level in levels_db)),
        **dict(zip(BAND_KEYS, performance.band_differences_db(x, y, GRID.sample_rate), strict=True)),
        "centroid_octaves": performance.centroid_difference_octaves(x, y, GRID.sample_rate),
        "ghost_db": performance.ghost_difference_db(*levels_db),
        "lag_ms": 1000.0 * lag_s,
        **_compare_articulation(x, y),
        **_compare_pitch(x, y, levels_db[0]),
    }
    return {key: value for key in FIGURES if (value := found.get(key)) is not None}


def _compare_articulation(reference: torch.Tensor, estimate: torch.Tensor) -> dict[str, float | None]:
    found, right = (performance.articulation_recall(*pair, GRID.sample_rate) for pair in ((reference, estimate), (estimate, reference)))
    return {"articulation_recall": found, "added_articulation_share": None if right is None else 1.0 - right}


def _compare_pitch(reference: torch.Tensor, estimate: torch.Tensor, level_db: torch.Tensor) -> dict[str, float | None]:
    """Figures of what has a pitch; `level_db` (n_frames,) is that of the reference."""
    crepe = TRACKERS["crepe"].estimate
    n_frames = len(level_db)
    (f0_hz, confidence), (heard_hz, _) = (
        crepe(resample(audio, GRID.sample_rate, PITCH_RATE).numpy(), n_frames) for audio in (reference, estimate)
    )
    sounding = (confidence > SURE) & (level_db > level_db.max() + SOUNDING_DB).numpy()
    if not sounding.any():
        return {}
    pitch = {"f0_hz": f0_hz, "sounding": sounding}
    between = [performance.between_partials_db(audio, GRID.sample_rate, **pitch) for audio in (reference, estimate)]
    return {
        "raw_pitch_accuracy": raw_pitch_accuracy(*(torch.from_numpy(one[sounding]) for one in (f0_hz, heard_hz))),
        "movement_db": performance.partial_movement_db(estimate, GRID.sample_rate, **pitch),
        "recording_movement_db": performance.partial_movement_db(reference, GRID.sample_rate, **pitch),
        "between_partials_db": None if None in between else between[1] - between[0],  # type: ignore[operator]
    }


@dataclass(frozen=True)
class PhraseFolder:
    """Recordings of known instruments."""

    instruments: dict[Path, str]  # of each recording, in the order of their names
    skipped: dict[str, str] = field(default_factory=dict)  # names of files that are left out, and why

    def another(self, path: Path) -> Path | None:
        """The first other phrase of the same instrument."""
        return next((other for other, name in self.instruments.items() if other != path and name == self.instruments[path]), None)


def instrument_of(file: str, names: Collection[str]) -> str | None:
    """The instrument that a file's name begins with: the longest of `names`, or all before two underscores; None: there is none."""
    stem = "_".join(Path(file).stem.lower().replace("-", "_").split())
    if NAME_END in stem:
        told = stem.split(NAME_END)[0]
        try:
            return find_name(told, list(names))
        except InstrumentError:
            return told
    return max((name for name in names if f"{stem}_".startswith(f"{name}_")), key=len, default=None)


def read_phrases(folder: Path, names: Collection[str], *, only: Collection[str] | None = None) -> PhraseFolder:
    """Read which recordings of a folder are of which of the known instruments; only those that are wanted, or all.

    SettingsError: there is no such folder, or nothing in it that is wanted.
    """
    _check_folder(folder, "recordings named after their instruments (violin_1.flac)")
    named = {path: instrument_of(path.name, names) for path in sound_files(folder)}
    known = {path: name for path, name in named.items() if name is not None}
    if not known:
        raise SettingsError(f"{folder} holds no recording of a known instrument; name files after theirs, e.g. violin_1.flac")
    for name in only or ():
        if name not in known.values():
            hint = did_you_mean(name, known.values())
            raise SettingsError(f"{folder} holds no recording of {name!r}; {hint}there are {', '.join(sorted(set(known.values())))}")
    wanted = {path: name for path, name in known.items() if not only or name in only}
    return PhraseFolder(wanted, {path.name: "begins with no known instrument" for path, name in named.items() if name is None})


def _check_folder(folder: Path, what: str) -> None:
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder; one of {what} is wanted: check the name")


def evaluate_phrases(
    model: TimbreModel,
    folder: Path,
    *,
    like: bool = False,
    match: bool = False,
    results: Path | None = None,
    only: Collection[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Play real phrases again as the instruments that they are, and measure the results beside the recordings.

    Parameters
    ----------
    model : TimbreModel
    folder : Path
        Recordings whose names begin with their instrument.
    like, match : bool
        With the timbre of another phrase of the same instrument in the folder; or in its colour (see ``transfer``). Neither: as the model's
        instrument of that name is.
    results : Path or None
        A folder of results of any system, by the same names; nothing is played then.
    only : collection of str or None
        These instruments only.
    progress : callable or None
        Told how many of how many recordings are done.

    Returns
    -------
    dict
        ``recordings``: for each file its ``instrument`` and the figures of :func:`compare_resynthesis`; ``instruments``: their means for
        each instrument; ``mean``: over all recordings; ``skipped``: files that are left out, and why.

    Raises
    ------
    SettingsError
        There is no such folder, or nothing in it that could be measured.
    """
    if results is not None:
        _check_folder(results, "results, named as the recordings are,")
    phrases = read_phrases(folder, model.names, only=only)
    takes = "like" if like else "match" if match else None
    rows: dict[str, dict[str, Any]] = {}
    skipped = dict(phrases.skipped)
    for path, name in counted(phrases.instruments.items(), progress):
        try:
            rows[path.name] = {"instrument": name, **_measure(model, phrases, path, takes=takes, results=results)}
        except (AudioError, InstrumentError) as error:
            skipped[path.name] = str(error)
    if not rows:
        raise SettingsError(
            f"{folder}: nothing could be measured: " + "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:3])
        )
    by_instrument = {
        name: [row for row in rows.values() if row["instrument"] == name] for name in sorted(set(phrases.instruments.values()))
    }
    return {
        "timbre": "results" if results else takes or "own",
        "recordings": rows,
        "instruments": {name: _means(some) for name, some in by_instrument.items() if some},
        "mean": _means(list(rows.values())),
        "skipped": skipped,
    }


def figure_rows(figures: Mapping[str, Any], *, files: bool = True) -> list[tuple[str, ...]]:
    """Cells of what :func:`evaluate_phrases` gave: headings, units, a row a file (`files`), a row an instrument, and one of all."""
    rows = figures["recordings"] if files else {}
    means = {f"{name} ({some['n_recordings']})": some for name, some in figures["instruments"].items()}
    everything = rows | means | {f"all ({figures['mean']['n_recordings']})": figures["mean"]}
    cells = [(what, *(f"{one[key]:.2f}" if key in one else "-" for key in FIGURES)) for what, one in everything.items()]
    headings, units = zip(*FIGURES.values(), strict=True)
    return [("", *headings), ("", *units), *cells]


def _measure(model: TimbreModel, phrases: PhraseFolder, path: Path, *, takes: str | None, results: Path | None) -> dict[str, Any]:
    """Figures of one recording; `takes` is the argument of :func:`transfer` that another phrase is given as."""
    reference, _ = load_audio(path, model.sample_rate)
    told: dict[str, Any] = {}
    if results:
        estimate, _ = load_audio(_result_of(path, results), model.sample_rate)
    else:
        timbre: dict[str, Any] = {} if takes == "like" else {"to": phrases.instruments[path]}
        if takes:
            other = phrases.another(path)
            if other is None:
                raise AudioError("no other phrase of this instrument is in the folder")
            told, timbre[takes] = {takes: other.name}, load_audio(other)
        estimate = _play(model, reference, **timbre)
    figures = compare_resynthesis(reference, estimate, model.sample_rate)
    if not figures:
        raise AudioError("the recording or its result is silent")
    return told | {key: round(value, PLACES) for key, value in figures.items()}


def _play(model: TimbreModel, audio: torch.Tensor, **timbre: Any) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToneTransferWarning)
        return transfer(audio, model.sample_rate, model, transpose=0, **timbre)


def _result_of(path: Path, results: Path) -> Path:
    """The file of that name in another folder, whatever its format."""
    found = next((other for other in sound_files(results) if other.stem == path.stem), None)
    if found is None:
        raise AudioError(f"{results} holds no result of this name")
    return found


def _means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the rows in which a figure has a meaning."""
    values = {key: [row[key] for row in rows if key in row] for key in FIGURES}
    return {"n_recordings": len(rows), **{key: round(fmean(some), PLACES) for key, some in values.items() if some}}
