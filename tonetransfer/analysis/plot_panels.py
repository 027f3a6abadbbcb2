"""The parts of a picture: each function draws one panel onto axes that it is given. Matplotlib is not imported here."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..audio.frames import FrameGrid
from ..audio.stft import magnitudes
from ..audio.units import PRINTED, amplitude_to_db, hz_to_midi, midi_to_hz, note_name
from .envelope import ENVELOPE_RATE

N_FFT = 4096  # 12 Hz at 48 kHz: separates the partials of a cello
N_COLUMNS, ROWS_PER_OCTAVE = 1500, 48
LOWEST_HZ = 40.0
RANGE_DB = 80.0
SOURCE, RESULT = "#2f6db3", "#d9702b"
INK, FAINT = "#222222", "#b8b8b8"
PARTS = {"attack": "#4c9f70", "decay": "#e0a030", "sustain": "#7aa6d6", "release": "#b07aa1"}
THIRDS = ("#35618f", "#6aa9c9", "#cfe3ee")  # fundamental, partials 2 to 4, the rest
TECHNIQUE_COLOURS = {
    "vibrato": "#c0504d",
    "tremolo": "#d9902b",
    "bend": "#7d5ba6",
    "slide": "#3a8f8b",
    "hammer_on": "#3f6fb5",
    "pull_off": "#6b93cf",
    "staccato": "#b0a030",
    "legato": "#5d9e5f",
}
FAINTEST_PARTIAL_DB = -50.0  # re the loudest in the recording; fainter ones are not marked

NUMBERS = (
    ("notes", "note_count", "{:.0f}"),
    ("mean f0", "f0_mean_hz", "{:.1f} Hz"),
    ("range", "pitch_range_semitones", "{:.1f} semitones"),
    ("loudness", "loudness_mean_db", "{:.1f} dB(A)"),
    ("dynamic range", "loudness_range_db", "{:.1f} dB"),
    ("attack", "attack_s", "{:.3f} s"),
    ("centroid", "spectral_centroid_hz", "{:.0f} Hz"),
    ("harmonic to noise", "harmonic_to_noise_ratio_db", "{:.1f} dB"),
    ("odd to even", "odd_to_even_ratio_db", "{:.1f} dB"),
    ("inharmonicity B", "inharmonicity_coefficient", "{:.2g}"),
    ("vibrato rate", "vibrato_rate_hz", "{:.2f} Hz"),
    ("vibrato extent", "vibrato_extent_cents", "±{:.0f} cents"),
    ("tremolo rate", "tremolo_rate_hz", "{:.2f} Hz"),
    ("tremolo depth", "tremolo_depth_db", "±{:.1f} dB"),
)


def tidy(axes: Any, ylabel: str, *, xlabel: str = "") -> None:
    axes.set_ylabel(ylabel)
    axes.set_xlabel(xlabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=3)


def only_where(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values (n_frames,) with gaps, so that no line is drawn where nothing is played."""
    return np.where(mask, values, np.nan)


