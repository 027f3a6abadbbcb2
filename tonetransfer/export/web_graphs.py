"""Instruments, loudness and the finish of a file as graphs for browsers: tensors in and out, state among them, to be exported to ONNX.

What :mod:`~tonetransfer.models.decoder`, :mod:`~tonetransfer.synthesis.render` and :mod:`~tonetransfer.realtime.voice` compute, in
operations that every ONNX runtime has: there is no FFT, no loop and no complex number. White noise comes from outside, so that the same
call gives the same sound.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..audio.frames import FrameGrid
from ..audio.loudness import FLOOR_DB, LARGEST_DB, N_FFT, TOLERANCE_DB, correction_db, power_weighting
from ..audio.stft import a_weighting_at, band_interpolation, hann
from ..audio.units import db_to_amplitude, hz_to_midi
from ..models.decoder import SILENT_DB
from ..models.note_age_table import LEAP_FRAMES, LEAP_SEMITONES, LONGEST_AGE, RISE_DB, RISE_FRAMES, looked_up
from ..models.timbre_model import TimbreModel
from ..synthesis.colour import FADE_S, GATE_FRAMES, HOLD_S, presence_at, room_tone_taps
from ..synthesis.damping import damped_frames, noise_bands
from ..synthesis.fluctuation import CORNER_HZ
from ..synthesis.render import SynthParams, below_nyquist, highest_around

LATENCY_FRAMES = 2  # until nothing more is added to a sample: a noise frame begins so long before its instant
HISTORY = max(LEAP_FRAMES, RISE_FRAMES)  # frames that the age of a note is told by
NOISE_COLUMNS = 48  # of the transforms of four hops and of two: 40 * 48 and 20 * 48 samples
POINTS_A_WAVE = 20  # of a period, for the highest harmonic
FOLLOW_S = 0.05  # as of the realtime voice
NYQUIST_MARGIN = 2.0 ** (1 / 12)


class Fourier(nn.Module):
    """Real Fourier transform of frames by matrix products: N = rows * columns (even), as Cooley and Tukey split it.

    Spectra are laid out (rows, columns // 2 + 1): bin k1 + rows * k2 stands at (k1, k2). The few beyond Nyquist are repeated. Rows `first`
    to `last` of a frame are not zero.
    """

    by_row: torch.Tensor
    by_column: torch.Tensor
    cosine: torch.Tensor
    sine: torch.Tensor
    back_by_row: torch.Tensor
    back_by_column: torch.Tensor

    def __init__(self, rows: int, columns: int, first: int = 0, last: int | None = None) -> None:
        super().__init__()
        self.rows, self.columns, self.width = rows, columns, columns // 2 + 1
        turn = np.outer(np.arange(rows), np.arange(rows)[first:last]) / rows
        self._keep("by_row", np.concatenate([_cos(turn), -_sin(turn)]))
        twist = np.outer(np.arange(rows), np.arange(columns)) / (rows * columns)
        self._keep("cosine", _cos(twist))
        self._keep("sine", _sin(twist))
        turn = np.outer(np.arange(columns), np.arange(self.width)) / columns
        self._keep("by_column", np.block([[_cos(turn), -_sin(turn)], [_sin(turn), _cos(turn)]]))
        turn = turn.T
        self._keep("back_by_column", np.block([[_cos(turn), _sin(turn)], [-_sin(turn), _cos(turn)]]))
        turn = np.outer(np.arange(rows), np.arange(rows)) / rows
        self._keep("back_by_row", np.concatenate([_cos(turn), -_sin(turn)], axis=1))

    def _keep(self, name: str, values: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(values).float(), persistent=False)

    def bins(self) -> np.ndarray:
        """Numbers of the bins where they stand, (rows, width)."""
        return np.arange(self.rows)[:, None] + self.rows * np.arange(self.width)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (n, rows that are not zero * columns) to real and imaginary parts, (n, rows, 2 * width)."""
        parts = self.by_row @ frames.unflatten(-1, (-1, self.columns))
        real, imaginary = parts[:, : self.rows], parts[:, self.rows :]
        turned = torch.cat([real * self.cosine + imaginary * self.sine, imaginary * self.cosine - real * self.sine], dim=-1)
        return turned @ self.by_column

    def inverse(self, parts: torch.Tensor) -> torch.Tensor:
        """Sum of the waves of all bins, not normalised: (n, rows, 2 * width) to (n, rows * columns)."""
        waves = parts @ self.back_by_column
        real, imaginary = waves[..., : self.columns], waves[..., self.columns :]
        turned = torch.cat([real * self.cosine - imaginary * self.sine, imaginary * self.cosine + real * self.sine], dim=1)
        return (self.back_by_row @ turned).flatten(1)


def _waves_of_bins(bins: np.ndarray, n_fft: int) -> np.ndarray:
    """Factor of each bin in an inverse transform that adds up real waves: bins beyond Nyquist, which are repeated, have none."""
    return np.where(bins > n_fft // 2, 0.0, np.where(bins % (n_fft // 2) == 0, 1.0, 2.0)) / n_fft


def _cos(cycles: np.ndarray) -> np.ndarray:
    return np.cos(2.0 * np.pi * cycles)


def _sin(cycles: np.ndarray) -> np.ndarray:
    return np.sin(2.0 * np.pi * cycles)


class Motion(NamedTuple):
    """What partials do by themselves in some frames."""

    moves: torch.Tensor  # gains of their fluctuation (n_frames, n_harmonics)
    decay_s: torch.Tensor  # since they began to die away (n_frames, 1)
    damping: torch.Tensor  # of the string (1,)

    def now_and_before(self) -> Motion:
        """That of all frames but the first, and behind it that of all but the last."""
        moves, decay_s = (torch.cat([x[1:], x[:-1]]) for x in (self.moves, self.decay_s))
        return Motion(moves, decay_s, self.damping)


class WebInstrument(nn.Module):
    """The instruments of a model: controls of some frames to as much sound, :data:`LATENCY_FRAMES` late."""

    noise_power: torch.Tensor
    band_centres: torch.Tensor
    band_weights: torch.Tensor

    def __init__(self, model: TimbreModel) -> None:
        super().__init__()
        self.grid, self.decoder = model.grid, model.decoder
        n, n_bands = model.decoder.n_harmonics, model.decoder.n_bands
        self.room = None if model.room is None else RoomConvolution(model.room, model.grid)
        self.sizes = {
            "memory": model.decoder.memory.hidden_size,
            "f0_hz": HISTORY,
            "level_db": HISTORY,  # above FLOOR_DB: zeros are silence
            "age": 1,  # plus 1
            "decay_s": 1,
            "raw": 1 + n + n_bands,
            "fluctuation": n,
            "gain_db": 1,
            "amplitudes": n,
            "phase": 2,  # and what float32 leaves of it
            "white": self.grid.hop_length,
            "ringing": 3 * self.grid.hop_length,
        }
        if self.room is not None:
            self.sizes["room"] = self.room.state_size
        self.n_noise = self.grid.hop_length + n
        self.gru, self.tone, self.noise = OneGru(model.decoder.memory), Tone(n, self.grid), Noise(n_bands, self.grid)
        self.register_buffer("noise_power", self.noise.powers(), persistent=False)
        for name, values in zip(("band_centres", "band_weights"), noise_bands(n_bands, self.grid.sample_rate), strict=True):
            self.register_buffer(name, torch.from_numpy(values).float(), persistent=False)
        self.fluctuation_pole = math.exp(-2.0 * math.pi * CORNER_HZ / self.grid.frame_rate)
        self.follow_pole = math.exp(-1.0 / (FOLLOW_S * self.grid.frame_rate))

    @property
    def state_size(self) -> int:
        """Numbers in the state."""
        return sum(self.sizes.values())

    def forward(
        self,
        f0_hz: torch.Tensor,
        loudness_db: torch.Tensor,
        decay_s: torch.Tensor,
        noise: torch.Tensor,
        follow: torch.Tensor,
        state: torch.Tensor,
        z: torch.Tensor,
        depth_db: torch.Tensor,
        note_table: torch.Tensor,
        string_damping: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Play frames: sound (1, n_frames * hop_length), and the state for the frames behind them.

        `f0_hz`, `loudness_db` and `decay_s`, (1, n_frames), the last as of :func:`~tonetransfer.synthesis.damping.free_decay`; `noise`
        (n_frames, hop_length + n_harmonics), white, of unit variance; `follow` (1,), in [0, 1]: whether loudness is corrected as it goes;
        `state` (1, state_size): zeros, or what came back from the frames before. `z` (1, z_dim), `depth_db` (n_harmonics,), `note_table`
        (25, 15, n_out) and `string_damping` (1,) are timbre, fluctuation, note-age table and string damping of the instrument.
        """
        before = dict(zip(self.sizes, state.split(list(self.sizes.values()), dim=-1), strict=True))
        hop, n_frames = self.grid.hop_length, f0_hz.shape[1]
        f0 = torch.cat([before["f0_hz"], f0_hz], dim=1)
        level = torch.cat([before["level_db"] + FLOOR_DB, loudness_db], dim=1)
        age = self._ages(f0, level, before["age"])
        h = self.decoder.pre_gru(f0_hz, loudness_db, z)
        remembered, memory = self.gru(h, before["memory"][None])
        addition = looked_up(note_table[None], hz_to_midi(f0_hz), loudness_db, age)
        raw = self.decoder.raw(h, remembered, f0_hz, loudness_db, z, age, addition)
        fluctuation = recursion(noise[:, hop:] * math.sqrt(1.0 - self.fluctuation_pole**2), before["fluctuation"], self.fluctuation_pole)
        raw = torch.cat([before["raw"][:, None], raw], dim=1)
        moves = db_to_amplitude(depth_db * torch.cat([before["fluctuation"], fluctuation]))
        decay = torch.cat([before["decay_s"], decay_s], dim=1)
        motion = Motion(moves, decay[0, :, None] * torch.sign(string_damping), string_damping)  # without a string nothing dies away
        amplitudes, magnitudes, gain_db = self._asked(f0, level, raw, motion, follow, before["gain_db"])
        amplitudes = torch.cat([before["amplitudes"], amplitudes])
        tonal, phase = self.tone(f0[0, HISTORY - 2 : -1], amplitudes, before["phase"])
        white = torch.cat([before["white"], noise[:, :hop]])
        hissing, ringing = self.noise(magnitudes, white, before["ringing"])
        sound = tonal + hissing
        after = [memory[0], f0[:, n_frames:], level[:, n_frames:] - FLOOR_DB, age[:, -1:] + 1.0, decay[:, -1:], raw[:, -1]]
        after += [fluctuation[-1:], gain_db[-1:], amplitudes[-1:], phase, white[-1:], ringing]
        if self.room is not None:
            sound, kept = self.room(sound, before["room"])
            after.append(kept)
        return sound.reshape(1, -1), torch.cat(after, dim=1)

    def _ages(self, f0_hz: torch.Tensor, level_db: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """:func:`~tonetransfer.models.note_age_table.note_age` of frames behind a history, (1, HISTORY + n_frames) -> (1, n_frames)."""
        midi = hz_to_midi(f0_hz.double().clamp(min=1.0))
        leap, rise = HISTORY - LEAP_FRAMES, HISTORY - RISE_FRAMES
        n_frames = f0_hz.shape[1] - HISTORY
        leaps = ((midi[:, HISTORY:] - midi[:, leap : leap + n_frames]).abs() > LEAP_SEMITONES) & (f0_hz[:, leap : leap + n_frames] > 0.0)
        rises = (level_db[:, HISTORY:] - level_db[:, rise : rise + n_frames] > RISE_DB) & (f0_hz[:, rise : rise + n_frames] > 0.0)
        frames = torch.arange(n_frames, device=f0_hz.device, dtype=torch.float32)[None]
        begun = torch.where(leaps | rises, frames, -1.0)
        begun = functional.pad(begun, (LONGEST_AGE, 0), value=-1.0)[None]
        latest = functional.max_pool2d(begun, (1, LONGEST_AGE + 1), (1, 1))[0]  # of one dimension takes sizes for constants
        age = torch.where(latest >= 0.0, frames - latest, before + frames)
        return age.clamp(max=float(LONGEST_AGE))

    def _asked(
        self,
        f0_hz: torch.Tensor,
        level_db: torch.Tensor,
        raw: torch.Tensor,
        motion: Motion,
        follow: torch.Tensor,
        before: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Amplitudes (n_frames, n_harmonics) from a frame before, noise magnitudes (n_frames, n_bands), and gains (n_frames, 1) [dB].

        f0 and levels come with their history, raw outputs and motion with a frame before. Amplitudes wait for the next frame, which decides
        what is below Nyquist; for the gain that is guessed.
        """
        n_frames = raw.shape[1] - 1
        f0, level = (torch.cat([track[:, HISTORY:], track[:, HISTORY - 1 : -1]], dim=1) for track in (f0_hz, level_db))
        highest = torch.cat([self._so_far(f0_hz), highest_around(f0_hz[:, HISTORY - 2 :])[:, 1:-1]], dim=1)
        tone, noise = self._legal(f0, level, highest, torch.cat([raw[:, 1:], raw[:, :-1]], dim=1), motion.now_and_before())
        guessed, amplitudes, magnitudes = tone[:n_frames], tone[n_frames:], noise[:n_frames]
        gain_db = self._gain_db(f0_hz[0, HISTORY:], level_db[0, HISTORY:], guessed, magnitudes, before)
        gain = db_to_amplitude(follow * torch.cat([before, gain_db]))
        return amplitudes * gain[:-1], magnitudes * gain[1:], gain_db

    def _so_far(self, f0_hz: torch.Tensor) -> torch.Tensor:
        """The f0 that decides what is below Nyquist while the next is not known, of all frames behind the history, (1, n_frames)."""
        return torch.maximum(f0_hz[:, HISTORY - 1 : -1], f0_hz[:, HISTORY:]) * NYQUIST_MARGIN

    def _legal(
        self, f0_hz: torch.Tensor, loudness_db: torch.Tensor, highest_hz: torch.Tensor, raw: torch.Tensor, motion: Motion
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Amplitudes of harmonics (n_frames, n_harmonics), dying away and fluctuating, and noise magnitudes (n_frames, n_bands)."""
        audible = below_nyquist(highest_hz, self.decoder.n_harmonics, self.grid.sample_rate)
        params: SynthParams = self.decoder.legal(f0_hz, loudness_db, audible, raw)
        partials_hz = f0_hz[0, :, None] * torch.arange(1, self.decoder.n_harmonics + 1, device=f0_hz.device)
        held = params.amplitude[0, :, None] * params.harmonic_distribution[0], params.noise_magnitudes[0]
        bands = self.band_centres, self.band_weights
        tone, noise = damped_frames(partials_hz, *held, motion.decay_s, motion.damping, bands)
        moved = tone * motion.moves
        return moved * (tone.sum(-1, keepdim=True) / moved.sum(-1, keepdim=True).clamp(min=1e-20)), noise

    def _gain_db(
        self, f0_hz: torch.Tensor, asked_db: torch.Tensor, amplitudes: torch.Tensor, magnitudes: torch.Tensor, before: torch.Tensor
    ) -> torch.Tensor:
        """Gain of each frame as :func:`~tonetransfer.realtime.voice.correction_gain_db` gives it, (n_frames, 1)."""
        numbers = torch.arange(1, amplitudes.shape[-1] + 1, device=f0_hz.device)
        tone = amplitudes.square() * a_weighting_at(f0_hz[:, None] * numbers)
        power = tone.sum(-1) + magnitudes.square() @ self.noise_power
        sounds_db = 10.0 * torch.log10(power.clamp(min=10.0 ** (FLOOR_DB / 10.0)))
        deviation = torch.where(asked_db > SILENT_DB, asked_db - sounds_db, 0.0)
        wanted = (deviation - deviation.clamp(-TOLERANCE_DB, TOLERANCE_DB)).clamp(-LARGEST_DB, LARGEST_DB)
        return recursion(wanted[:, None] * (1.0 - self.follow_pole), before, self.follow_pole)


class OneGru(nn.Module):
    """A GRU (one layer, batch first) as ONNX has it, one operation: what torch exports is a loop of many."""

    into: torch.Tensor
    recurrent: torch.Tensor
    input_bias: torch.Tensor
    bias: torch.Tensor

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.gru = gru
        for name, parts in zip(("into", "recurrent", "input_bias", "bias"), gru.all_weights[0], strict=True):
            reset, keep, new = parts.detach().chunk(3)
            self.register_buffer(name, torch.cat([keep, reset, new])[None], persistent=False)  # the order of ONNX

    def forward(self, h: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States (1, n_frames, width) and the last of them (1, 1, width), of h (1, n_frames, width) and what is remembered."""
        if not torch.onnx.is_in_onnx_export():
            states, last = self.gru(h, memory)
            return states, last
        width, n_frames = self.gru.hidden_size, h.shape[1]
        states, last = torch.onnx.ops.symbolic_multi_out(
            "::GRU",
            (h.transpose(0, 1), self.into, self.recurrent, torch.cat([self.input_bias, self.bias], dim=1), None, memory),
            {"hidden_size": width, "linear_before_reset": 1},
            dtypes=(h.dtype, h.dtype),
            shapes=((n_frames, 1, 1, width), (1, 1, width)),
        )
        return states[:, 0].transpose(0, 1), last


def recursion(x: torch.Tensor, before: torch.Tensor, pole: float) -> torch.Tensor:
    """y[t] = x[t] + pole * y[t - 1] of rows (n_frames, n), behind a row y[-1] (1, n): a product with powers of the pole."""
    t = torch.arange(x.shape[0], device=x.device, dtype=torch.float32)
    apart = t[:, None] - t
    powers = torch.where(apart >= 0.0, torch.exp(apart.clamp(min=0.0) * math.log(pole)), 0.0)
    return powers @ x + torch.exp((t[:, None] + 1.0) * math.log(pole)) * before


class Tone(nn.Module):
    """Harmonics from frame to frame: periods are read off as :mod:`~tonetransfer.synthesis.render` reads them."""

    numbers: torch.Tensor
    points: torch.Tensor
    wave: torch.Tensor
    unsmoothed: torch.Tensor
    n: torch.Tensor
    pairs: torch.Tensor
    u: torch.Tensor

    def __init__(self, n_harmonics: int, grid: FrameGrid) -> None:
        super().__init__()
        self.grid, self.n_points = grid, 1 << (POINTS_A_WAVE * n_harmonics - 1).bit_length()
        numbers = torch.arange(1, n_harmonics + 1)
        wave = torch.sin(2.0 * torch.pi * torch.arange(self.n_points, dtype=torch.float64) / self.n_points)
        smoothed = (2.0 + torch.cos(2.0 * torch.pi * numbers.double() / self.n_points)) / 3.0  # by cubic B-splines
        points = torch.arange(-1, self.n_points + 2)  # one more before the first, two after the last
        n = torch.arange(grid.hop_length, dtype=torch.float64)
        for name, value in (
            ("numbers", numbers[:, None]),
            ("points", points[None] + self.n_points),
            ("wave", wave.float()),
            ("unsmoothed", (1.0 / smoothed).float()),
            ("n", n),
            ("pairs", n * (n - 1.0)),
            ("u", (n / grid.hop_length).float()),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, f0_hz: torch.Tensor, amplitudes: torch.Tensor, phase: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """f0 (n_frames + 1,), amplitudes (n_frames + 1, n_harmonics), phase (1, 2) [cycles] -> audio (n_frames, hop), phase."""
        hop, n_frames = self.grid.hop_length, f0_hz.shape[0] - 1
        turns = f0_hz.double() / self.grid.sample_rate
        here = turns[:-1]
        bend = torch.where(here > 0.0, (turns[1:] - here) / (2 * hop), 0.0)  # nothing turns before the first frame
        whole = here * hop + bend * (hop * (hop - 1))
        total = torch.cumsum(whole, dim=0) + phase.double().sum()
        first = total - whole
        first = (first - first.floor()) * self.n_points
        place = first[:, None] + (here * self.n_points)[:, None] * self.n + (bend * self.n_points)[:, None] * self.pairs
        point = place.floor()
        sound = self._read(amplitudes, point.long(), (place - point).float(), n_frames)
        end = total[-1] - total[-1].round()
        kept = end.float()
        return sound, torch.stack([kept, (end - kept.double()).float()])[None]

    def _read(self, amplitudes: torch.Tensor, point: torch.Tensor, x: torch.Tensor, n_frames: int) -> torch.Tensor:
        """Sound (n_frames, hop), read between points of the periods of the frames before and after."""
        length = self.n_points + 3
        places = torch.remainder(self.numbers * self.points, self.n_points)
        sines = torch.index_select(self.wave, 0, places.flatten()).unflatten(0, (-1, length))
        periods = ((amplitudes * self.unsmoothed) @ sines).flatten()
        index = torch.remainder(point, self.n_points) + length * torch.arange(n_frames, device=point.device)[:, None]
        square = x * x
        cube = square * x / 6.0
        second, third = 3.0 * cube - square + 2.0 / 3.0, 0.5 * (square + x) + 1.0 / 6.0 - 3.0 * cube
        weights = 1.0 - second - third - cube, second, third, cube
        index = index.flatten()
        ends = []
        for row in range(2):
            parts = [torch.index_select(periods, 0, index + (row * length + i)).view_as(x) * weights[i] for i in range(4)]
            ends.append(parts[0] + parts[1] + parts[2] + parts[3])
        return ends[0] + (ends[1] - ends[0]) * self.u


class Noise(nn.Module):
    """Filtered noise, frame by frame: :func:`~tonetransfer.synthesis.render.filtered_noise` with frames of four hops."""

    band: torch.Tensor
    below: torch.Tensor
    above: torch.Tensor
    window: torch.Tensor

    def __init__(self, n_bands: int, grid: FrameGrid) -> None:
        super().__init__()
        self.grid, hop = grid, grid.hop_length
        self.n_fft = 4 * hop
        rows = self.n_fft // NOISE_COLUMNS
        self.fourier = Fourier(rows, NOISE_COLUMNS, rows // 4, 3 * rows // 4)
        bins, last = self.fourier.bins(), self.n_fft // 2
        shares = band_interpolation(n_bands, self.n_fft, grid.sample_rate).numpy()
        band = np.minimum((shares > 0).argmax(axis=0), n_bands - 2)
        above = shares[band + 1, np.arange(len(band))]
        weight = _waves_of_bins(bins, self.n_fft)
        bins = np.minimum(bins, last)
        for name, value in (
            ("band", torch.from_numpy(band[bins].flatten())),
            ("below", torch.from_numpy((weight * (1.0 - above[bins])).flatten()).float()),
            ("above", torch.from_numpy((weight * above[bins]).flatten()).float()),
            ("window", hann(2 * hop).clone()),
        ):
            self.register_buffer(name, value, persistent=False)
        self.n_bands = n_bands

    def powers(self) -> torch.Tensor:
        """A-weighted power of each band at magnitude 1 (re a sine of 1 kHz), (n_bands,)."""
        n_fft = self.grid.sample_rate // 2 * 2
        shares = band_interpolation(self.n_bands, n_fft, self.grid.sample_rate)
        weighting = a_weighting_at(torch.arange(n_fft // 2 + 1) * (self.grid.sample_rate / n_fft))
        return 2.0 * (shares * weighting).sum(1) / shares.shape[1]

    def forward(self, magnitudes: torch.Tensor, white: torch.Tensor, ringing: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Magnitudes (n_frames, n_bands), white noise (n_frames + 1, hop) from a hop before, what rings (1, 3 hop) -> sound, what rings."""
        frames = torch.cat([white[:-1], white[1:]], dim=1) * self.window
        low, high = (torch.index_select(magnitudes, 1, self.band + i) for i in range(2))
        gains = (low * self.below + high * self.above).unflatten(-1, (self.fourier.rows, self.fourier.width))
        pieces = self.fourier.inverse(self.fourier(frames) * torch.cat([gains, gains], dim=-1)).unflatten(-1, (4, -1))
        total = functional.pad(ringing.unflatten(-1, (3, -1))[0], (0, 0, 0, gains.shape[0]))
        for i in range(4):
            total = total + functional.pad(pieces[:, i], (0, 0, i, 3 - i))
        return total[:-3], total[-3:].reshape(1, -1)


class RoomConvolution(nn.Module):
    """The room that an instrument has learned, hop by hop: partitions of its response (n_taps,), the direct sound left out, as spectra."""

    real: torch.Tensor
    imaginary: torch.Tensor
    waves: torch.Tensor

    def __init__(self, response: torch.Tensor, grid: FrameGrid) -> None:
        super().__init__()
        self.hop, self.n_parts = grid.hop_length, -(-len(response) // grid.hop_length)
        self.fourier = Fourier(2 * self.hop // NOISE_COLUMNS, NOISE_COLUMNS)
        parts = functional.pad(response.detach(), (0, self.n_parts * self.hop - len(response))).unflatten(0, (-1, self.hop)).flip(0)
        spectra = self.fourier(functional.pad(parts, (0, self.hop))).half().float()  # as they are stored
        self.register_buffer("real", spectra[..., : self.fourier.width], persistent=False)  # (n_parts, rows, width), the last part first
        self.register_buffer("imaginary", spectra[..., self.fourier.width :], persistent=False)
        waves = torch.from_numpy(_waves_of_bins(self.fourier.bins(), 2 * self.hop)).float()
        self.register_buffer("waves", torch.cat([waves, waves], dim=1), persistent=False)

    @property
    def state_size(self) -> int:
        """Numbers that are kept: spectra of earlier hops, and the last hop."""
        return (self.n_parts - 1) * self.waves.numel() + self.hop

    def forward(self, sound: torch.Tensor, before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sound (n_frames, hop) and state (1, state_size) -> sound in the room, state."""
        hops = torch.cat([before[:, -self.hop :], sound])
        spectra = self.fourier(torch.cat([hops[:-1], hops[1:]], dim=1))
        spectra = torch.cat([before[0, : -self.hop].unflatten(0, (self.n_parts - 1, self.fourier.rows, -1)), spectra])
        frames = torch.arange(sound.shape[0], device=sound.device)[:, None] + torch.arange(self.n_parts, device=sound.device)
        recent = torch.index_select(spectra, 0, frames.flatten()).unflatten(0, (-1, self.n_parts))
        straight = (recent * torch.cat([self.real, self.real], dim=-1)).sum(1)
        crossed = (recent * torch.cat([self.imaginary, self.imaginary], dim=-1)).sum(1)
        width = self.fourier.width
        parts = torch.cat([straight[..., :width] - crossed[..., width:], crossed[..., :width] + straight[..., width:]], dim=-1)
        kept = torch.cat([spectra[sound.shape[0] :].reshape(1, -1), hops[-1:]], dim=1)
        return sound + self.fourier.inverse(parts * self.waves)[:, self.hop :], kept


class Loudness(nn.Module):
    """:func:`~tonetransfer.audio.loudness.loudness_db` of sound (1, n_samples)."""

    rows, columns = 32, 64
    weights: torch.Tensor
    window: torch.Tensor

    def __init__(self, grid: FrameGrid) -> None:
        super().__init__()
        self.grid, self.fourier = grid, Fourier(self.rows, self.columns)
        bins = self.fourier.bins()
        weights = np.where(bins <= N_FFT // 2, power_weighting(grid.sample_rate).numpy()[np.minimum(bins, N_FFT // 2)], 0.0)
        self.context_frames = -(-N_FFT // (2 * grid.hop_length))  # on either side of a frame, that its window reaches into
        self.register_buffer("weights", torch.from_numpy(np.concatenate([weights, weights], axis=1)).float(), persistent=False)
        self.register_buffer("window", hann(N_FFT).clone(), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Audio (1, n_samples) to loudness (1, n_frames) [dB re full scale]."""
        hop = self.grid.hop_length
        n_frames = (audio.shape[1] + hop - 1) // hop
        before, after = self.context_frames, (N_FFT // 2 - 1) // hop
        padded = functional.pad(audio[0], (before * hop, (after + 1) * hop))
        hops = padded[: (n_frames + before + after) * hop].unflatten(0, (-1, hop))
        frames = torch.cat([hops[i : i + n_frames] for i in range(before + after + 1)], dim=1)
        first = before * hop - N_FFT // 2
        spectrum = self.fourier(frames[:, first : first + N_FFT] * self.window)
        power = (spectrum.square() * self.weights).sum((1, 2))
        return 10.0 * torch.log10(power.clamp(min=10.0 ** (FLOOR_DB / 10.0)))[None]


class Finish(nn.Module):
    """Last steps of offline rendering, of a whole sound: loudness correction, gain, and room tone."""

    rows, columns = 120, 160  # twice as many samples as a room tone's filter has taps, at 48 kHz

    presence: torch.Tensor

    def __init__(self, grid: FrameGrid) -> None:
        super().__init__()
        self.grid, self.loudness, self.fourier = grid, Loudness(grid), Fourier(self.rows, self.columns)
        reach = self.context_frames(grid)
        away = np.abs(np.arange(-reach, reach + 1)) / grid.frame_rate
        self.register_buffer("presence", torch.from_numpy(presence_at(away)).float(), persistent=False)

    @staticmethod
    def context_frames(grid: FrameGrid) -> int:
        """Frames on either side that decide about a frame."""
        return round((HOLD_S + FADE_S) * grid.frame_rate)

    @classmethod
    def noise_frames(cls, grid: FrameGrid) -> int:
        """Frames of noise before the first one of a sound that are heard in it."""
        return cls.rows * cls.columns // (2 * grid.hop_length)

    def room_tone(self, tone_db: torch.Tensor | None) -> torch.Tensor:
        """Spectrum of the filter of a room tone (64,), as of :mod:`~tonetransfer.synthesis.colour`: (2, rows, width); None: of none."""
        n_fft, bins = self.rows * self.columns, self.fourier.bins()
        taps = np.zeros(1) if tone_db is None else room_tone_taps(tone_db, self.grid.sample_rate)
        response = np.fft.rfft(taps, n_fft)[np.minimum(bins, n_fft // 2)] * _waves_of_bins(bins, n_fft)
        return torch.from_numpy(np.stack([response.real, response.imag])).float()

    def forward(
        self,
        audio: torch.Tensor,
        loudness_db: torch.Tensor,
        notes: torch.Tensor,
        gain_db: torch.Tensor,
        tone_level_db: torch.Tensor,
        noise: torch.Tensor,
        room_tone: torch.Tensor,
    ) -> torch.Tensor:
        """Finish a sound or a stretch of it, (n_frames, hop_length), as (1, n_frames * hop_length).

        `loudness_db` (1, n_frames) as it was asked for; `notes` (1, n_frames): 1 in a note, -1 where the source is quieter than a room;
        `gain_db` (1,) of the whole; `tone_level_db` (1,), which the `room_tone` (2, rows, width) is relative to; `noise` (noise_frames +
        n_frames, hop_length), white, of unit variance.
        """
        measured_db = self.loudness(audio.reshape(1, -1))[0]
        gain = db_to_amplitude(correction_db(measured_db, loudness_db[0], notes[0] > 0.5, self.grid.frame_rate) + gain_db)
        tone = self._tone(noise, audio.shape[0], room_tone) * self.grid.upsample(self._near(notes[0]) * db_to_amplitude(tone_level_db))
        return (audio.flatten() * self.grid.upsample(gain) + tone)[None]

    def _tone(self, noise: torch.Tensor, n_frames: int, response: torch.Tensor) -> torch.Tensor:
        """Noise through the filter of the room tone, (n_frames * hop_length,)."""
        at_once, half = self.noise_frames(self.grid), self.fourier.width
        missing = (n_frames + at_once - 1) // at_once * at_once - n_frames
        blocks = functional.pad(noise, (0, 0, 0, missing)).flatten().unflatten(0, (-1, at_once * self.grid.hop_length))
        spectra = self.fourier(torch.cat([blocks[:-1], blocks[1:]], dim=1))
        real, imaginary = spectra[..., :half], spectra[..., half:]
        parts = torch.cat([real * response[0] - imaginary * response[1], real * response[1] + imaginary * response[0]], dim=-1)
        return self.fourier.inverse(parts)[:, at_once * self.grid.hop_length :].flatten()[: n_frames * self.grid.hop_length]

    def _near(self, notes: torch.Tensor) -> torch.Tensor:
        """:func:`~tonetransfer.synthesis.colour.room_presence`, (n_frames,)."""
        span = len(self.presence)
        around = functional.pad(notes, (span // 2, span // 2))
        frames = torch.arange(notes.shape[0], device=notes.device)[:, None] + torch.arange(span, device=notes.device)
        near = (torch.index_select(around, 0, frames.flatten()).unflatten(0, (-1, span)).clamp(min=0.0) * self.presence).amax(1)
        gate = torch.ones(1, 1, GATE_FRAMES, device=notes.device)
        silent = torch.where(notes < -0.5, 1.0, 0.0)
        beside_silence = functional.conv1d(silent[None, None], gate, padding=GATE_FRAMES // 2)[0, 0] > 0.5
        gated = torch.stack([torch.where(beside_silence, 0.0, near), torch.ones_like(near)])
        total = functional.conv1d(gated[:, None], gate, padding=GATE_FRAMES // 2)[:, 0]
        return total[0] / total[1]
