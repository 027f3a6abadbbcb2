"""Expected output of streams, computed for a whole recording at once by the parts that play recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tonetransfer.audio.frames import FrameGrid
from tonetransfer.audio.loudness import FLOOR_DB, N_FFT
from tonetransfer.audio.stft import hann
from tonetransfer.audio.units import db_to_amplitude
from tonetransfer.controls.causal import ControlFrame, prompt_loudness_db, window_length
from tonetransfer.controls.controls import Controls
from tonetransfer.controls.profile import Target
from tonetransfer.models.timbre_model import TimbreModel
from tonetransfer.pitch.causal import CausalTracker
from tonetransfer.realtime.stream import StreamSettings, make_adapter
from tonetransfer.realtime.voice import NYQUIST_MARGIN, correction_gain_db, noise_fft, prompt_noise, sound_weights
from tonetransfer.synthesis.colour import coloured
from tonetransfer.synthesis.damping import DecayClock, damped
from tonetransfer.synthesis.fluctuation import Fluctuation, fluctuating
from tonetransfer.synthesis.render import SynthParams, harmonic, hold_last, white_noise
from tonetransfer.synthesis.reverb import Convolution


def track_causal(audio: np.ndarray, grid: FrameGrid, look_ahead: int, *, path_frames: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A whole recording (n_samples,), tracked as it would be live: f0, periodicity and level (n_frames,).

    Silence is heard after its end.
    """
    n_frames = grid.n_frames(len(audio))
    tracker = CausalTracker(grid, look_ahead, path_frames=path_frames)
    needed = (n_frames - 1 + path_frames) * grid.hop_length + look_ahead
    heard = np.concatenate([audio, np.zeros(max(needed - len(audio), 0))])[:needed]
    frames = tracker.push(heard)
    return tuple(np.array([getattr(frame, name) for frame in frames]) for name in ("f0_hz", "periodicity", "level_db"))  # type: ignore[return-value]


