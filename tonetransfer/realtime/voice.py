"""An instrument that is played frame by frame: decoder and synthesizer with their memory, without torch in the loop.

The same numbers as :class:`~tonetransfer.models.decoder.Decoder` and :mod:`tonetransfer.synthesis.render`, one frame at a time: calling
torch for one frame costs several times what the arithmetic does. Two things are decided differently, because the next frame is not known
yet: which harmonics stay below Nyquist (those of this f0 or the last, plus a semitone: after a larger leap the others fade out within its
10 ms), and the phase of the noise filters (:func:`prompt_noise`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import scipy.fft
import torch
from torch import nn

from ..audio.frames import FrameGrid
from ..audio.loudness import FLOOR_DB, LARGEST_DB, TOLERANCE_DB
from ..audio.stft import a_weighting, band_centres_hz, hann
from ..audio.units import db_to_amplitude
from ..controls.profile import Target
from ..models.decoder import LARGEST_GAIN, SILENT_DB, Decoder
from ..models.note_age_table import LONGEST_AGE, NoteAgeTable, NoteClock, age_shares, expanded
from ..synthesis.damping import DecayClock, damped_frames, noise_bands
from ..synthesis.fluctuation import Fluctuation
from ..synthesis.kernels import between_rows, decode, harmonics, legal, shaped, sounding_power
from ..synthesis.render import NOISE_FFT, between_bands, white_noise

Noise = Literal["prompt", "exact"]
NYQUIST_MARGIN = 2.0 ** (1 / 12)  # f0 may rise by so much until the next frame
FOLLOW_S = 0.05  # time in which the loudness is brought to what was asked
QUIETEST_MAGNITUDE = 1e-9
WHITE_FRAMES = 16  # drawn at a time
TABLED_MIDI, TABLED_DB = (12.0, 120.0, 16), (-101.0, 1.0, 8)  # first, last, places per semitone and per decibel


def correction_gain_db(sounds_db: float, asked_db: float, before_db: float, frame_rate: float) -> float:
    """The gain [dB] of a frame, from that of the frame before: towards what brings its loudness to within 1 dB of the asked one."""
    deviation = asked_db - sounds_db if asked_db > SILENT_DB else 0.0
    wanted = deviation - min(max(deviation, -TOLERANCE_DB), TOLERANCE_DB)
    wanted = min(max(wanted, -LARGEST_DB), LARGEST_DB)
    return before_db + (wanted - before_db) * (1.0 - math.exp(-1.0 / (FOLLOW_S * frame_rate)))


def prompt_noise(magnitudes: np.ndarray, white: np.ndarray, grid: FrameGrid) -> np.ndarray:
    """White noise through filters that answer at once: of minimum phase, where those of the synthesizer ring before their frame.

    Of magnitudes (n_frames, n_bands) and windowed noise (n_frames, 2 * hop_length) of unit variance around each frame: (n_frames, n_fft),
    to be overlap-added; each begins one hop before its frame's instant.
    """
    n_fft = noise_fft(grid)
    response = np.maximum(_responses(magnitudes, n_fft, grid.sample_rate), np.float32(QUIETEST_MAGNITUDE))
    # Minimum phase from the real cepstrum, folded to positive times (Oppenheim and Schafer, Discrete-Time Signal Processing, ch. 13).
    cepstrum = scipy.fft.irfft(np.log(response), n_fft, axis=-1)  # float32 throughout: noise 140 dB down
    cepstrum[:, 1 : n_fft // 2] *= 2.0
    cepstrum[:, n_fft // 2 + 1 :] = 0.0
    phase = scipy.fft.rfft(cepstrum, axis=-1).imag  # the real part is the logarithm that it came from
    turned = np.empty(response.shape, np.complex64)
    np.multiply(np.cos(phase), response, out=turned.real)
    np.multiply(np.sin(phase), response, out=turned.imag)
    return scipy.fft.irfft(scipy.fft.rfft(white, n_fft, axis=-1) * turned, n_fft, axis=-1)


def noise_fft(grid: FrameGrid) -> int:
    """Length [samples] of a noise frame: what :func:`~tonetransfer.synthesis.render.filtered_noise` uses."""
    return max(NOISE_FFT, 1 << (4 * grid.hop_length - 1).bit_length())


class StreamDecoder:
    """A decoder evaluated one frame at a time in NumPy; agrees with it to 1e-5 (pitch and level are read off tables)."""

    def __init__(self, decoder: Decoder) -> None:
        self._timbre, self._last = _dense(decoder.timbre), _dense(decoder.last)
        before, self._before_bias = _linear(decoder.before)
        of_pitch, of_level, self._of_timbres = (np.ascontiguousarray(part) for part in np.split(before, 3, axis=1))
        self._at_pitch = _Curve(lambda midi: _array(decoder.embed_pitch(midi)) @ of_pitch.T, *TABLED_MIDI)
        self._at_level = _Curve(lambda level: _array(decoder.embed_level(level)) @ of_level.T, *TABLED_DB)
        self._after, self._head = _linear(decoder.after), _linear(decoder.head)
        self._film_before, self._film_after = _linear(decoder.film_before), _linear(decoder.film_after)
        self._spectrum = _array(decoder.spectrum.weight)
        self._own = None if decoder.register is None else decoder.register.table
        self._n_out = decoder.head.out_features
        self._tables: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
        self._registers = (self._register(None),) * 2
        names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
        into, into_bias, of, of_bias = (_array(getattr(decoder.memory, name)) for name in names)
        self._into_memory, self._of_memory = (into, into_bias), (of, of_bias)
        self.width = of.shape[1]
        self.n_harmonics, self.n_bands, self.sample_rate = decoder.n_harmonics, decoder.n_bands, decoder.sample_rate
        self._clock = NoteClock()
        self.reset()

    def reset(self) -> None:
        """Forget what was played."""
        self._memory = np.zeros(self.width, np.float32)
        self._highest_hz = 0.0
        self._clock.reset()
        self._z: np.ndarray | None = None

    def take_table(self, table: torch.Tensor | None, changed: float = 1.0) -> None:
        """Go over to a note-age table (25, 15, n_out) from where the last change has come; None: to what the decoder has of its own."""
        before, register = self._tables[1], self._registers[1]
        if changed < 1.0:
            before = _table_between(*self._tables, changed)
            register = self._register(before)
        self._registers = register, register if table is before else self._register(table)
        self._tables = before, table

    def _register(self, table: torch.Tensor | None) -> _FrameNoteAgeTable | None:
        """A table in addition to what the decoder has of its own."""
        parts = ([] if table is None else [expanded(table)]) + ([] if self._own is None else [self._own])
        if not parts:
            return None
        full = NoteAgeTable(self._n_out)
        full.table = nn.Parameter(torch.stack(parts).sum(0), requires_grad=False)
        return _FrameNoteAgeTable(full)

    def frame(self, f0_hz: float, loudness_db: float, z: np.ndarray, changed: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Amplitude of every harmonic (n_harmonics,) and noise magnitudes (n_bands,) of the next frame, for z (z_dim,).

        `changed`, in [0, 1], is how far the last change of the note-age table has come.
        """
        self._take_timbre(z)
        midi = 12.0 * math.log2(f0_hz / 440.0) + 69.0
        seen = self._at_pitch(midi)
        level_db = min(max(loudness_db, SILENT_DB), 0.0)
        seen += self._at_level(level_db)
        seen += self._of_timbre
        raw = np.empty(1 + self.n_harmonics + self.n_bands, np.float32)
        memory, spectrum = (self._into_memory, self._of_memory), self._of_spectrum
        age = self._clock.next(midi, loudness_db)
        for register, share in zip(self._registers, (1.0 - changed, changed), strict=True):
            if register is not None and share > 0.0:
                spectrum = spectrum + np.float32(share) * register(midi, level_db, age)
        decode(seen, self._film, self._memory, *memory, self._after, self._last, self._head, spectrum, raw)
        highest_hz = max(self._highest_hz, f0_hz) * NYQUIST_MARGIN
        self._highest_hz = f0_hz
        gain = max(db_to_amplitude(loudness_db) - db_to_amplitude(SILENT_DB), 0.0) if loudness_db > FLOOR_DB else 0.0
        amplitudes, magnitudes = np.empty(self.n_harmonics), np.empty(self.n_bands, np.float32)
        legal(raw, gain, LARGEST_GAIN, highest_hz, self.sample_rate / 2.0, amplitudes, magnitudes)
        return amplitudes, magnitudes

    def _take_timbre(self, z: np.ndarray) -> None:
        """Compute what depends on z alone, when it changes."""
        if self._z is not None and np.array_equal(z, self._z):
            return
        self._z = z = z.astype(np.float32)
        h = z
        for weight, bias, scale, shift in self._timbre:
            h = weight @ h + bias
            shaped(h, scale, shift, np.float32(0.0))
        self._of_timbre = self._of_timbres @ h + self._before_bias
        self._film = tuple(weight @ z + bias for weight, bias in (self._film_before, self._film_after))
        self._of_spectrum = self._spectrum @ z


