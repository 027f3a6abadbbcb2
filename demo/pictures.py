"""Pictures of the page, as plain data and HTML; the drawing itself is done in the browser (page.js), in the browser's colours."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

MOST_POINTS = 1600  # points of a contour
SCALED = {"inharmonicity_coefficient": 1e6}  # what is shown in another unit
SURE = 0.5  # likelihood from which the classifier's first answer stands alone
MOVEMENTS = {"vibrato": "vibrato_rate_hz", "tremolo": "tremolo_rate_hz"}  # where the rate is 0 there is none
TERMS = {  # descriptors that are shown: (title, unit, digits), in groups
    "Playing": {
        "note_count": ("Notes", "", 0),
        "f0_mean_hz": ("Mean pitch", "Hz", 1),
        "pitch_range_semitones": ("Range", "semitones", 1),
        "loudness_mean_db": ("Loudness", "dB", 1),
        "loudness_range_db": ("Dynamic range", "dB", 1),
        "note_duration_s": ("Length of a note", "s", 2),
    },
    "Tone": {
        "spectral_centroid_hz": ("Brightness (centroid)", "Hz", 0),
        "spectral_rolloff_hz": ("Roll-off", "Hz", 0),
        "spectral_slope_db_per_octave": ("Slope of the partials", "dB/octave", 1),
        "odd_to_even_ratio_db": ("Odd against even partials", "dB", 1),
        "harmonic_to_noise_ratio_db": ("Tone against noise", "dB", 1),
        "inharmonicity_coefficient": ("Inharmonicity", "millionths", 1),
    },
    "Articulation": {
        "attack_s": ("Attack", "s", 3),
        "decay_s": ("Decay", "s", 3),
        "release_s": ("Release", "s", 3),
        "vibrato_rate_hz": ("Vibrato, rate", "Hz", 2),
        "vibrato_extent_cents": ("Vibrato, extent", "cents", 0),
        "tremolo_rate_hz": ("Tremolo, rate", "Hz", 2),
        "tremolo_depth_db": ("Tremolo, depth", "dB", 1),
    },
}


def contours(controls: Any, notes: Any, every: int) -> dict[str, list[float | None]]:
    """f0 as MIDI numbers where notes sound (None elsewhere), and loudness; each `every`-th frame."""
    midi = 69.0 + 12.0 * np.log2(controls.f0_hz.double().numpy()[::every] / 440.0)
    sounding = notes.numpy()[::every]
    level = controls.loudness_db.numpy()[::every]
    return {
        "midi": [round(float(value), 2) if sounds else None for value, sounds in zip(midi, sounding, strict=True)],
        "held": [round(float(value), 2) for value in midi],
        "db": [round(float(value), 1) for value in level],
    }


def named_notes(controls: Any, notes: Any, name: Any) -> list[dict[str, Any]]:
    """Notes that are played: `start_s`, `end_s`, `midi`, `name`."""
    import tonetransfer as tt

    f0_hz, rate = controls.f0_hz.double().numpy(), controls.grid.frame_rate
    found = []
    for note in tt.find_notes(f0_hz, controls.loudness_db.numpy(), notes.numpy(), rate):
        midi = 69.0 + 12.0 * float(np.log2(np.median(f0_hz[note.frames]) / 440.0))
        found.append(
            {"start_s": round(note.start / rate, 2), "end_s": round(note.stop / rate, 2), "midi": round(midi, 2), "name": name(midi)}
        )
    return found


def scene(source: Any, performance: Any, note_name: Any) -> dict[str, Any]:
    """Everything that the roll shows of a recording and, if there is one, of a performance of it."""
    heard = source.heard
    every = max(math.ceil(heard.n_frames / MOST_POINTS), 1)
    data: dict[str, Any] = {
        "seconds": heard.n_frames / heard.grid.frame_rate,
        "step_s": every / heard.grid.frame_rate,
        "source": contours(heard, heard.note_frames(), every),
        "source_name": source.name,
        "notes": named_notes(heard, heard.note_frames(), note_name),
    }
    if performance is not None:
        asked, notes = performance.arrangement.asked, performance.arrangement.notes
        data |= {
            "result": contours(asked, notes, every),
            "result_name": performance.player.name,
            "notes": named_notes(asked, notes, note_name),
            "lowest_midi": performance.target.lowest_midi,
            "highest_midi": performance.target.highest_midi,
        }
    return data


def _data(data: Mapping[str, Any]) -> str:
    """Plain data inside HTML, where page.js finds it."""
    return f'<template class="tt-data" data-json="{escape(json.dumps(data, allow_nan=False), quote=True)}"></template>'


def timbre_map(model: Any, nearest: Sequence[tuple[str, float]], points: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Named timbres in the plane in which they differ most (principal components), and where some others lie among them.

    Parameters
    ----------
    model : TimbreModel
    nearest : sequence of (name, distance)
    points : mapping of str to Tensor [shape=(z_dim,)]
        For example the recording and the result.
    titles : mapping of str to str
        What instruments are called.
    """
    timbres = model.timbres.double().numpy()
    mean = timbres.mean(0)
    axes = np.linalg.svd(timbres - mean, full_matrices=False)[2][:2]
    places = (timbres - mean) @ axes.T
    data = {
        "named": [
            {"name": titles[one.name], "family": one.family, "x": round(float(x), 3), "y": round(float(y), 3)}
            for one, (x, y) in zip(model.instruments, places, strict=True)
        ],
        "points": {},
        "nearest": [titles[name] for name, _ in nearest],
    }
    for key, z in points.items():
        if z is not None:
            x, y = (z.double().numpy().reshape(-1, len(mean)).mean(0) - mean) @ axes.T
            data["points"][key] = {"x": round(float(x), 3), "y": round(float(y), 3)}
    told = ", ".join(f"{titles[name]} ({abs(distance):.2f})" for name, distance in nearest)  # rounding can leave -0
    return (
        f'<section class="tt-map" aria-label="Map of timbres">{_data(data)}'
        f'<canvas role="img" aria-label="Map of timbres. Nearest: {escape(told)}"></canvas>'
        f"<p><strong>Nearest timbres</strong> (0 is the same): {escape(told)}</p></section>"
    )


