"""A whole instrument maker: encoder, decoder and the table of named timbres."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from numbers import Real

import numpy as np
import torch
from torch import nn

from ..audio.files import check_audio
from ..audio.frames import FrameGrid
from ..audio.units import db_to_amplitude
from ..controls.controls import Controls
from ..controls.dynamics import QUANTILES
from ..controls.profile import USUAL_DB_PER_S
from ..errors import AudioError, ControlsError, InstrumentError, check_type
from ..synthesis import render as synth
from ..synthesis.colour import coloured, moving
from ..synthesis.damping import STRING_DAMPING, damped, free_decay
from ..synthesis.fluctuation import Fluctuation, fluctuating
from ..synthesis.render import PIECE_FRAMES, SynthParams, highest_around
from ..synthesis.reverb import reverberate, reverberate_stream
from ..threads import ahead
from .decoder import SILENT_DB, Decoder
from .encoder import TimbreEncoder
from .instrument_names import find_name
from .note_age_table import NoteAgeTable, expanded, note_age
from .settings import ModelSettings

CUT_DB_PER_S = 500.0  # a recorded player whose notes all fall faster: their ends could not be used, and training faded them in 60 ms
LET_RING_DB_PER_S = {"strings": 100.0, "flute": 120.0, "reed": 115.0, "sax": 100.0, "brass": 130.0}  # medians of recorded notes
EXCERPT_SECONDS = 3.0  # what the encoder hears at once


@dataclass(frozen=True)
class Instrument:
    """Description of a named timbre.

    Parameters
    ----------
    name, family : str
        ``alto_sax``, ``sax``.
    lowest_midi, highest_midi, mean_midi : float, in [0, 127] [MIDI]
        Range and mean of the notes it was trained on.
    source, licence : str
        Whose recordings they are.
    release_db_per_s : float, > 0 [dB/s]
        How fast its notes sink when they have ended.
    note_table : int, >= -1
        Which of the model's note-age tables it plays with; -1: none.
    fluctuation_db : float, >= 0 [dB]
        How far its upper partials move by themselves.
    in_room_tone : bool
        Whether it is heard in the model's room tone, as recorded players are.

    Examples
    --------
    >>> flute = tt.load_model().instrument("flute")
    >>> flute.family, flute.lowest_midi < flute.mean_midi < flute.highest_midi
    ('flute', True)
    """

    name: str
    family: str
    lowest_midi: float
    highest_midi: float
    mean_midi: float
    source: str
    licence: str
    release_db_per_s: float = USUAL_DB_PER_S
    note_table: int = -1
    fluctuation_db: float = 0.0
    in_room_tone: bool = False

    @property
    def ring_db_per_s(self) -> float:
        """Release rate [dB/s]; where the notes of training were cut, that of recorded notes of the family which were let ring."""
        cut = self.in_room_tone and self.release_db_per_s > CUT_DB_PER_S
        return LET_RING_DB_PER_S.get(self.family, self.release_db_per_s) if cut else self.release_db_per_s

    @property
    def string_damping(self) -> float:
        """Decay of its partials once no bow drives them [dB/s per square root of a hertz]; 0 for others than recorded strings."""
        return STRING_DAMPING if self.family == "strings" and self.in_room_tone else 0.0

    def to_dict(self) -> dict[str, str | float]:
        """Plain mapping, for JSON."""
        return asdict(self)


class TimbreModel(nn.Module):
    """Model of timbre: an encoder, a decoder and a synthesizer, with a table of named timbres.

    Parameters
    ----------
    settings : ModelSettings
        Sizes of the networks, sample rate [Hz] and hop length [samples].
    instruments : sequence of Instrument
        The named timbres; their z and loudness quantiles are buffers of the same order.

    Attributes
    ----------
    note_tables : Tensor [shape=(n_tables, 25, 15, n_out)] or None
        What recorded instruments do in the course of a note.
    room_tone_db : Tensor [shape=(64,)] or None
        Stationary noise in which recorded players are heard; see :mod:`tonetransfer.synthesis.colour`.
    room : Tensor [shape=(n_taps,)] or None
        Impulse response, without the direct sound, of the room that a model of one instrument has learned; None: it plays dry.

    See Also
    --------
    load_model : The bundled weights, or a file.

    References
    ----------
    .. [1] J. Engel, L. Hantrakul, C. Gu and A. Roberts, "DDSP: Differentiable Digital Signal Processing", ICLR 2020.

    Examples
    --------
    >>> model = tt.load_model()
    >>> model.sample_rate, "flute" in model.names
    (48000, True)
    >>> t = torch.arange(3 * 48000) / 48000
    >>> z = model.encode(0.3 * torch.sin(2 * torch.pi * 440 * t))
    >>> z.shape == model.timbre("flute").shape
    True
    """

    timbres: torch.Tensor
    quantiles: torch.Tensor
    note_tables: torch.Tensor | None
    room_tone_db: torch.Tensor | None
    room: torch.Tensor | None

    def __init__(self, settings: ModelSettings, instruments: tuple[Instrument, ...] = ()) -> None:
        super().__init__()
        self.settings = settings
        self.instruments = instruments
        self.grid = FrameGrid(settings.sample_rate, settings.hop_length)
        self.encoder = TimbreEncoder(settings.sample_rate, settings.hop_length, settings.z_dim, settings.encoder_width)
        self.decoder = Decoder(settings.z_dim, settings.decoder_width, settings.n_harmonics, settings.n_bands, settings.sample_rate)
        self.register_buffer("timbres", torch.zeros(len(instruments), settings.z_dim))
        self.register_buffer("quantiles", torch.zeros(len(instruments), len(QUANTILES)))
        self.register_buffer("note_tables", None)
        self.register_buffer("room_tone_db", None)
        self.register_buffer("room", None)
        self.eval()

    @property
    def sample_rate(self) -> int:
        """Of the audio it renders and encodes [Hz]."""
        return self.grid.sample_rate

    @property
    def names(self) -> list[str]:
        """Names of the instruments."""
        return [instrument.name for instrument in self.instruments]

    def find(self, name: str) -> int:
        """Row of a named timbre; spaces, capitals and common synonyms are understood.

        Raises
        ------
        InstrumentError
            Names the nearest one.
        """
        return self.names.index(find_name(name, self.names))

    def instrument(self, name: str) -> Instrument:
        """Description of a named timbre."""
        return self.instruments[self.find(name)]

    def timbre(self, name: str) -> torch.Tensor:
        """z of a named timbre, shape (z_dim,)."""
        return self.timbres[self.find(name)].clone()

    def mix(self, shares: Mapping[str, float]) -> torch.Tensor:
        """Weighted mean of named timbres, shape (z_dim,). Shares are positive; they are divided by their sum."""
        if not isinstance(shares, Mapping) or not all(isinstance(share, Real) for share in shares.values()):
            raise InstrumentError(f"the blend is {shares!r}; names with numbers are wanted, for example {{'violin': 0.5, 'flute': 0.5}}")
        total = sum(shares.values())
        if not shares or any(share < 0 for share in shares.values()) or total <= 0:
            raise InstrumentError(f"the blend {dict(shares)} has no positive share; wanted for example violin:0.5,flute:0.5")
        return torch.stack([self.timbre(name) * (share / total) for name, share in shares.items()]).sum(0)

    @torch.no_grad()
    def encode(self, audio: torch.Tensor | np.ndarray, *, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Timbre of a recording.

        Excerpts of 3 s with half overlap are encoded, and averaged with their loudness as weight; silent ones do not count.

        Parameters
        ----------
        audio : Tensor or array [shape=(..., n_samples)], at the model's sample rate
        weight : Tensor [shape=(n_frames,)] or None, >= 0
            How much each frame of one recording has to say, for example its note frames: excerpts count by its mean.

        Returns
        -------
        Tensor [shape=(..., z_dim)]

        Raises
        ------
        AudioError
            It is not audio, or nothing but silence.
        """
        if isinstance(audio, (torch.Tensor, np.ndarray)) and audio.ndim > 1:
            rows = audio.reshape(-1, audio.shape[-1])
            return torch.stack([self.encode(one) for one in rows]).reshape(*audio.shape[:-1], -1)
        audio = check_audio(audio, self.sample_rate)
        length = int(EXCERPT_SECONDS * self.sample_rate)
        if audio.shape[-1] < length:
            audio = nn.functional.pad(audio, (0, length - audio.shape[-1]))
        excerpts = audio.unfold(0, length, length // 2)
        level = 10.0 * torch.log10(excerpts.square().mean(-1).clamp(min=1e-12))
        if float(level.max()) < -90.0:
            raise AudioError("the reference is silent; a timbre needs a few seconds of the instrument playing")
        sounding = level > level.max() - 30.0
        share = torch.softmax((level[sounding] / 20.0).clamp(min=-6), dim=0)
        if weight is not None:
            share = share * (self._mean_over_excerpts(weight, len(excerpts))[sounding] + 1e-3)
        z = torch.cat([self.encoder(batch) for batch in excerpts[sounding].split(16)])
        return ((share / share.sum())[:, None] * z).sum(0)

    def _mean_over_excerpts(self, weight: torch.Tensor, count: int) -> torch.Tensor:
        length = round(EXCERPT_SECONDS * self.grid.frame_rate)
        missing = length + (count - 1) * (length // 2) - len(weight)
        return nn.functional.pad(weight.float(), (0, max(missing, 0))).unfold(0, length, length // 2)[:count].mean(-1)

    @torch.no_grad()
    def decode(self, controls: Controls, z: torch.Tensor) -> SynthParams:
        """Controls and timbre to synthesizer parameters.

        Parameters
        ----------
        controls : Controls, tensors (n_frames,), on the model's grid
        z : Tensor [shape=(z_dim,)] or [shape=(n_frames, z_dim)]

        Returns
        -------
        SynthParams, tensors (n_frames, ...)
        """
        pieces = list(self.decode_stream(controls, z))
        if len(pieces) == 1:
            return pieces[0]
        return SynthParams(*(torch.cat([getattr(piece, f.name) for piece in pieces]) for f in fields(SynthParams)))

    @torch.no_grad()
    def decode_stream(self, controls: Controls, z: torch.Tensor, *, frames_per_piece: int = PIECE_FRAMES) -> Iterator[SynthParams]:
        """:meth:`decode` in consecutive pieces, so that the parameters of an hour need not be held at once."""
        self._check(controls, z)
        highest, n_frames = highest_around(controls.f0_hz), controls.f0_hz.shape[-1]
        age = note_age(controls.f0_hz, controls.loudness_db)

        memory: torch.Tensor | None = None

        @torch.no_grad()  # each thread has its own switch
        def run_gru(piece: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            nonlocal memory
            found, memory = self.decoder.run_gru(piece[0], memory)
            return piece[0], found, *piece[1:]

        def inputs() -> Iterator[tuple[torch.Tensor, ...]]:
            for first in range(0, n_frames, frames_per_piece):
                span = slice(first, first + frames_per_piece)
                heard = controls.f0_hz[None, span], controls.loudness_db[None, span], z[span][None] if z.dim() == 2 else z[None]
                yield self.decoder.pre_gru(*heard), *heard, highest[None, span], age[None, span]

        for found in ahead(run_gru, inputs()):
            yield self.decoder.post_gru(*found).map(lambda x: x[0])

    def render(self, params: SynthParams, *, seed: int = 0) -> torch.Tensor:
        """Synthesizer parameters (n_frames, ...) to audio (n_frames * hop_length,), in the room if there is one."""
        sound = synth.render(params, self.grid, seed=seed)
        return sound if self.room is None else reverberate(sound, self.room)

    def play(
        self,
        controls: Controls,
        z: torch.Tensor,
        *,
        seed: int = 0,
        noise_db: float = 0.0,
        note_table: torch.Tensor | None = None,
        fluctuation_db: torch.Tensor | None = None,
        colour_db: torch.Tensor | None = None,
        string_damping: float = 0.0,
        effort_change_db: torch.Tensor | None = None,
        movement_db: torch.Tensor | None = None,
        shift_hz: torch.Tensor | None = None,
    ) -> Iterator[torch.Tensor]:
        """Decode and render in consecutive pieces of audio, in bounded memory.

        Parameters
        ----------
        controls : Controls, tensors (n_frames,)
        z : Tensor [shape=(z_dim,)] or [shape=(n_frames, z_dim)]
        seed : int, >= 0
        noise_db : float
            Change of the noise in the sound.
        note_table : Tensor [shape=(25, 15, n_out)] or None
            What the instrument does in the course of a note; see :meth:`with_note_table`.
        fluctuation_db : Tensor [shape=(n_harmonics,)] or None, >= 0
            How far its partials move by themselves; see :mod:`tonetransfer.synthesis.fluctuation`.
        colour_db : Tensor [shape=(2, n_bands)] or None
            Gains of partials and noise; see :mod:`tonetransfer.synthesis.colour`.
        string_damping : float, >= 0 [dB/s per square root of a hertz]
            How its partials die away once no bow drives them; see :mod:`tonetransfer.synthesis.damping`.
        effort_change_db : Tensor [shape=(n_frames,)] or None
            How much harder than its loudness tells each frame is played, which changes the timbre alone.
        movement_db : Tensor [shape=(n_frames, 11)] or None
            How bands of the spectrum move; see :func:`tonetransfer.synthesis.colour.moving`.
        shift_hz : Tensor [shape=(n_frames,)] or None
            Added to f0 where it is made sound, and nowhere else; see :mod:`tonetransfer.pipeline.pulses`.

        Yields
        ------
        Tensor [shape=(n_samples,)]
        """
        decoder = self.with_note_table(note_table)
        pieces = decoder.decode_stream(controls, z) if effort_change_db is None else decoder._decode_changed(controls, z, effort_change_db)
        if string_damping:
            pieces = damped(pieces, free_decay(controls.loudness_db, self.grid.frame_rate), string_damping, self.sample_rate)
        if colour_db is not None:
            pieces = coloured(pieces, colour_db, self.sample_rate)
        if movement_db is not None:
            pieces = moving(pieces, movement_db, self.sample_rate)
        if shift_hz is not None:
            pieces = _shifted(pieces, shift_hz)
        if fluctuation_db is not None:
            pieces = fluctuating(pieces, Fluctuation(fluctuation_db, self.grid.frame_rate, seed=seed))
        if noise_db:
            gain = db_to_amplitude(noise_db)
            pieces = (replace(piece, noise_magnitudes=gain * piece.noise_magnitudes) for piece in pieces)
        sound = synth.render_stream(pieces, self.grid, seed=seed)
        return sound if self.room is None else reverberate_stream(sound, self.room)

    def _decode_changed(self, controls: Controls, z: torch.Tensor, change_db: torch.Tensor) -> Iterator[SynthParams]:
        """:meth:`decode_stream` with another effort (n_frames,) and the level as it was."""
        loudness_db, begin = controls.loudness_db, 0
        changed = replace(controls, loudness_db=torch.where(loudness_db > SILENT_DB, loudness_db + change_db, loudness_db))
        for piece in self.decode_stream(changed, z):
            gain = db_to_amplitude(-change_db[begin : begin + piece.n_frames])
            begin += piece.n_frames
            yield replace(piece, amplitude=gain * piece.amplitude, noise_magnitudes=gain[:, None] * piece.noise_magnitudes)

    def with_note_table(self, table: torch.Tensor | None) -> TimbreModel:
        """The same model, playing with a note-age table (25, 15, n_out) in addition to its own, if it has one; None: as it is."""
        if table is None:
            return self
        model, decoder, register = copy(self), copy(self.decoder), NoteAgeTable(self.decoder.head.out_features)
        own = 0.0 if self.decoder.register is None else self.decoder.register.table
        register.table = nn.Parameter(expanded(table) + own, requires_grad=False)
        decoder._modules = dict(self.decoder._modules)
        decoder.register = register  # by assignment: a decoder without one holds None under that name, which would hide it
        model._modules = {**self._modules, "decoder": decoder}
        return model

    def note_table(self, name: str) -> torch.Tensor | None:
        """Note-age table of a named instrument, (25, 15, n_out); None: nothing of its own."""
        row = self.instrument(name).note_table
        return None if row < 0 or self.note_tables is None else self.note_tables[row]

    def dry(self) -> TimbreModel:
        """The same model without its room."""
        model = copy(self)
        model._buffers = {**self._buffers, "room": None}
        return model

    def _check(self, controls: Controls, z: torch.Tensor) -> None:
        if controls.grid != self.grid:
            raise ControlsError(
                f"the controls are on a grid of {controls.grid.sample_rate} Hz / {controls.grid.hop_length} samples, the model on one of "
                f"{self.grid.sample_rate} / {self.grid.hop_length}; extract them with this model"
            )
        check_timbre(z)
        if z.shape[-1] != self.settings.z_dim:
            raise ControlsError(f"z has {z.shape[-1]} numbers; this model's timbres have {self.settings.z_dim}")
        if z.dim() == 2 and controls.f0_hz.dim() == 1 and len(z) != controls.n_frames:
            raise ControlsError(f"z has {len(z)} rows and the controls {controls.n_frames} frames; one timbre is wanted, or one a frame")


def check_timbre(z: torch.Tensor) -> None:
    """Refuse, by a ControlsError, what is no Tensor: a name, for example."""
    check_type("z", z, torch.Tensor, "a model's timbre(name) gives one", error=ControlsError)


def check_model(model: TimbreModel) -> None:
    """Refuse, by a SettingsError, what is no TimbreModel: arguments in the wrong order, for example."""
    check_type("model", model, TimbreModel, "load_model() gives one")


def _shifted(pieces: Iterable[SynthParams], shift_hz: torch.Tensor) -> Iterator[SynthParams]:
    """Consecutive pieces of parameters with something (n_frames,) added to their f0 [Hz]."""
    begin = 0
    for piece in pieces:
        yield replace(piece, f0_hz=piece.f0_hz + shift_hz[begin : begin + piece.n_frames])
        begin += piece.n_frames