class _FrameNoteAgeTable:
    """A :class:`~tonetransfer.models.note_age_table.NoteAgeTable` read off tables."""

    def __init__(self, register: NoteAgeTable) -> None:
        self._at_pitch = _Curve(lambda midi: _array(register.at_pitch(midi)), *TABLED_MIDI)
        self._at_level = _Curve(lambda level: _array(register.at_level(level)), *TABLED_DB)
        self._shares = _array(age_shares(torch.arange(LONGEST_AGE + 1)))

    def __call__(self, midi: float, level_db: float, age: int) -> np.ndarray:
        shares = self._shares[age]
        said = self._at_pitch(midi) + self._at_level(level_db)
        return shares @ said.reshape(len(shares), -1)


class _Curve:
    """A function of one number, (m,) -> (m, n), read off a table by cubic interpolation; computed where the table does not reach."""

    def __init__(self, function: Callable[[torch.Tensor], np.ndarray], first: float, last: float, per_unit: int) -> None:
        self._function, self._first, self._per_unit = function, first, per_unit
        self._n = round((last - first) * per_unit) + 1
        self._table = np.ascontiguousarray(function(first + torch.arange(self._n) / per_unit))

    def __call__(self, x: float) -> np.ndarray:
        place = (x - self._first) * self._per_unit
        i = math.floor(place)
        if not 1 <= i < self._n - 2:
            return self._function(torch.tensor([x]))[0]
        found = np.empty(self._table.shape[1], np.float32)
        between_rows(self._table[i - 1 : i + 3], place - i, found)
        return found


