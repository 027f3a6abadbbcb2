"""Sound in, sound out, block by block: another instrument while one plays.

    stream = Stream(model, find_target(model, 48000, to="violin"))
    out = stream.push(block)          # as many samples as went in, `stream.latency_samples` later
    stream.change(find_target(model, 48000, to="flute"), glide_s=0.5)
    rest = stream.flush()             # what is still on its way

Everything carries its state: the tracker and its path, the running fit, the decoder's memory, phase and noise of the synthesizer, the
room. Work is done frame by frame whatever the size of the blocks, so the sound does not depend on it. Tests
compare it with the same decisions, made for the whole recording by the model that plays recordings (``tests/whole_recordings.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from ..audio.files import AudioLike
from ..audio.frames import FrameGrid
from ..controls.adaptation import check_transpose
from ..controls.causal import Adapter, CausalExtractor, ControlFrame
from ..controls.dynamics import check_dynamic, check_loudness
from ..controls.profile import Target, check_target
from ..errors import AudioError, InstrumentError, SettingsError, check_number
from ..models.timbre_model import TimbreModel, check_model
from ..synthesis.render import check_seed
from ..synthesis.reverb import Convolution
from .voice import Noise, Voice

LONGEST_LOOK_AHEAD_S = 0.2
SHORTEST_GLIDE_S = 0.05
SOFTEST_PLAYER_DB = -100.0


@dataclass(frozen=True)
class StreamSettings:
    """Settings of a stream: listening and playing.

    Parameters
    ----------
    look_ahead_s : float, in (0, 0.2] [s]
        What is heard after a frame's instant before it is judged: latency, and sureness.
    path_frames : int, in 0 ... 20
        Frames that f0's path is followed further before it is given out; each costs a frame of latency and mends octave errors.
    noise : "prompt" or "exact"
        Noise filters that answer at once, or those of recordings, which cost two frames more.
    transpose : float, in [-96, 96] [semitones], or "auto"
        "auto" finds the octave while somebody plays.
    loudness_db : float, in [-120, 60] [dB]
        Added to what is asked of the instrument.
    loudest_db : float, in [-100, 0] [dB re full scale], or None
        How loud the player's loud notes are, A-weighted; None: learned while playing.
    dynamic : str, float or None
        How hard the usual note is played: a marking from "ppp" to "fff" or decibels re the strongest; None: as the notes suggest.
    fit : bool
        False: octave, dynamics and sounds between notes stay the player's.
    follow : bool
        Bring the loudness of the sound to what was asked.
    seed : int, >= 0
        Of the noise.

    Examples
    --------
    >>> settings = tt.StreamSettings(look_ahead_s=0.02, transpose=-12.0)
    >>> settings.look_ahead(tt.FrameGrid())  # samples
    960
    """

    look_ahead_s: float = 0.010
    path_frames: int = 0
    noise: Noise = "prompt"
    transpose: float | Literal["auto"] = "auto"
    loudness_db: float = 0.0
    loudest_db: float | None = None
    dynamic: str | float | None = None
    fit: bool = True
    follow: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.look_ahead_s <= LONGEST_LOOK_AHEAD_S:
            raise SettingsError(f"look_ahead_s is {self.look_ahead_s}; more than 0 and at most {LONGEST_LOOK_AHEAD_S} s is wanted")
        check_number("path_frames", self.path_frames, 0, 20, "a whole number from 0 to 20", whole=True)
        if self.loudest_db is not None:
            wanted = f"a level from {SOFTEST_PLAYER_DB:.0f} to 0 dB"
            check_number("loudest_db", self.loudest_db, SOFTEST_PLAYER_DB, 0.0, wanted)
        check_loudness(self.loudness_db)
        check_dynamic(self.dynamic, fit=self.fit)
        if self.noise not in ("prompt", "exact"):
            raise SettingsError(f"noise is {self.noise!r}; 'prompt' or 'exact' is wanted")
        check_transpose(self.transpose)
        check_seed(self.seed)

    def look_ahead(self, grid: FrameGrid) -> int:
        """The look-ahead in samples, an even number."""
        return max(2 * round(self.look_ahead_s * grid.sample_rate / 2), 2)


class Stream:
    """Tone transfer in real time, in blocks of any size.

    Parameters
    ----------
    model : TimbreModel
        As :func:`load_model` returns it.
    target : Target
        Who plays; see :func:`tonetransfer.pipeline.target.find_target`.
    settings : StreamSettings or None
        None: the defaults.
    room : ndarray [shape=(n,)] or None
        Impulse response that the sound goes through, at the model's rate.

    Raises
    ------
    InstrumentError
        The target's timbre is not one vector of this model.

    Examples
    --------
    >>> model = tt.load_model()
    >>> stream = tt.Stream(model, tt.find_target(model, model.sample_rate, to="flute"))
    >>> t = np.arange(4800) / 48000
    >>> block = stream.push(0.3 * np.sin(2 * np.pi * 440 * t))
    >>> block.shape, len(stream.flush()) == stream.latency_samples
    ((4800,), True)
    """

    def __init__(
        self, model: TimbreModel, target: Target, settings: StreamSettings | None = None, *, room: np.ndarray | None = None
    ) -> None:
        check_model(model)
        self.settings = settings = settings or StreamSettings()
        self.grid, self.z_dim = model.grid, model.settings.z_dim
        self._extractor = CausalExtractor(self.grid, settings.look_ahead(self.grid), path_frames=settings.path_frames)
        self._adapter = make_adapter(self._check(target), settings, self.grid)
        self._voice = Voice(model.decoder, self.grid, noise=settings.noise, follow=settings.follow, seed=settings.seed)
        self._voice.change(target)
        self._room = None if room is None else Convolution(room, self.grid.hop_length)
        self._from = self._to = target
        self.reset()

    @property
    def latency(self) -> dict[str, int]:
        """Parts of the latency [samples]."""
        return {
            "look_ahead": self._extractor.look_ahead,
            "path": self.settings.path_frames * self.grid.hop_length,
            "frame": self.grid.hop_length,
            "noise": self._voice.latency_samples - self.grid.hop_length,
        }

    @property
    def latency_samples(self) -> int:
        """By how much the sound that comes out is later than the sound that went in; it never changes."""
        return sum(self.latency.values())

    @property
    def semitones(self) -> float:
        """By how much the player is transposed at present."""
        return self._adapter.semitones

    def reset(self) -> None:
        """As if nothing had been heard yet; the instrument stays."""
        self._from = self._adapter.target = self._to
        self._voice.change(self._to)
        self._glided = self._glide = 1
        self._extractor.reset()
        self._adapter.reset()
        self._voice.reset()
        if self._room:
            self._room.reset()
        self._ready: list[np.ndarray] = [np.zeros(self._extractor.latency_samples, np.float32)]

    def push(self, block: AudioLike) -> np.ndarray:
        """Hear a block and give back as many samples, which are what was heard :attr:`latency_samples` ago.

        Parameters
        ----------
        block : ndarray or Tensor [shape=(n_samples,)], in [-1, 1]
            At the model's rate; of any size, 0 included. Never written into.

        Returns
        -------
        ndarray [shape=(n_samples,)], float32
            Beyond [-1, 1] where the instrument is asked to be that loud.

        Raises
        ------
        AudioError
            The block is not one row of finite samples.
        """
        samples = np.asarray(block, dtype=np.float32)
        if samples.ndim != 1:
            raise AudioError(f"a block has the shape {samples.shape}; (n_samples,) is wanted: push one channel")
        if not np.isfinite(samples).all():
            raise AudioError("a block has samples that are not finite; check what comes before the stream")
        for heard in self._extractor.push(samples):
            self._ready.append(self._play(heard))
        return self._take(len(samples))

    def flush(self) -> np.ndarray:
        """The sound still on its way, :attr:`latency_samples` of it, as if silence followed; then :meth:`reset`."""
        rest = self.push(np.zeros(self.latency_samples, np.float32))
        self.reset()
        return rest

    def change(self, target: Target, glide_s: float = 0.3) -> None:
        """Another instrument or blend, from now on.

        Timbre, dynamics and release glide there; the octave changes, if it has to, when the next note begins.

        Parameters
        ----------
        target : Target
        glide_s : float, >= 0 [s]
            At least 50 ms are taken: sooner, the change of timbre would be heard as a click.
        """
        check_number("glide_s", glide_s, 0.0, 3600.0, "a time from 0 to 3600 s")
        now = self._target_now()
        self._from, self._to = now, self._check(target)
        self._voice.change(target)
        self._adapter.target = target
        self._glided, self._glide = 0, round(max(glide_s, SHORTEST_GLIDE_S) * self.grid.frame_rate)

    def _play(self, heard: ControlFrame) -> np.ndarray:
        """Sound that the next frame makes certain, (hop_length,)."""
        self._glided = min(self._glided + 1, self._glide)
        target = self._target_now()
        asked = self._adapter.frame(heard, target.quantiles, target.release_db_per_s)
        share = self._glided / self._glide
        sound = self._voice.frame(asked.f0_hz, asked.loudness_db, target.z.numpy(), gain_db=asked.gain_db, changed=share)
        return self._room.push(sound) if self._room else sound

    def _target_now(self) -> Target:
        return self._to if self._glided >= self._glide else between(self._from, self._to, self._glided / self._glide)

    def _take(self, n_samples: int) -> np.ndarray:
        ready = np.concatenate(self._ready)
        assert len(ready) >= n_samples
        self._ready = [ready[n_samples:]]
        return ready[:n_samples]

    def _check(self, target: Target) -> Target:
        check_target(target)
        if target.z.shape != (self.z_dim,):
            raise InstrumentError(f"the timbre has the shape {tuple(target.z.shape)}; ({self.z_dim},) is wanted: one timbre of this model")
        return target


def between(one: Target, other: Target, share: float) -> Target:
    """A target on the way from one to the other."""
    quantiles = other.quantiles
    if one.quantiles is not None and quantiles is not None:
        quantiles = torch.lerp(one.quantiles, quantiles, share)
    release_db_per_s = one.release_db_per_s + share * (other.release_db_per_s - one.release_db_per_s)
    return replace(other, z=torch.lerp(one.z, other.z, share), quantiles=quantiles, release_db_per_s=release_db_per_s)


def make_adapter(target: Target, settings: StreamSettings, grid: FrameGrid) -> Adapter:
    """The running fit that the settings ask for."""
    asked = {name: getattr(settings, name) for name in ("transpose", "loudness_db", "loudest_db", "dynamic", "fit")}
    return Adapter(target, grid.frame_rate, **asked)