def draw_spectrogram(axes: Any, audio: np.ndarray, grid: FrameGrid, *, lowest_hz: float = LOWEST_HZ) -> Any:
    """Spectrogram up to Nyquist, octaves equally high, 80 dB deep; gives the mesh, for a colour bar."""
    hop_length = max(grid.hop_length // 2, -(-len(audio) // N_COLUMNS))
    frequencies, level_db = log_spectrogram(audio, grid.sample_rate, hop_length, lowest_hz)
    top = max(float(level_db.max()), -60.0)
    edges_s = (np.arange(level_db.shape[1] + 1) - 0.5) * hop_length / grid.sample_rate
    step = frequencies[1] / frequencies[0]
    edges_hz = np.append(frequencies, frequencies[-1] * step) / np.sqrt(step)
    mesh = axes.pcolormesh(edges_s, edges_hz, level_db, vmin=top - RANGE_DB, vmax=top, cmap="magma", rasterized=True)
    axes.set_yscale("log")
    axes.set_ylim(frequencies[0], frequencies[-1])
    ticks = [hertz for hertz in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if frequencies[0] <= hertz < frequencies[-1]]
    axes.set_yticks(ticks, [f"{hertz / 1000:g} k" if hertz >= 1000 else f"{hertz}" for hertz in ticks], minor=False)
    axes.set_yticks([], minor=True)
    tidy(axes, "frequency [Hz]")
    return mesh


def log_spectrogram(audio: np.ndarray, sample_rate: int, hop_length: int, lowest_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of equal ratio up to Nyquist: their frequencies [Hz] (n_rows,) and levels [dB re a full-scale sine] (n_rows, n_columns)."""
    spectrum = magnitudes(torch.from_numpy(np.ascontiguousarray(audio)), N_FFT, hop_length).numpy() * (4.0 / N_FFT)
    nyquist = sample_rate / 2.0
    rows = np.geomspace(lowest_hz, nyquist, round(ROWS_PER_OCTAVE * np.log2(nyquist / lowest_hz)))
    position = rows / nyquist * (len(spectrum) - 1)
    below = np.floor(position).astype(int).clip(max=len(spectrum) - 2)
    part = (position - below)[:, None].astype(np.float32)
    level = (1 - part) * spectrum[below] + part * spectrum[below + 1]
    several = np.flatnonzero(np.diff(below) > 1)  # rows that span several bins show the strongest
    if len(several):
        first = several[0]
        level[first:] = np.maximum(level[first:], np.maximum.reduceat(spectrum, below[first:], axis=0))
    return rows, amplitude_to_db(level, -140.0)


def draw_notes_grid(axes: Any, f0_hz: np.ndarray) -> None:
    """Semitone lines with note names around the f0 that is shown, (n_frames,), NaN where there is none."""
    known = f0_hz[np.isfinite(f0_hz)]
    midi = hz_to_midi(np.quantile(known, [0.01, 0.99])) if len(known) else np.array([57.0, 69.0])
    lowest, highest = int(np.floor(midi[0])) - 1, int(np.ceil(midi[1])) + 1
    step = next((step for step in (1, 2, 3, 4, 6) if (highest - lowest) / step <= 14), 12)
    axes.set_yscale("log")
    axes.set_ylim(midi_to_hz(lowest - 0.5), midi_to_hz(highest + 0.5))
    named = [midi for midi in range(lowest, highest + 1) if midi % step == 0]
    axes.set_yticks([midi_to_hz(midi) for midi in named], [note_name(midi, PRINTED) for midi in named])
    axes.set_yticks([], minor=True)
    for midi in range(lowest, highest + 1):
        black = midi % 12 in (1, 3, 6, 8, 10)
        axes.axhspan(midi_to_hz(midi - 0.5), midi_to_hz(midi + 0.5), color="#eeeeee" if black else "#fafafa", lw=0, zorder=0)
    tidy(axes, "note")


def draw_waveform(axes: Any, audio: np.ndarray, sample_rate: int) -> None:
    """Waveform as its lowest and highest sample in each of some 3000 slots."""
    length = max(1, -(-len(audio) // 3000))
    slots = np.pad(audio, (0, -len(audio) % length)).reshape(-1, length)
    time_s = (np.arange(len(slots)) + 0.5) * length / sample_rate
    axes.fill_between(time_s, slots.min(1), slots.max(1), color=FAINT, lw=0.3, zorder=1)
    peak = max(float(np.abs(audio).max()), 1e-3) * 1.1
    axes.set_ylim(-peak, peak)
    tidy(axes, "amplitude")


def part_borders(note: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Start and end [s] of attack, decay, sustain and release of a described note."""
    borders, start = {}, note["onset_s"]
    for part in PARTS:
        borders[part] = (start, start + note[f"{part}_s"])
        start = borders[part][1]
    return borders


def shade_parts(axes: Any, note: dict[str, float]) -> None:
    """Attack, decay, sustain and release of a described note as coloured bands."""
    for part, (start, stop) in part_borders(note).items():
        if stop > start:
            alpha = 0.18 if part == "sustain" else 0.5
            axes.axvspan(start, stop, color=PARTS[part], alpha=alpha, lw=0, zorder=0, label=f"{part} {1000 * (stop - start):.0f} ms")


def draw_partial_lines(axes: Any, time_s: np.ndarray, f0_hz: np.ndarray, amplitudes: np.ndarray, mask: np.ndarray) -> None:
    """Partials (n_frames, n_partials) as lines where they can be heard, over a spectrogram, numbered at their right ends."""
    audible = amplitudes > float(amplitudes.max(initial=0.0)) * 10.0 ** (FAINTEST_PARTIAL_DB / 20.0)
    highest_hz = axes.get_ylim()[1]
    for k in range(1, amplitudes.shape[1] + 1):
        shown = mask & audible[:, k - 1] & (k * f0_hz < highest_hz)
        if shown.mean() < 0.02:
            continue
        axes.plot(time_s, only_where(k * f0_hz, shown), color="#7ff5e8", lw=1.0 if k == 1 else 0.6, alpha=0.95 if k == 1 else 0.6)
        if k in (1, 2, 3, 4, 6, 8, 12, 16, 20):
            last = int(np.flatnonzero(shown)[-1])
            axes.annotate(
                f"{k}",
                (time_s[last], k * f0_hz[last]),
                xytext=(-2, 5),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7,
                color="#7ff5e8",
            )


def draw_techniques(axes: Any, spans: list[tuple[str, float, float, str]], duration_s: float) -> None:
    """Playing techniques as labelled bars, a lane for each technique; spans are (name, start [s], end [s], what was measured)."""
    lanes = [name for name in TECHNIQUE_COLOURS if any(span[0] == name for span in spans)]
    axes.set_title("Playing techniques" if spans else "Playing techniques: none found")
    for name, start, end, text in spans:
        lane, width = lanes.index(name), max(end - start, 0.004 * duration_s)
        axes.barh(lane, width, left=start, height=0.72, color=TECHNIQUE_COLOURS[name], alpha=0.85, lw=0)
        if text and len(text) * 0.0068 * duration_s < width:  # a label needs room
            axes.text(start + width / 2, lane, text, ha="center", va="center", fontsize=7.5, color="white", clip_on=True)
    axes.set_yticks(range(len(lanes)), [name.replace("_", " ") for name in lanes])
    for label, name in zip(axes.get_yticklabels(), lanes, strict=True):
        label.set_color(TECHNIQUE_COLOURS[name])
    axes.set_ylim(max(len(lanes), 1) - 0.4, -0.6)
    axes.grid(axis="x", color="#eeeeee", lw=0.6)
    axes.set_axisbelow(True)
    tidy(axes, "")


def draw_partials(axes: Any, amplitudes: np.ndarray, slope_db_per_octave: float) -> None:
    """Level of each partial, (n_partials,) linear, coloured by the thirds of the tristimulus, with the slope as a line."""
    order = np.arange(1, len(amplitudes) + 1)
    level = amplitude_to_db(amplitudes / max(float(amplitudes.max(initial=0.0)), 1e-9), -70.0)
    colours = [THIRDS[0] if k == 1 else THIRDS[1] if k < 5 else THIRDS[2] for k in order]
    axes.bar(order, level + 70.0, bottom=-70.0, color=colours, edgecolor=INK, lw=0.4)
    shown = level > -60.0
    if shown.sum() > 1:
        line = slope_db_per_octave * np.log2(order)
        axes.plot(order, line + (level - line)[shown].mean(), color="#c0392b", lw=1.2, label=f"{slope_db_per_octave:.1f} dB per octave")
        axes.legend(loc="upper right", frameon=False)
    axes.set_ylim(-70, 5)
    axes.set_xticks([1, 5, 10, 15, 20])
    tidy(axes, "level [dB re strongest]", xlabel="partial")


def draw_tristimulus(axes: Any, time_s: np.ndarray, thirds: list[np.ndarray], mask: np.ndarray) -> None:
    """The three shares, each (n_frames,), stacked."""
    floor = np.zeros(len(time_s))
    for share, colour, label in zip(thirds, THIRDS, ("partial 1", "partials 2 to 4", "partials 5 and up"), strict=True):
        axes.fill_between(time_s, floor, floor + share, where=mask, color=colour, lw=0, label=label)
        floor = floor + share
    axes.set_ylim(0, 1)
    legend_above(axes)
    tidy(axes, "share", xlabel="time [s]")


def legend_above(axes: Any, **more: Any) -> None:
    """Legend in one row, right above the axes, level with the title."""
    axes.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 0.98), frameon=False, borderpad=0.1, handlelength=1.4, **more)


