"""Pictures of the page, as plain data and HTML; the drawing itself is done in the browser (page.js), in the browser's colours."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

MOST_POINTS = 1600  # points of a contour
COLUMNS, ROWS = 900, 150  # size of a spectrogram
LOWEST_HZ, HIGHEST_HZ = 50.0, 16000.0
RANGE_DB = 75.0
N_FFT = 4096
NIGHT = ((12, 14, 26), (44, 32, 84), (128, 46, 98), (212, 84, 74), (249, 156, 88), (255, 238, 190))  # soft to loud
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
        "spectral_slope_db_per_octave": ("Slope of the partials", "dB / octave", 1),
        "odd_to_even_ratio_db": ("Odd against even partials", "dB", 1),
        "harmonic_to_noise_ratio_db": ("Tone against noise", "dB", 1),
        "inharmonicity_coefficient": ("Inharmonicity", "", 6),
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


def spectrogram(audio: Any, sample_rate: int) -> str:
    """Audio (n_samples,) as a picture with a logarithmic scale of frequency, as a data URI."""
    import torch
    from PIL import Image

    hop = max(math.ceil(len(audio) / COLUMNS), 256)
    spectrum = torch.stft(audio, N_FFT, hop, window=torch.hann_window(N_FFT), pad_mode="constant", return_complex=True).abs()
    centres = np.geomspace(LOWEST_HZ, HIGHEST_HZ, ROWS) * N_FFT / sample_rate
    below = np.minimum(centres.astype(int), spectrum.shape[0] - 2)
    share = torch.from_numpy(centres - below).float()[:, None]
    level = 20.0 * torch.log10(((1.0 - share) * spectrum[below] + share * spectrum[below + 1]).clamp(min=1e-6))
    shade = ((level - level.max() + RANGE_DB) / RANGE_DB).clamp(0.0, 1.0)
    picture = Image.fromarray((63.0 * shade.flip(0)).byte().numpy(), mode="P")
    stops = np.linspace(0.0, 1.0, len(NIGHT))
    palette = [np.interp(np.linspace(0.0, 1.0, 64), stops, [colour[k] for colour in NIGHT]) for k in range(3)]
    picture.putpalette(np.stack(palette, 1).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", bits=6, optimize=False)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


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
        "lowest_hz": LOWEST_HZ,
        "highest_hz": HIGHEST_HZ,
        "source": contours(heard, heard.note_frames(), every),
        "source_name": source.name,
        "source_picture": spectrogram(source.audio, heard.grid.sample_rate),
        "notes": named_notes(heard, heard.note_frames(), note_name),
    }
    if performance is not None:
        asked, notes = performance.arrangement.asked, performance.arrangement.notes
        data |= {
            "result": contours(asked, notes, every),
            "result_name": performance.player.name,
            "result_picture": spectrogram(performance.audio, heard.grid.sample_rate),
            "notes": named_notes(asked, notes, note_name),
        }
    return data


def roll(data: Mapping[str, Any]) -> str:
    """The roll as HTML, with the tools to edit it; the notes as a list for those who do not see it."""
    names = [note["name"] for note in data["notes"]]
    melody = ", ".join(names[:60]) + (" ..." if len(names) > 60 else "") or "no note"
    tools = (
        _tool("select", "Select", "Drag over the picture to select a span of time", pressed=True)
        + _tool("pitch", "Draw pitch", "Draw a new pitch into the roll")
        + _tool("loudness", "Draw loudness", "Draw a new loudness into the panel below the roll")
    )
    actions = "".join(
        f'<button type="button" data-edit="{key}" title="{title}" aria-label="{title}">{text}</button>'
        for key, text, title in (
            ("octave_up", "8va ↑", "Selection up by an octave"),
            ("octave_down", "8va ↓", "Selection down by an octave"),
            ("semitone_up", "½ ↑", "Selection up by a semitone"),
            ("semitone_down", "½ ↓", "Selection down by a semitone"),
            ("fix_octave", "Fix octave", "Put the selection into the octave of the notes around it"),
            ("louder", "Louder", "Selection 3 dB louder"),
            ("softer", "Softer", "Selection 3 dB softer"),
            ("undo", "Undo", "Take the last edit back"),
            ("clear", "Reset", "Take all edits back"),
        )
    )
    legend = f'<span class="tt-key tt-source">{escape(data["source_name"])}</span>'
    if "result" in data:
        legend += f'<span class="tt-key tt-result">{escape(data["result_name"])}</span>'
    return (
        f'<section class="tt-roll" aria-label="Pitch, loudness and spectrum">{_data(data)}'
        f'<div class="tt-legend">{legend}<span class="tt-edited" role="status"></span></div>'
        f'<canvas role="img" tabindex="0" aria-label="Piano roll. Notes: {escape(melody)}"></canvas>'
        f'<details class="tt-tools"><summary>Edit before hearing</summary>'
        f"<p>Select a span of what was heard, by dragging or by its times; correct it; and play again.</p>"
        f'<div class="tt-row" role="toolbar" aria-label="Tools">{tools}</div>'
        f'<div class="tt-row"><label>From <input type="number" min="0" step="0.01" class="tt-from" value="0"> s</label>'
        f'<label>to <input type="number" min="0" step="0.01" class="tt-to" value="{data["seconds"]:.2f}"> s</label></div>'
        f'<div class="tt-row" role="toolbar" aria-label="Changes">{actions}</div></details>'
        f'<details class="tt-notes"><summary>{len(names)} notes</summary><p>{escape(melody)}</p></details></section>'
    )


def _tool(key: str, text: str, title: str, *, pressed: bool = False) -> str:
    state = "true" if pressed else "false"
    return f'<button type="button" data-tool="{key}" aria-pressed="{state}" title="{title}">{text}</button>'


def _data(data: Mapping[str, Any]) -> str:
    """Plain data inside HTML, where page.js finds it."""
    return f'<template class="tt-data" data-json="{escape(json.dumps(data, allow_nan=False), quote=True)}"></template>'


def timbre_map(model: Any, nearest: Sequence[tuple[str, float]], points: Mapping[str, Any]) -> str:
    """Named timbres in the plane in which they differ most (principal components), and where some others lie among them.

    Parameters
    ----------
    model : TimbreModel
    nearest : sequence of (name, distance)
    points : mapping of str to Tensor [shape=(z_dim,)]
        For example the recording and the result.
    """
    timbres = model.timbres.double().numpy()
    mean = timbres.mean(0)
    axes = np.linalg.svd(timbres - mean, full_matrices=False)[2][:2]
    places = (timbres - mean) @ axes.T
    data = {
        "named": [
            {"name": one.name.replace("_", " "), "family": one.family, "x": round(float(x), 3), "y": round(float(y), 3)}
            for one, (x, y) in zip(model.instruments, places, strict=True)
        ],
        "points": {},
        "nearest": [name.replace("_", " ") for name, _ in nearest],
    }
    for key, z in points.items():
        if z is not None:
            x, y = (z.double().numpy().reshape(-1, len(mean)).mean(0) - mean) @ axes.T
            data["points"][key] = {"x": round(float(x), 3), "y": round(float(y), 3)}
    told = ", ".join(f"{name.replace('_', ' ')} ({abs(distance):.2f})" for name, distance in nearest)  # rounding can leave -0
    return (
        f'<section class="tt-map" aria-label="Map of timbres">{_data(data)}'
        f'<canvas role="img" aria-label="Map of timbres. Nearest: {escape(told)}"></canvas>'
        f"<p><strong>Nearest timbres</strong> (0 is the same): {escape(told)}</p></section>"
    )


def descriptors(described: Mapping[str, float]) -> str:
    """Descriptors as small tables."""
    groups = []
    for title, terms in TERMS.items():
        rows = "".join(
            f"<tr><th scope='row'>{escape(name)}</th><td>{described[key]:.{digits}f} <span>{escape(unit)}</span></td></tr>"
            for key, (name, unit, digits) in terms.items()
            if key in described
        )
        groups.append(f"<section><h4>{title}</h4><table>{rows}</table></section>")
    return f'<div class="tt-descriptors">{"".join(groups)}</div>'


def classified(prediction: Any) -> str:
    """Answers of the classifier as HTML: of the whole, and of each second."""
    best = [(name, share) for name, share in prediction.ranked().items()][:5]
    bars = "".join(
        f'<li><span>{escape(name.replace("_", " "))}</span><meter min="0" max="1" value="{share:.3f}" aria-label="{escape(name)}"></meter>'
        f"<span>{100 * share:.0f} %</span></li>"
        for name, share in best
    )
    steps = prediction.per_step()
    told = ", ".join(str(step["instrument"] or "silence") for step in steps[:60])
    names = list(dict.fromkeys(step["instrument"] for step in steps if step["instrument"]))
    cells = "".join(_step(step, names) for step in steps)
    key = "".join(
        f'<span class="tt-key"><i class="tt-c{number % 8}"></i>{escape(name.replace("_", " "))}</span>' for number, name in enumerate(names)
    )
    return (
        f'<div class="tt-classified"><h4>It sounds like</h4><ol>{bars}</ol><h4>Second by second</h4>'
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
