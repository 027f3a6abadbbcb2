"""One take to be passed on: a page that plays source and result, shows the notes and says how it was made, and needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ...atomic import check_new, write_text
from ...audio.files import AudioLike, LongAudio, check_audio
from ...controls.controls import Controls
from ...errors import AudioError, plural
from ...pipeline.transfer import Arrangement
from ...realtime.midi_writer import midi_bytes, performed_notes
from .media import Drawn, audio_uri, contours, data_uri
from .page import PlayerView, Shown, take_page

LONGEST_S = 300.0  # of a take; of a longer one the page holds the beginning
JUST_UNDER_ONE = 0.98


def write_take(
    path: str | os.PathLike[str],
    source: AudioLike | LongAudio,
    heard: Controls,
    result: AudioLike,
    arrangement: Arrangement,
    *,
    names: tuple[str, str] = ("Source", "Result"),
    settings: Mapping[str, str] | None = None,
    reach: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a take as one self-contained HTML file, to be sent to somebody who has nothing but a browser.

    Both sounds play under one playhead and can be swapped at the same instant; beside them stand the notes, what was heard and what was
    played, and the settings; the notes can be saved as MIDI. Sound is MP3, some 1.4 MB a minute for both.

    Parameters
    ----------
    path : str or Path
        Of the page, ending in .html.
    source : Tensor, ndarray or LongAudio [shape=(n_samples,)], in [-1, 1]
        The recording, at the sample rate of `heard`; of a long one the first five minutes count.
    heard : Controls [shape=(n_frames,)]
        What is played in it.
    result : Tensor or ndarray [shape=(n_samples,)]
        The recording as the instrument plays it, at the same rate.
    arrangement : Arrangement
        What the instrument was asked to play, as :func:`tonetransfer.arrange` makes it.
    names : (str, str)
        What source and result are called.
    settings : mapping of str to str or None
        Names and values of what else is to be known, such as the command line.
    reach : (float, float) or None
        Lowest and highest note of the instrument [MIDI numbers]: notes outside are marked.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    AudioError
        The file exists or cannot be written, does not end in .html, or the sounds are not audio.

    Examples
    --------
    >>> model = tt.load_model()
    >>> t = np.arange(48000) / 48000
    >>> audio = 0.3 * np.sin(2 * np.pi * 440 * t).astype(np.float32)
    >>> heard = tt.analyze(audio, 48000, model)
    >>> target = tt.find_target(model, 48000, to="violin")
    >>> arrangement = tt.arrange(heard, target)
    >>> result = np.concatenate([piece.numpy() for piece in tt.play(arrangement, model, target.z)])
    >>> tt.write_take("take.html", audio, heard, result, arrangement, names=("Sine", "Violin")).name
    'take.html'
    """
    target, grid = check_new(path, AudioError, kind="page", overwrite=overwrite), heard.grid
    longest = round(LONGEST_S * grid.sample_rate)
    takes = [check_audio(one[:longest], grid.sample_rate) for one in (source, result)]
    whole_s = len(source) / grid.sample_rate
    seconds = max(map(len, takes)) / grid.sample_rate
    asked, midi = arrangement.asked, performed_notes(arrangement.asked, arrangement.notes)
    drawn = [Drawn("source", names[0], heard, heard.note_frames()), Drawn("system-1", names[1], asked, arrangement.notes)]
    players = [
        PlayerView(role, name, "", audio_uri(audio / max(1.0, float(audio.abs().max()) / JUST_UNDER_ONE), grid.sample_rate))
        for role, name, audio in zip(("source", "result"), names, takes, strict=True)
    ]
    title = f"{names[0]} on {names[1]}"
    shown = Shown(0, title, seconds, whole_s, players, list(contours(drawn, seconds, midi, reach)), heading=whole_s > seconds + 0.5)
    moved = f", moved by {arrangement.transposed:+g} semitones" if arrangement.transposed else ""
    summary = f"{whole_s:.1f} s, {plural(len(midi), 'note')}{moved}."
    notes_file = ("Notes as MIDI", f"{target.stem}.mid", data_uri("audio/midi", midi_bytes(asked, midi, names[1])))
    write_text(target, take_page(title, summary, shown, dict(settings or {}), [notes_file]), error=AudioError)
    return target