def draw_named_notes(
    axes: Any,
    time_s: np.ndarray,
    f0_hz: np.ndarray,
    mask: np.ndarray,
    notes: list[dict[str, float]],
    spans: list[tuple[str, float, float, str]],
) -> None:
    """f0 (n_frames,) on a grid of semitones, with the name of each described note, and stretches of it in their technique's colour."""
    shown = only_where(f0_hz, mask)
    draw_notes_grid(axes, shown)
    axes.set_title("Notes: f0, coloured by technique")
    axes.plot(time_s, shown, color=SOURCE, lw=1.4)
    for name, start, end, _ in spans:
        if name not in ("legato", "staccato"):  # those are whole phrases; their bars below suffice
            inside = (time_s >= start) & (time_s <= end)
            axes.plot(time_s, np.where(inside, shown, np.nan), color=TECHNIQUE_COLOURS[name], lw=2.4, solid_capstyle="round")
    named_until = -1.0
    for note in notes:
        middle = note["start_s"] + note["duration_s"] / 2
        axes.hlines(note["f0_hz"], note["start_s"], note["start_s"] + note["duration_s"], color=INK, lw=0.6, alpha=0.5)
        if note["duration_s"] > 0.012 * time_s[-1] and middle - named_until > 0.022 * time_s[-1]:  # a name needs room
            named_until = middle
            top_hz = np.nanmax(shown[(time_s >= note["start_s"]) & (time_s <= note["start_s"] + note["duration_s"])], initial=note["f0_hz"])
            top_hz = min(top_hz, note["f0_hz"] * 2.0 ** (1.0 / 12.0))
            axes.annotate(
                note_name(note["f0_midi"], PRINTED), (middle, top_hz), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=8
            )


