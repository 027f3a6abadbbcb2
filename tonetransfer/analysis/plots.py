"""Pictures of what was analysed and of what a transfer did, as PNG files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import check_new, replacing
from ..audio.files import AudioLike, LongAudio, check_audio
from ..audio.units import PRINTED, hz_to_midi, note_name
from ..controls.controls import Controls
from ..errors import ToneTransferError, printable
from . import plot_panels as panels
from .descriptors import Analysis, analyze_timbre, note_envelope, summarize, tracks_of
from .envelope import ENVELOPE_RATE
from .plot_panels import FAINT, INK, PARTS, RESULT, SOURCE
from .techniques import Technique, find_techniques

LONGEST_S = 60.0
DPI = 110
STYLE: Any = {  # Matplotlib types its keys as literals
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "text.color": INK,
    "legend.fontsize": 8.0,
    "font.family": "DejaVu Sans",  # comes with Matplotlib, and has sharps and flats
}


def plot_analysis(
    path: str | os.PathLike[str], audio: AudioLike | LongAudio, controls: Controls, *, title: str = "", overwrite: bool = False
) -> None:
    """Draw what a recording is made of: waveform and envelopes, spectrogram with partials, f0, techniques, descriptors over time.

    Its first 60 s, into a new .png file; `audio` (n_samples,) is at the rate of its controls. ToneTransferError: it cannot be written, or
    the two do not fit each other.
    """
    path = check_new(path, ToneTransferError, kind="picture", overwrite=overwrite)
    audio, controls, whole_s = _beginning(audio, controls)
    analysis = analyze_timbre(audio, controls)
    with _style():
        figure = _figure(16.0, 14.5, _headline(title or "Analysis", whole_s))
        _lay_out_analysis(figure, analysis)
        _save(figure, path)


def _lay_out_analysis(figure: Any, analysis: Analysis) -> None:
    notes, described = analysis.described, summarize(analysis)
    spans = [_span(one) for one in find_techniques(analysis)]
    lanes = len({span[0] for span in spans})
    columns = figure.add_gridspec(1, 2, width_ratios=(3.2, 1.0), wspace=0.13, left=0.055, right=0.985, top=0.93, bottom=0.045)
    heights = (1.2, 2.3, 1.8, 0.16 + 0.17 * max(lanes, 1), 0.75, 0.75, 0.75, 0.75)
    left = columns[0].subgridspec(len(heights), 1, height_ratios=heights, hspace=0.32)
    rows = [figure.add_subplot(left[0])]
    rows += [figure.add_subplot(left[number], sharex=rows[0]) for number in range(1, len(heights))]
    _draw_rows(rows, analysis, notes, spans)
    right = columns[1].subgridspec(4, 1, height_ratios=(1.0, 1.0, 1.0, 1.35), hspace=0.38)
    side = [figure.add_subplot(right[number]) for number in range(4)]
    _draw_one_note(side[0], analysis, notes)
    panels.draw_partials(side[1], _median_amplitudes(analysis), described["spectral_slope_db_per_octave"])
    side[1].set_title("Partials, median over all notes")
    _draw_one_vibrato(side[2], analysis, notes)
    panels.draw_numbers(side[3], described)


def plot_transfer(
    path: str | os.PathLike[str],
    source_audio: AudioLike | LongAudio,
    source_controls: Controls,
    result_audio: AudioLike,
    result_controls: Controls,
    *,
    title: str = "",
    overwrite: bool = False,
) -> None:
    """Draw source and result of a transfer: f0 and loudness over each other, spectrograms below each other.

    The first 60 s of each, into a new .png file; audio (n_samples,) is at the rate of its controls. ToneTransferError as for
    :func:`plot_analysis`.
    """
    path = check_new(path, ToneTransferError, kind="picture", overwrite=overwrite)
    source, source_controls, whole_s = _beginning(source_audio, source_controls)
    result, result_controls, _ = _beginning(result_audio, result_controls)
    with _style():
        figure = _figure(14.0, 11.5, _headline(title or "Transfer", whole_s))
        layout = figure.add_gridspec(
            *(4, 2),
            width_ratios=(1.0, 0.012),
            height_ratios=(1.5, 1.0, 1.9, 1.9),
            hspace=0.2,
            wspace=0.015,
            left=0.06,
            right=0.94,
            top=0.92,
            bottom=0.05,
        )
        rows = [figure.add_subplot(layout[0, 0])]
        rows += [figure.add_subplot(layout[row, 0], sharex=rows[0]) for row in (1, 2, 3)]
        _draw_both(rows[0], rows[1], source_controls, result_controls)
        lowest_hz = _lowest_hz(np.minimum(source_controls.f0_hz.numpy().min(), result_controls.f0_hz.numpy().min()))
        for row, audio, grid, name, colour in (
            (2, source, source_controls.grid, "Source", SOURCE),
            (3, result, result_controls.grid, "Result", RESULT),
        ):
            mesh = panels.draw_spectrogram(rows[row], audio, grid, lowest_hz=lowest_hz)
            rows[row].set_title(name, color=colour, fontweight="bold")
            figure.colorbar(mesh, cax=figure.add_subplot(layout[row, 1]), label="level [dB re full scale]")
        _share_time(rows, max(len(source) / source_controls.grid.sample_rate, len(result) / result_controls.grid.sample_rate))
        _save(figure, path)


def plot_timbre_map(
    path: str | os.PathLike[str],
    points: np.ndarray,
    instruments: np.ndarray,
    pitch_midi: np.ndarray,
    order: list[str],
    named: list[str],
    *,
    overwrite: bool = False,
) -> None:
    """Draw excerpts as `points` (n, 2) on a map, coloured by who plays and, beside it, by how high.

    `instruments` and `pitch_midi` are (n,); in `order` stand all instruments, neighbours in similar colours, and those `named` are written
    at the median of their points.
    """
    path = check_new(path, ToneTransferError, kind="picture", overwrite=overwrite)
    hue = np.array([order.index(name) for name in instruments]) / max(len(order), 1)
    marks = {name.replace("_", " "): np.median(points[instruments == name], axis=0) for name in named if (instruments == name).any()}
    with _style():
        figure = _figure(16.0, 8.0, "Map of timbre")
        left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.02, "right": 0.95, "top": 0.9, "bottom": 0.02, "wspace": 0.03})
        panels.draw_map(left, points, colours=hue, marks=marks, cmap="gist_rainbow", vmin=0.0, vmax=1.0)
        left.set_title("Who plays")
        dots = panels.draw_map(right, points, colours=pitch_midi, cmap="viridis")
        right.set_title("How high")
        bar = figure.colorbar(dots, ax=right, fraction=0.03, pad=0.01)
        ticks = [midi for midi in range(24, 109, 12) if pitch_midi.min() <= midi <= pitch_midi.max()]
        bar.set_ticks(ticks, labels=[note_name(midi, PRINTED) for midi in ticks])
        _save(figure, path)


def _style() -> Any:
    import matplotlib

    return matplotlib.rc_context(STYLE)


def _figure(width: float, height: float, headline: str) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(printable(headline), x=0.055, y=0.985, ha="left", va="top", fontsize=14, fontweight="bold", parse_math=False)
    return figure


def _share_time(rows: list[Any], duration_s: float) -> None:
    for axes in rows[:-1]:
        axes.tick_params(labelbottom=False)
    rows[-1].set_xlabel("time [s]")
    rows[0].set_xlim(0, duration_s)


def _lowest_hz(lowest_f0_hz: float) -> float:
    """Lowest frequency of a spectrogram: below the lowest note, but always within the bass."""
    return float(np.clip(0.6 * lowest_f0_hz, 30.0, 150.0))


def _save(figure: Any, path: Path) -> None:
    with replacing(path, error=ToneTransferError) as part:
        figure.savefig(part, format="png", metadata={"Software": "tonetransfer"})


def _headline(title: str, whole_s: float) -> str:
    return f"{title}   (first {LONGEST_S:.0f} s of {whole_s:.0f})" if whole_s > LONGEST_S else title


def _beginning(audio: AudioLike | LongAudio, controls: Controls) -> tuple[np.ndarray, Controls, float]:
    """The first minute of a recording, and how long all of it is [s]."""
    whole_s = len(audio) / controls.grid.sample_rate if isinstance(audio, LongAudio) else 0.0
    samples = audio[: round(LONGEST_S * controls.grid.sample_rate)] if isinstance(audio, LongAudio) else audio
    samples = check_audio(samples, controls.grid.sample_rate).numpy()
    whole_s = max(whole_s, len(samples) / controls.grid.sample_rate)
    if whole_s > LONGEST_S:
        controls = controls.slice(0.0, LONGEST_S)
    return samples[: controls.n_samples], controls, whole_s


def _span(one: Technique) -> tuple[str, float, float, str]:
    """A technique for its bar: name, start and end [s], and its figures in short."""
    short = {"rate_hz": "{:.1f} Hz", "extent_cents": "±{:.0f} cents", "depth_db": "±{:.1f} dB", "note_count": "{:.0f} notes"}
    texts = [form.format(value) for key, value in one.figures.items() for end, form in short.items() if key.endswith(end)]
    cents = [f"{value / 100:+.1f} semitones" for key, value in one.figures.items() if key in ("bend_cents", "interval_cents")]
    return one.name, one.start_s, one.end_s, "  ".join(texts + cents)


def _draw_rows(rows: list[Any], analysis: Analysis, notes: list[dict[str, float]], spans: list[tuple[str, float, float, str]]) -> None:
    waveform, spectrogram, f0, techniques, loudness, brightness, noise, tristimulus = rows
    grid, mask, tracks = analysis.grid, analysis.in_note, tracks_of(analysis)
    time_s = grid.times(len(mask))
    panels.draw_waveform(waveform, analysis.audio[:], grid.sample_rate)
    for number, note in enumerate(notes):
        envelope, first_s = note_envelope(analysis, number)
        waveform.plot(first_s + np.arange(len(envelope)) / ENVELOPE_RATE, envelope, color=INK, lw=0.9)
        panels.shade_parts(waveform, note)
    panels.legend_above(
        waveform, handles=[waveform.fill_between([], [], color=colour, alpha=0.5, label=part) for part, colour in PARTS.items()]
    )
    waveform.set_title("Waveform, and the envelope of each note: attack, decay, sustain, release")
    panels.draw_spectrogram(spectrogram, analysis.audio[:], grid, lowest_hz=_lowest_hz(tracks["f0_hz"][mask].min(initial=1000.0)))
    spectrogram.set_title("Spectrogram, and the partials that were found")
    panels.draw_partial_lines(spectrogram, time_s, tracks["f0_hz"], analysis.partials.amplitudes, mask)
    panels.draw_named_notes(f0, time_s, tracks["f0_hz"], mask, notes, spans)
    panels.draw_techniques(techniques, spans, len(mask) / grid.frame_rate)
    loudness.plot(time_s, tracks["loudness_db"], color=SOURCE, lw=1.2)
    loudest = float(tracks["loudness_db"].max())
    loudness.set_ylim(max(loudest - 60.0, -125.0), loudest + 4.0)
    loudness.set_title("Loudness")
    panels.tidy(loudness, "[dB(A)]")
    heard = mask if mask.any() else analysis.audible
    for key, label, colour in (
        ("spectral_rolloff_85_hz", "85 % roll-off", FAINT),
        ("spectral_centroid_hz", "spectral centroid", RESULT),
    ):
        brightness.plot(time_s, panels.only_where(tracks[key] / 1000, heard), color=colour, lw=1.2, label=label)
    brightness.set_ylim(bottom=0)
    panels.legend_above(brightness)
    brightness.set_title("Brightness")
    panels.tidy(brightness, "[kHz]")
    noise.plot(
        time_s, panels.only_where(tracks["harmonic_to_noise_ratio_db"], mask), color="#5d9e5f", lw=1.2, label="harmonic-to-noise ratio [dB]"
    )
    noise.set_ylim(0, 60)
    change = noise.twinx()
    change.plot(
        time_s, panels.only_where(tracks["spectral_flux"], analysis.audible), color="#7d5ba6", lw=0.9, label="spectral flux (right)"
    )
    change.set_ylim(0, 1.0)
    change.spines[["top", "left"]].set_visible(False)
    panels.legend_above(noise, handles=[noise.lines[0], change.lines[0]])
    noise.set_title("Noisiness, and change from frame to frame")
    panels.tidy(noise, "[dB]")
    panels.draw_tristimulus(tristimulus, time_s, [tracks[f"tristimulus_{k}"] for k in (1, 2, 3)], mask)
    tristimulus.set_title("Tristimulus")
    _share_time(rows, len(mask) / grid.frame_rate)


def _draw_one_note(axes: Any, analysis: Analysis, notes: list[dict[str, float]]) -> None:
    """The note that shows most: long, with an attack and a release of its own if there is one."""
    if not notes:
        panels.tidy(axes, "amplitude")
        return
    worth = [note["duration_s"] * (1 + (note["attack_s"] > 0.002) + (note["release_s"] > 0.002)) for note in notes]
    number = int(np.argmax(worth))
    panels.draw_note(axes, *note_envelope(analysis, number), notes[number])


def _draw_one_vibrato(axes: Any, analysis: Analysis, notes: list[dict[str, float]]) -> None:
    """The note with most vibrato, or else the longest."""
    if not notes:
        panels.tidy(axes, "f0 [cents re mean]")
        return
    number = max(range(len(notes)), key=lambda n: (notes[n]["vibrato_duration_s"], notes[n]["duration_s"]))
    f0_hz = analysis.partials.f0_hz[analysis.notes[number].frames]
    panels.draw_vibrato(axes, 1200.0 * np.log2(f0_hz / notes[number]["f0_hz"]), analysis.grid.frame_rate, notes[number])


def _median_amplitudes(analysis: Analysis) -> np.ndarray:
    amplitudes = analysis.partials.amplitudes
    return np.median(amplitudes[analysis.in_note], axis=0) if analysis.in_note.any() else np.zeros(amplitudes.shape[1])


def _draw_both(f0_axes: Any, loudness_axes: Any, source: Controls, result: Controls) -> None:
    """f0 and loudness of source and result over each other."""
    curves = []
    for controls, name, colour, width in ((source, "source", SOURCE, 2.4), (result, "result", RESULT, 1.2)):
        time_s = controls.grid.times(controls.n_frames)
        f0_hz = panels.only_where(controls.f0_hz.numpy(), controls.note_frames().numpy())
        curves.append(f0_hz)
        f0_axes.plot(time_s, f0_hz, color=colour, lw=width, label=name)
        loudness_axes.plot(time_s, controls.loudness_db.numpy(), color=colour, lw=0.75 * width, label=name)
    panels.draw_notes_grid(f0_axes, np.concatenate(curves))
    panels.legend_above(f0_axes)
    f0_axes.set_title(f"What is played: f0{_difference(source, result)}")
    panels.tidy(f0_axes, "note")
    loudest = max(float(source.loudness_db.max()), float(result.loudness_db.max()))
    loudness_axes.set_ylim(max(loudest - 65.0, -125.0), loudest + 4.0)
    loudness_axes.set_title("How loud")
    panels.tidy(loudness_axes, "[dB(A) re full scale]")


def _difference(source: Controls, result: Controls) -> str:
    """Describe how much higher and louder the result is; empty where no note is common to both."""
    n_frames = min(source.n_frames, result.n_frames)
    both = (source.note_frames()[:n_frames] & result.note_frames()[:n_frames]).numpy()
    if source.grid != result.grid or not both.any():
        return ""
    semitones = np.median((hz_to_midi(result.f0_hz[:n_frames]) - hz_to_midi(source.f0_hz[:n_frames])).numpy()[both])
    louder_db = np.median((result.loudness_db[:n_frames] - source.loudness_db[:n_frames]).numpy()[both])
    return f"   (result {semitones:+.1f} semitones, {louder_db:+.1f} dB, medians)"