def descriptors(described: Mapping[str, float]) -> str:
    """Descriptors as small tables."""
    groups = []
    for title, terms in TERMS.items():
        rows = "".join(_row(described, key) for key in terms if key in described)
        groups.append(f"<section><h3>{title}</h3><table>{rows}</table></section>")
    return f'<div class="tt-descriptors">{"".join(groups)}</div>'


def _row(described: Mapping[str, float], key: str) -> str:
    """A descriptor with its unit; a movement that there is not is said to be none, and has no extent."""
    name, unit, digits = next(terms[key] for terms in TERMS.values() if key in terms)
    rate = next((one for one in MOVEMENTS if key.startswith(one)), None)
    if rate and not described.get(MOVEMENTS[rate], 0.0) > 0.0:
        return f"<tr><th scope='row'>{rate.capitalize()}</th><td>no {rate}</td></tr>" if key == MOVEMENTS[rate] else ""
    if not math.isfinite(described[key]):
        return f"<tr><th scope='row'>{escape(name)}</th><td>not to be told</td></tr>"
    value = described[key] * SCALED.get(key, 1.0)
    return f"<tr><th scope='row'>{escape(name)}</th><td>{value:.{digits}f} <span>{escape(unit)}</span></td></tr>"


def classified(ranked: Sequence[tuple[str, float]], steps: Sequence[Mapping[str, Any]]) -> str:
    """Answers of the classifier as HTML: of the whole, and of each second. Under half certainty the two likeliest are named."""
    best = ranked[:5]
    names_of_best = [escape(name.replace("_", " ")) for name, _ in best]
    sure = not best or best[0][1] >= SURE
    verdict = (
        (f"It sounds like: {names_of_best[0]}" if sure else f"Unsure: {' or '.join(names_of_best[:2])}") if best else "Nothing is heard"
    )
    bars = "".join(
        f'<li><span>{told}</span><meter min="0" max="1" value="{share:.3f}" aria-label="{told}"></meter>'
        f"<span>{100 * share:.0f} %</span></li>"
        for told, (_, share) in zip(names_of_best, best, strict=True)
    )
    told = ", ".join(str(step["instrument"] or "silence") for step in steps[:60])
    names = list(dict.fromkeys(step["instrument"] for step in steps if step["instrument"]))
    cells = "".join(_step(step, names) for step in steps)
    key = "".join(
        f'<span class="tt-key"><i class="tt-c{number % 8}"></i>{escape(name.replace("_", " "))}</span>' for number, name in enumerate(names)
    )
    return (
        f'<div class="tt-classified"><h3>{verdict}</h3><ol>{bars}</ol><h3>Second by second</h3>'
        f'<div class="tt-steps" role="img" aria-label="{escape(told)}">{cells}</div>'
        f'<div class="tt-legend">{key}</div></div>'
    )


def _step(step: Mapping[str, Any], names: Sequence[str]) -> str:
    """A second of a recording as a coloured cell, the paler the less sure."""
    name, when = step["instrument"], f"{step['start_s']:g} to {step['end_s']:g} s"
    if name is None:
        return f'<span class="tt-step tt-silent" title="{when}: silence"></span>'
    title = f"{when}: {escape(name.replace('_', ' '))}, {100 * step['probability']:.0f} %"
    shade = 0.35 + 0.65 * step["probability"]
    return f'<span class="tt-step tt-c{names.index(name) % 8}" style="opacity:{shade:.2f}" title="{title}"></span>'
