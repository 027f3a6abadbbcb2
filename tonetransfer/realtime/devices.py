"""Microphone to loudspeaker: a stream between two devices, through PortAudio (the `sounddevice` package).

The devices are asked for a module that looks like sounddevice, so that the same code runs with a pretended sound card.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from ..errors import AudioError, MissingDependencyError, SettingsError, did_you_mean
from ..threads import one_thread
from .stream import Stream

Kind = Literal["input", "output"]
CHANNELS: dict[Kind, str] = {"input": "max_input_channels", "output": "max_output_channels"}
TICK_S = 0.2  # how often somebody is told how it goes
KEPT_TIMES = 360_000  # blocks: an hour of 10 ms each


class Player(Protocol):
    """A source of sound without input: an instrument that is played over MIDI."""

    @property
    def latency_samples(self) -> int: ...

    def pull(self, n_samples: int) -> np.ndarray: ...


@dataclass
class LiveReport:
    """Report of a live performance."""

    sample_rate: int
    latency_samples: int  # of the stream itself
    device_latency_s: float = 0.0  # what the devices say of themselves, both ways
    n_samples: int = 0  # played
    xruns: int = 0  # times that the devices had too much or too little
    clipped: int = 0  # samples cut at full scale
    times_s: list[float] = field(default_factory=list)  # what each block took to compute

    def to_dict(self) -> dict[str, float]:
        """Plain mapping, for JSON."""
        median, p90, p99 = np.percentile(self.times_s or [0.0], [50, 90, 99]) * 1e3
        return {
            "seconds": self.n_samples / self.sample_rate,
            "latency_ms": 1e3 * self.latency_samples / self.sample_rate,
            "device_latency_ms": 1e3 * self.device_latency_s,
            "compute_median_ms": float(median),
            "compute_p90_ms": float(p90),
            "compute_p99_ms": float(p99),
            "blocks": len(self.times_s),
            "xruns": self.xruns,
            "clipped_samples": self.clipped,
        }

    def add(self, sound: np.ndarray, seconds: float) -> None:
        """Note a block that was played and how long it took to compute."""
        self.n_samples += len(sound)
        self.clipped += int((np.abs(sound) > 1.0).sum())
        if len(self.times_s) < KEPT_TIMES:
            self.times_s.append(seconds)


def sound_devices() -> Any:
    """The sounddevice module; MissingDependencyError: it, or the PortAudio library that it needs, is not installed."""
    try:
        import sounddevice
    except ImportError:
        raise MissingDependencyError("playing live needs sounddevice; install it with `pip install 'tonetransfer[live]'`") from None
    except OSError:
        raise MissingDependencyError(
            "playing live needs the PortAudio library; install it (Debian: `apt install libportaudio2`; macOS: `brew install portaudio`)"
        ) from None
    return sounddevice


def list_devices(devices: Any) -> list[dict[str, Any]]:
    """Name, channels, rate and latency of every sound device; `devices` is sounddevice."""
    chosen = list(devices.default.device)
    return [
        {
            "number": number,
            "name": one["name"],
            "input_channels": one["max_input_channels"],
            "output_channels": one["max_output_channels"],
            "sample_rate_hz": one["default_samplerate"],
            "default_input": number == chosen[0],
            "default_output": number == chosen[1],
        }
        for number, one in enumerate(devices.query_devices())
    ]


def find_device(devices: Any, wanted: str | None, kind: Kind) -> int | None:
    """Number of the device that is meant by its number or a part of its name, else SettingsError; None for the default one."""
    fitting = {number: one["name"] for number, one in enumerate(devices.query_devices()) if one[CHANNELS[kind]] > 0}
    if not fitting:
        raise SettingsError(f"this computer has no {kind} for sound; connect one, or use --simulate")
    if wanted is None:
        return None
    if wanted.isdigit():
        if int(wanted) in fitting:
            return int(wanted)
        raise SettingsError(f"--{kind} {wanted}: no {kind} has this number; `tonetransfer live --list-devices` lists them")
    found = [number for number, name in fitting.items() if wanted.lower() in name.lower()]
    exact = [number for number in found if fitting[number].lower() == wanted.lower()]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if found:
        raise SettingsError(f"--{kind} {wanted}: {len(found)} devices are called so; give a number of `tonetransfer live --list-devices`")
    hint = did_you_mean(wanted, fitting.values(), cutoff=0.3, quoted=True)
    raise SettingsError(f"--{kind} {wanted}: no {kind} is called so; {hint}`tonetransfer live --list-devices` lists them")


def play_live(
    source: Stream | Player,
    sample_rate: int,
    devices: Any,
    *,
    input_device: int | None = None,
    output_device: int | None = None,
    block_length: int = 240,
    seconds: float | None = None,
    tick: Callable[[LiveReport], None] | None = None,
) -> LiveReport:
    """Play until interrupted, or for some seconds.

    Parameters
    ----------
    source : Stream, which hears the input device, or Player
    sample_rate : int [Hz]
        The model's; the devices are opened at it.
    devices : module
        :func:`sound_devices`, or what looks like it.
    input_device, output_device : int or None
        None: the default ones.
    block_length : int, > 0 [samples]
        What the devices hand over at a time; 0 leaves the choice to them.
    seconds : float or None
    tick : callable or None
        Told how it goes, five times a second.

    Returns
    -------
    LiveReport

    Raises
    ------
    AudioError
        The devices cannot be opened, or what is played failed.
    """
    report = LiveReport(sample_rate, source.latency_samples)
    failed: list[BaseException] = []
    hears = isinstance(source, Stream)

    def callback(*arguments: Any) -> None:
        outdata, status = arguments[1 if hears else 0], arguments[-1]
        try:
            report.xruns += bool(status)
            begin = time.perf_counter()
            sound = source.push(arguments[0][:, 0]) if isinstance(source, Stream) else source.pull(len(outdata))
            report.add(sound, time.perf_counter() - begin)
            outdata[:] = np.clip(sound, -1.0, 1.0)[:, None]
        except BaseException as error:  # PortAudio's thread must not swallow it
            failed.append(error)
            outdata[:] = 0.0
            raise devices.CallbackAbort from error

    n_channels = min(_n_channels(devices, output_device, "output"), 2)
    options: dict[str, Any] = {"samplerate": sample_rate, "blocksize": block_length, "dtype": "float32", "callback": callback}
    if hears:
        stream_type, options["device"], options["channels"] = devices.Stream, (input_device, output_device), (1, n_channels)
    else:
        stream_type, options["device"], options["channels"] = devices.OutputStream, output_device, n_channels
    try:
        opened = stream_type(latency="low", **options)
    except (devices.PortAudioError, ValueError) as error:
        raise AudioError(
            f"the sound devices cannot be opened at {sample_rate} Hz ({error}); choose others with --input and --output"
        ) from None
    with undisturbed(), opened:
        report.device_latency_s = float(np.sum(opened.latency))
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while opened.active and not failed and (end is None or time.monotonic() < end):
                devices.sleep(round(1e3 * (TICK_S if end is None else min(TICK_S, max(end - time.monotonic(), 0.0)))))
                if tick:
                    tick(report)
        except KeyboardInterrupt:
            pass  # the way to end it
    if failed:
        raise AudioError(f"playing stopped: {failed[0]}") from failed[0]
    return report


def simulate(stream: Stream, audio: np.ndarray, block_length: int) -> tuple[np.ndarray, LiveReport]:
    """A recording (n_samples,) through a stream in blocks, as if it came from a microphone; what one would hear, without the latency.

    A block that takes longer to compute than it lasts is counted as an xrun.
    """
    report, sounds = LiveReport(stream.grid.sample_rate, stream.latency_samples), []
    with undisturbed():
        for first in range(0, len(audio), block_length):
            block = audio[first : first + block_length]
            begin = time.perf_counter()
            sounds.append(stream.push(block))
            elapsed = time.perf_counter() - begin
            report.add(sounds[-1], elapsed)
            report.xruns += elapsed > len(block) / stream.grid.sample_rate
    sounds.append(stream.flush())
    return np.concatenate(sounds)[report.latency_samples :], report


def _n_channels(devices: Any, number: int | None, kind: Kind) -> int:
    """Channels of a device, or of the default one."""
    chosen = list(devices.default.device)[0 if kind == "input" else 1] if number is None else number
    if chosen is None or chosen < 0:  # the system has not said which is its default
        return 2
    return max(int(devices.query_devices()[chosen][CHANNELS[kind]]), 1)


@contextmanager
def undisturbed() -> Iterator[None]:
    """One thread, and no garbage collection: for what must be done in time."""
    collecting = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with one_thread():
            yield
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