def draw_note(axes: Any, envelope: np.ndarray, first_s: float, note: dict[str, float]) -> None:
    """Envelope of one described note, (n,) values from `first_s` [s] on, with its parts."""
    axes.plot(first_s + np.arange(len(envelope)) / ENVELOPE_RATE, envelope, color=INK, lw=1.2)
    shade_parts(axes, note)
    axes.set_ylim(0, 1.45 * float(envelope.max(initial=1e-9)))
    axes.set_xlim(max(first_s, note["onset_s"] - 0.1), note["onset_s"] + sum(note[f"{part}_s"] for part in PARTS) + 0.15)
    axes.legend(ncols=2, loc="upper right", frameon=False, handlelength=1.2)
    axes.set_title(f"One note up close: {note_name(note['f0_midi'], PRINTED)}")
    tidy(axes, "amplitude", xlabel="time in the recording [s]")


def draw_vibrato(axes: Any, cents: np.ndarray, frame_rate: float, note: dict[str, float]) -> None:
    """f0 of one described note, (n_frames,) in cents around its mean, with the extent of its vibrato as a band."""
    rate_hz, extent = note["vibrato_rate_hz"], note["vibrato_extent_cents"]
    axes.axhspan(-extent, extent, color="#e9b3a6", alpha=0.35, lw=0)
    axes.axhline(0, color=FAINT, lw=0.6)
    axes.plot(np.arange(len(cents)) / frame_rate, cents, color=SOURCE, lw=1.2)
    reach = max(float(np.quantile(np.abs(cents), 0.9)) * 1.5, 25.0)
    axes.set_ylim(-reach, reach)
    found = f"{rate_hz:.1f} Hz, ±{extent:.0f} cents" if rate_hz else "none found"
    axes.set_title(f"Vibrato of {note_name(note['f0_midi'], PRINTED)}: {found}")
    tidy(axes, "f0 [cents re mean]", xlabel="time in the note [s]")


def draw_numbers(axes: Any, described: dict[str, float]) -> None:
    """The most telling of a recording's descriptors as a table."""
    axes.axis("off")
    axes.set_title("In numbers")
    for row, (name, key, form) in enumerate(NUMBERS):
        height = 0.97 - row / len(NUMBERS)
        axes.text(0.0, height, name, va="top", transform=axes.transAxes)
        axes.text(0.98, height, form.format(described[key]), va="top", ha="right", transform=axes.transAxes, family="DejaVu Sans Mono")


def draw_map(axes: Any, points: np.ndarray, *, colours: np.ndarray, marks: dict[str, np.ndarray] | None = None, **options: Any) -> Any:
    """Points (n, 2) on a map, and names at places of their own; gives the dots, for a colour bar."""
    dots = axes.scatter(points[:, 0], points[:, 1], c=colours, s=14, lw=0, alpha=0.8, **options)
    for name, place in (marks or {}).items():
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.65}
        axes.text(*place, name, ha="center", va="center", fontsize=7.5, bbox=box)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return dots