def extract_causal(audio: torch.Tensor, grid: FrameGrid, look_ahead: int, *, path_frames: int = 0) -> Controls:
    """Extract what a :class:`CausalExtractor` hears from a whole recording (n_samples,) at once.

    Silence is heard after its end.
    """
    samples = audio.detach().cpu().numpy()
    n_frames = grid.n_frames(len(samples))
    f0_hz, periodicity, _ = track_causal(samples, grid, look_ahead, path_frames=path_frames)
    length = window_length(look_ahead)
    padded = np.zeros(N_FFT // 2 + n_frames * grid.hop_length + length, np.float32)
    padded[N_FFT // 2 : N_FFT // 2 + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: grid.hop_length][:n_frames]
    pieces = [prompt_loudness_db(piece, grid, look_ahead) for piece in np.array_split(frames, -(-n_frames // 1000))]
    return Controls(torch.from_numpy(f0_hz), torch.from_numpy(periodicity), torch.from_numpy(np.concatenate(pieces)), grid)


def highest_so_far(f0_hz: torch.Tensor) -> torch.Tensor:
    """Causal form of :func:`~tonetransfer.synthesis.render.highest_around`: this f0 or the last, plus a semitone.

    The next frame is unknown. Where a leap is larger, harmonics above Nyquist fade out within the leap's 10 ms.
    """
    before = torch.cat([f0_hz[..., :1], f0_hz[..., :-1]], dim=-1)
    return torch.maximum(before, f0_hz) * NYQUIST_MARGIN


def loudness_of(params: SynthParams, grid: FrameGrid) -> torch.Tensor:
    """A-weighted loudness that parameters will have when they sound, (..., n_frames) [dB]: no need to render and measure them.

    A sine of amplitude 1 has the A-weighted level of its frequency; noise of unit variance has 3 dB more, spread over the spectrum.
    """
    weighting, noise_weight = sound_weights(grid, params.noise_magnitudes.shape[-1])
    numbers = torch.arange(1, params.harmonic_distribution.shape[-1] + 1)
    place = (params.f0_hz[..., None] * numbers).round().long().clamp(max=len(weighting) - 1)
    tone = (params.amplitude[..., None] * params.harmonic_distribution).square() * torch.from_numpy(weighting)[place]
    noise = params.noise_magnitudes.square() @ torch.from_numpy(noise_weight)
    return 10.0 * torch.log10((tone.sum(-1) + noise).clamp(min=10.0 ** (FLOOR_DB / 10.0)))


def stream_at_once(
    audio: torch.Tensor, model: TimbreModel, target: Target, settings: StreamSettings | None = None, *, room: np.ndarray | None = None
) -> torch.Tensor:
    """Compute a stream's output for a whole recording, without streaming: tracker, decoder and synthesizer each run once over all of it.

    Only the running fit goes frame by frame. The decoder is the torch one, harmonics and noise come from
    :mod:`tonetransfer.synthesis.render`: with ``noise="exact"`` the sound is that of :func:`~tonetransfer.synthesis.render.render`. Sample
    n of (n_samples,) is what the stream gives ``latency_samples`` later.
    """
    settings, grid = settings or StreamSettings(), model.grid
    beyond = 4 * grid.hop_length  # the last frames are approached from what lies behind them
    padded = torch.nn.functional.pad(audio, (0, beyond))
    heard = extract_causal(padded, grid, settings.look_ahead(grid), path_frames=settings.path_frames)
    adapter = make_adapter(target, settings, grid)
    rows = zip(*(getattr(heard, name).double().tolist() for name in ("f0_hz", "periodicity", "loudness_db")), strict=True)
    asked = [adapter.frame(ControlFrame(*row)) for row in rows]
    f0_hz = torch.tensor([one.f0_hz for one in asked])
    loudness_db = torch.tensor([one.loudness_db for one in asked])
    with torch.no_grad():
        decoder = model.with_note_table(target.note_table).decoder
        batch, _ = decoder(f0_hz[None], loudness_db[None], target.z[None], highest_hz=highest_so_far(f0_hz)[None])
        params = batch.map(lambda x: x[0])
        if target.string_damping:
            params = next(damped([params], _decay(loudness_db, grid), target.string_damping, grid.sample_rate))
        if target.colour_db is not None:
            params = next(coloured([params], target.colour_db, grid.sample_rate))
        if target.fluctuation_db is not None:
            params = next(fluctuating([params], Fluctuation(target.fluctuation_db, grid.frame_rate, seed=settings.seed)))
        if settings.follow:
            params = _corrected(params, loudness_db, grid)
        params = _amplified(params, db_to_amplitude(torch.tensor([one.gain_db for one in asked])))
        sound = model.render(params, seed=settings.seed) if settings.noise == "exact" else _render_promptly(params, grid, settings.seed)
    if room is not None:
        sound = torch.from_numpy(Convolution(room, grid.hop_length).whole(sound.numpy()))
    return sound[: len(audio)]


def _decay(loudness_db: torch.Tensor, grid: FrameGrid) -> torch.Tensor:
    """Time since each frame's note began to fall freely, as far as that is known by then, (n_frames,) [s]."""
    clock = DecayClock(grid.frame_rate)
    return torch.tensor([clock.next(level) for level in loudness_db.double().tolist()])


def _corrected(params: SynthParams, asked_db: torch.Tensor, grid: FrameGrid) -> SynthParams:
    gain_db, gains = 0.0, []
    for sounds, asked in zip(loudness_of(params, grid).tolist(), asked_db.tolist(), strict=True):
        gain_db = correction_gain_db(sounds, asked, gain_db, grid.frame_rate)
        gains.append(db_to_amplitude(gain_db))
    return _amplified(params, torch.tensor(gains))


def _amplified(params: SynthParams, gain: torch.Tensor) -> SynthParams:
    """Parameters with a gain (n_frames,) on tone and noise."""
    return replace(params, amplitude=params.amplitude * gain, noise_magnitudes=params.noise_magnitudes * gain[:, None])


def _render_promptly(params: SynthParams, grid: FrameGrid, seed: int) -> torch.Tensor:
    """:func:`tonetransfer.synthesis.render.render` with noise filters of minimum phase."""
    hop, n_frames, n_fft = grid.hop_length, params.n_frames, noise_fft(grid)
    amplitudes = params.amplitude[:, None] * params.harmonic_distribution
    tonal, _ = harmonic(hold_last(params.f0_hz, -1), hold_last(amplitudes, -2), grid)
    white = white_noise(-hop, (n_frames + 1) * hop, seed).unfold(0, 2 * hop, hop) * hann(2 * hop)
    pieces = prompt_noise(params.noise_magnitudes.numpy(), white.numpy(), grid)
    pieces[~params.noise_magnitudes.any(-1).numpy()] = 0.0
    total = np.zeros((n_frames + 1) * hop + n_fft)
    for t, piece in enumerate(pieces):
        total[t * hop : t * hop + n_fft] += piece
    return tonal + torch.from_numpy(total[hop : (n_frames + 1) * hop]).float()