def _table_between(one: torch.Tensor | None, other: torch.Tensor | None, share: float) -> torch.Tensor | None:
    """A note-age table on the way from one to the other; an instrument without one does nothing of its own."""
    parts = [weight * table for table, weight in ((one, 1.0 - share), (other, share)) if table is not None]
    return torch.stack(parts).sum(0) if parts else None


class Voice:
    """An instrument that sounds as it is told, frame by frame; each frame after the first gives one hop of sound.

    `noise`: "prompt", minimum-phase filters; or "exact", those of :func:`~tonetransfer.synthesis.render.render`, which ring ahead and cost
    two frames of latency. With `follow` the loudness is brought to what is asked, as :mod:`tonetransfer.audio.loudness` does.
    """

    def __init__(self, decoder: Decoder, grid: FrameGrid, *, noise: Noise = "prompt", follow: bool = True, seed: int = 0) -> None:
        self.grid, self.noise, self.follow, self.seed = grid, noise, follow, seed
        self._decoder = StreamDecoder(decoder)
        self._n_fft = noise_fft(grid)
        hop = grid.hop_length
        begins = hop if noise == "prompt" else self._n_fft // 2  # samples before its frame's instant that a noise frame begins
        self.lag_frames = -(-(begins - hop) // hop)  # frames to wait until nothing more is added to a sample
        self._begin = (1 + self.lag_frames) * hop - begins  # where a noise frame begins in the sound that is held
        self._hann = hann(2 * hop).numpy()
        self._weighting, self._noise_weight = sound_weights(grid, self._decoder.n_bands)
        self._still, self._plain = np.zeros(self._decoder.n_harmonics), np.zeros((2, self._decoder.n_bands))
        self._before: tuple[Any, ...] = (self._still, self._plain, 0.0)  # as of :meth:`_traits`
        self._after: tuple[Any, ...] = self._before
        self._centres = band_centres_hz(self._decoder.n_bands, grid.sample_rate)
        self._fluctuation, self._decay = Fluctuation(self._still, grid.frame_rate, seed=seed), DecayClock(grid.frame_rate)
        self.reset()
        for _ in range(2):  # loops are compiled and read from disk when they are first called, which must not be heard
            self.frame(440.0, -20.0, np.zeros(decoder.film_before.in_features))
        self.reset()

    @property
    def latency_samples(self) -> int:
        """From a frame's instant to the sound of it: one hop, since a frame sounds towards the next; more for exact noise."""
        return (1 + self.lag_frames) * self.grid.hop_length

    def reset(self) -> None:
        """As before the first frame."""
        self._decoder.reset()
        self._held = np.zeros((1 + self.lag_frames) * self.grid.hop_length + self._n_fft)
        self._frame, self._phase, self._gain_db, self._changed = 0, 0.0, 0.0, 1.0
        self._white: np.ndarray | None = None
        self._f0_hz, self._amplitudes = 0.0, np.zeros(self._decoder.n_harmonics)
        self._fluctuation.reset()
        self._decay.reset()

    def change(self, target: Target) -> None:
        """Go over to what another instrument does in the course of a note, to how its partials move and die away, and to its colour."""
        self._decoder.take_table(target.note_table, self._changed)
        depth = self._still if target.fluctuation_db is None else target.fluctuation_db.numpy()
        colour = self._plain if target.colour_db is None else target.colour_db.double().numpy()
        self._before, self._after = self._traits(), (depth, colour, target.string_damping)
        self._changed = 0.0

    def _traits(self) -> tuple[Any, ...]:
        """Depth of the fluctuation (n_harmonics,), colour (2, n_bands) and string damping, on the way from one instrument to another."""
        return tuple((1.0 - self._changed) * one + self._changed * other for one, other in zip(self._before, self._after, strict=True))

    def frame(self, f0_hz: float, loudness_db: float, z: np.ndarray, *, gain_db: float = 0.0, changed: float = 1.0) -> np.ndarray:
        """Play the next frame, with timbre z (z_dim,): one hop of sound (hop_length,).

        It ends at this frame's instant, or, with exact noise, up to two frames earlier; silence before the first. `gain_db` is that of the
        sound, beyond what is asked of the instrument; `changed`, in [0, 1], is how far the last :meth:`change` has come.
        """
        f0_hz = float(np.float32(f0_hz))  # as precise as SynthParams are, and no more: the phase would run away from theirs
        self._changed = changed
        amplitudes, magnitudes = self._decoder.frame(f0_hz, loudness_db, z, changed)
        depth, colour, damping = self._traits()
        amplitudes, magnitudes = self._damped(f0_hz, self._decay.next(loudness_db), damping, amplitudes, magnitudes)
        amplitudes, magnitudes = self._coloured(f0_hz, colour, amplitudes, magnitudes)
        amplitudes = self._fluctuating(amplitudes, depth)
        gain = self._correction_gain(f0_hz, loudness_db, amplitudes, magnitudes) if self.follow else 1.0
        gain *= db_to_amplitude(gain_db)
        amplitudes, magnitudes = amplitudes * gain, magnitudes * np.float32(gain)
        hop = self.grid.hop_length
        held = self._held
        held[:-hop] = held[hop:].copy()
        held[-hop:] = 0.0
        if self._frame > 0:
            self._add_tone(f0_hz, amplitudes, held[self.lag_frames * hop : (self.lag_frames + 1) * hop])
        held[self._begin : self._begin + self._n_fft] += self._hiss(magnitudes)
        self._frame += 1
        self._f0_hz, self._amplitudes = f0_hz, amplitudes
        return held[:hop].astype(np.float32) if self._frame > 1 + self.lag_frames else np.zeros(hop, np.float32)

    def _damped(
        self, f0_hz: float, since_s: float, damping: float, amplitudes: np.ndarray, magnitudes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Amplitudes (n_harmonics,) and noise magnitudes (n_bands,) as far as the note has died away."""
        if not since_s or not damping:
            return amplitudes, magnitudes
        partials_hz = f0_hz * np.arange(1, len(amplitudes) + 1)
        bands = noise_bands(len(magnitudes), self.grid.sample_rate)
        left, hiss = damped_frames(partials_hz[None], amplitudes[None], magnitudes[None], np.array([[since_s]]), damping, bands)
        return left[0], hiss[0].astype(np.float32)

    def _coloured(
        self, f0_hz: float, colour_db: np.ndarray, amplitudes: np.ndarray, magnitudes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Amplitudes (n_harmonics,) and noise magnitudes (n_bands,) under the colour of the instrument."""
        tone, noise = colour_db
        if not tone.any() and not noise.any():
            return amplitudes, magnitudes
        gains_db = np.interp(f0_hz * np.arange(1, len(amplitudes) + 1), self._centres, tone)
        return amplitudes * 10.0 ** (gains_db / 20.0), magnitudes * (10.0 ** (noise / 20.0)).astype(np.float32)

    def _fluctuating(self, amplitudes: np.ndarray, depth_db: np.ndarray) -> np.ndarray:
        """Amplitudes (n_harmonics,) as they fluctuate in this frame; their sum stays."""
        self._fluctuation.depth_db = depth_db
        if not depth_db.any():
            self._fluctuation.skip(1)
            return amplitudes
        moved = amplitudes * self._fluctuation.next(1)[0]
        return moved * (amplitudes.sum() / max(moved.sum(), 1e-9))

    def _correction_gain(self, f0_hz: float, loudness_db: float, amplitudes: np.ndarray, magnitudes: np.ndarray) -> float:
        power = sounding_power(f0_hz, amplitudes, magnitudes, self._weighting, self._noise_weight)
        sounds_db = 10.0 * math.log10(max(power, 10.0 ** (FLOOR_DB / 10.0)))
        self._gain_db = correction_gain_db(sounds_db, loudness_db, self._gain_db, self.grid.frame_rate)
        return db_to_amplitude(self._gain_db)

    def _add_tone(self, f0_hz: float, amplitudes: np.ndarray, sound: np.ndarray) -> None:
        """Harmonics from the last frame to this one, added to a hop; the phase is kept in float64 cycles."""
        hop, rate = self.grid.hop_length, self.grid.sample_rate
        before = self._f0_hz
        harmonics(self._phase, before / rate, f0_hz / rate, self._amplitudes, amplitudes, sound)
        end = self._phase + (before * hop + (f0_hz - before) * (hop - 1) / 2) / rate
        self._phase = end - round(end)

    def _hiss(self, magnitudes: np.ndarray) -> np.ndarray:
        hop = self.grid.hop_length
        if not magnitudes.any():
            self._white = None
            return np.zeros(self._n_fft)
        if (place := (self._frame - 1) % WHITE_FRAMES) == 0 or self._white is None:
            first = self._frame - 1 - place
            self._white = white_noise(first * hop, (WHITE_FRAMES + 1) * hop, self.seed).numpy()
        white = self._white[place * hop : (place + 2) * hop] * self._hann
        if self.noise == "prompt":
            return prompt_noise(magnitudes[None], white[None], self.grid)[0]
        piece = np.zeros(self._n_fft, np.float32)
        piece[self._n_fft // 2 - hop : self._n_fft // 2 + hop] = white
        response = _responses(magnitudes, self._n_fft, self.grid.sample_rate)
        return scipy.fft.irfft(scipy.fft.rfft(piece) * response, self._n_fft)


def _array(tensor: torch.Tensor | nn.Module) -> np.ndarray:
    assert isinstance(tensor, torch.Tensor)  # for mypy, a parameter of any module may be a module
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def _linear(layer: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    assert isinstance(layer, nn.Linear)
    return _array(layer.weight), _array(layer.bias)


def _dense(layers: nn.Sequential) -> tuple[tuple[np.ndarray, ...], ...]:
    """Weights, bias, and scale and shift of the layer norm, of each dense layer."""
    modules = list(layers)
    return tuple((*_linear(modules[i]), _array(modules[i + 1].weight), _array(modules[i + 1].bias)) for i in range(0, len(modules), 3))


def _responses(magnitudes: np.ndarray, n_fft: int, sample_rate: int) -> np.ndarray:
    """Magnitudes of bands (..., n_bands) at every bin, (..., n_fft // 2 + 1)."""
    band, share = between_bands(magnitudes.shape[-1], n_fft, sample_rate)
    low = magnitudes[..., band]
    return low + share * (magnitudes[..., band + 1] - low)


@lru_cache(maxsize=8)
def sound_weights(grid: FrameGrid, n_bands: int) -> tuple[np.ndarray, np.ndarray]:
    """A-weighted power of a sine of amplitude 1 at every whole hertz, and of each noise band at magnitude 1 (re a sine of 1 kHz)."""
    n_fft = 2 * (grid.sample_rate // 2)
    weighting = a_weighting(grid.sample_rate, n_fft).numpy()  # one bin a hertz
    centres = band_centres_hz(n_bands, grid.sample_rate)
    bins = np.arange(len(weighting)) * grid.sample_rate / n_fft
    # Power of a band's triangle; the cross terms of neighbouring triangles are given half to each.
    share = np.stack([np.interp(bins, centres, row) for row in np.eye(n_bands)])
    noise = 2.0 * (share * weighting).sum(axis=1) / len(weighting)
    return weighting, noise.astype(np.float32)
