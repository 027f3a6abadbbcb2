"""An instrument as TorchScript: pitch and loudness in, sound out, block by block, for hosts that know nothing of this package.

A scripted instrument keeps its memory, phase and what rings on in buffers of its own, and does its work frame by frame, whatever the size
of the blocks that a host brings. It speaks the convention of nn~ (Max, Pure Data): for each method a buffer ``<method>_params`` of
(channels in, ratio in, channels out, ratio out) and labels of inlets and outlets, ``get_methods`` and ``get_attributes``, and for each
attribute ``<attribute>_params`` with the kinds of its values and a getter and a setter, which returns 0.
A file is tried as a host would play it before it gets its name.
"""

import io
import math
import warnings
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from ..audio.stft import band_interpolation, hann
from ..models.note_age_table import LEAP_FRAMES, LEAP_SEMITONES, LONGEST_AGE, RISE_DB, RISE_FRAMES
from ..models.timbre_model import TimbreModel
from ..synthesis.render import NOISE_FFT, render_batch
from .checks import block_times, check, level_db, phrase

LOWEST_HZ, HIGHEST_HZ = 16.0, 8000.0
NO_PITCH_HZ = 10.0  # trackers of hosts say 0 or less where nothing has a pitch: the last f0 is held, and nothing sounds
GLIDE = 0.9  # of the way to another instrument, what is left after each frame
KINDS = {bool: 0, int: 1, float: 2, str: 3}  # kinds of attributes, as nn~ numbers them
TEST_BLOCKS = (1, 480, 64, 511, 2048, 1000)  # samples


class FrameDecoder(nn.Module):
    """A model's decoder as plain tensors in and out, to be traced."""

    def __init__(self, model: TimbreModel) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(
        self,
        f0_hz: torch.Tensor,
        loudness_db: torch.Tensor,
        highest_hz: torch.Tensor,
        z: torch.Tensor,
        memory: torch.Tensor,
        age: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Decode frames.

        Parameters
        ----------
        f0_hz, loudness_db, highest_hz : Tensor [shape=(batch, n_frames)]
            The last: :func:`~tonetransfer.synthesis.render.highest_around`, or the higher one of each frame and the one before.
        z : Tensor [shape=(batch, n_frames, z_dim)]
        memory : Tensor [shape=(1, batch, width)]
            Zeros, or what came back from the frames before.
        age : Tensor [shape=(batch, n_frames)] or None
            :func:`~tonetransfer.models.note_age_table.note_age`; only a decoder with a note-age table needs it.

        Returns
        -------
        amplitudes : Tensor [shape=(batch, n_frames, n_harmonics)]
        noise_magnitudes : Tensor [shape=(batch, n_frames, n_bands)]
        memory : Tensor [shape=(1, batch, width)]
        """
        params, memory = self.decoder(f0_hz, loudness_db, z, memory, highest_hz, age)
        return params.amplitude[..., None] * params.harmonic_distribution, params.noise_magnitudes, memory


def counted_noise(start: int, n_samples: int) -> torch.Tensor:
    """Samples of an endless white noise of unit variance (uniform), (n_samples,): a hash of their numbers, so that it can be had again."""
    x = torch.arange(start, start + n_samples, dtype=torch.int64)
    for _ in range(2):  # multiply and mix, as random generators do; int64 wraps
        x = x * 6364136223846793005 + 1442695040888963407
        x = x ^ ((x >> 29) & 0x7FFFFFFFF)
    return ((x >> 32) & 0xFFFFFF).float() * (math.sqrt(12.0) / 16777216.0) - math.sqrt(3.0)


class ScriptedInstrument(nn.Module):
    """Pitch and loudness to sound in blocks of any size, by one of the model's named timbres or another z (z_dim,); to be scripted.

    Latency is :attr:`latency`: sample n of the output is the sound of input sample n - latency. Where sample t * hop_length of the input
    stands, frame t is read. `instrument` is who plays at first; it is the name of `z`, which then stands first in the list.
    """

    lowest_hz: Final[float] = LOWEST_HZ  # scripts see no globals
    highest_hz: Final[float] = HIGHEST_HZ
    no_pitch_hz: Final[float] = NO_PITCH_HZ
    glide: Final[float] = GLIDE
    leap_semitones: Final[float] = LEAP_SEMITONES
    leap_frames: Final[int] = LEAP_FRAMES
    rise_db: Final[float] = RISE_DB
    rise_frames: Final[int] = RISE_FRAMES
    longest_age: Final[int] = LONGEST_AGE
    timbres: torch.Tensor
    z: torch.Tensor
    memory: torch.Tensor
    age: torch.Tensor
    midi_before: torch.Tensor
    level_before: torch.Tensor
    phase: torch.Tensor
    last_f0_hz: torch.Tensor
    last_amplitudes: torch.Tensor
    late: torch.Tensor
    ringing: torch.Tensor
    ready: torch.Tensor
    window: torch.Tensor
    bands: torch.Tensor

    def __init__(self, model: TimbreModel, instrument: str, z: torch.Tensor | None = None) -> None:
        super().__init__()
        grid, settings = model.grid, model.settings
        self.sample_rate, self.hop = grid.sample_rate, grid.hop_length
        self.n_fft = max(NOISE_FFT, 1 << (4 * self.hop - 1).bit_length())
        self.latency = self.n_fft // 2
        self.counts_ages = model.decoder.register is not None
        names, timbres = list(model.names), model.timbres
        if z is not None:
            names, timbres = [instrument, *names], torch.cat([z[None], timbres])
        self.names: list[str] = names
        self.row = self.other = names.index(instrument)
        self.blend, self.transpose, self.gain = 0.0, 0.0, 0.0
        self.count, self.frames = 0, 0
        self.register_buffer("timbres", timbres.clone())
        self.register_buffer("window", hann(2 * self.hop).clone())
        self.register_buffer("bands", band_interpolation(settings.n_bands, self.n_fft, self.sample_rate).clone())
        self.register_buffer("memory", torch.zeros(1, 1, settings.decoder_width))
        for name in ("z", "age", "midi_before", "level_before", "late", "ringing", "ready"):
            self.register_buffer(name, torch.empty(0))
        self.register_buffer("phase", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("last_f0_hz", torch.zeros(1))
        self.register_buffer("last_amplitudes", torch.zeros(1, 1, settings.n_harmonics))
        self.register_buffer("forward_params", torch.tensor([2, 1, 1, 1]))
        self.forward_input_labels: list[str] = ["(signal) pitch [Hz], 0: none", "(signal) loudness [dB re full scale, A-weighted]"]
        self.forward_output_labels: list[str] = ["(signal) sound"]
        for name, kinds in (("instrument", [str]), ("blend", [str, float]), ("transpose", [float]), ("gain", [float]), ("restart", [bool])):
            self.register_buffer(f"{name}_params", torch.tensor([KINDS[kind] for kind in kinds]))
        width = settings.decoder_width
        f0_hz = torch.tensor([[220.0, 230.0, 240.0], [440.0, 450.0, 430.0]])
        example = (f0_hz, f0_hz / -10.0, f0_hz, torch.randn(2, 3, settings.z_dim), torch.zeros(1, 2, width), torch.ones(2, 3))
        with torch.no_grad():
            self.decode = torch.jit.trace(FrameDecoder(model), example, check_trace=False)
        self.reset(1)

    @torch.jit.export
    def reset(self, n_batches: int) -> None:
        """As if nothing had been played yet, for so many voices at once."""
        device = self.timbres.device
        self.count, self.frames = 0, 0
        self.z = self._wanted()
        self.memory = torch.zeros(1, n_batches, self.memory.shape[2], device=device)
        self.age = torch.full((n_batches,), -1.0, device=device)
        self.phase = torch.zeros(n_batches, dtype=torch.float64, device=device)
        self.last_f0_hz = torch.full((n_batches,), 220.0, device=device)
        self.last_amplitudes = torch.zeros(n_batches, 1, self.last_amplitudes.shape[2], device=device)
        self.late = torch.zeros(n_batches, self.n_fft // 2 - self.hop, device=device)
        self.ringing = torch.zeros(n_batches, self.n_fft - self.hop, device=device)
        self.ready = torch.zeros(n_batches, 0, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Play a block: pitch [Hz] and loudness [dB], (batch, 2, n_samples), to sound (batch, 1, n_samples)."""
        if x.shape[0] != self.memory.shape[1]:
            self.reset(x.shape[0])
        first = (self.hop - self.count % self.hop) % self.hop
        self.count += x.shape[2]
        if first < x.shape[2]:
            frames = x[:, :, first :: self.hop]
            self.ready = torch.cat([self.ready, self.play(frames[:, 0], frames[:, 1])], dim=1)
        sound = self.ready[:, : x.shape[2]]
        self.ready = self.ready[:, x.shape[2] :]
        return sound.unsqueeze(1)

    @torch.jit.export
    def play(self, pitch_hz: torch.Tensor, loudness_db: torch.Tensor) -> torch.Tensor:
        """The next frames, each (batch, n_frames), to sound (batch, n_frames * hop)."""
        n_batches, n_frames, hop = pitch_hz.shape[0], pitch_hz.shape[1], self.hop
        f0_hz, loud = self._understood(pitch_hz, loudness_db)
        before = self.last_f0_hz if self.frames > 0 else f0_hz[:, 0]
        track = torch.cat([before.unsqueeze(1), f0_hz], dim=1)
        z = self._timbre(n_frames).unsqueeze(0).expand(n_batches, -1, -1)
        age = self._ages(f0_hz, loud) if self.counts_ages else torch.zeros_like(f0_hz)
        amplitudes, magnitudes, self.memory = self.decode(f0_hz, loud, torch.maximum(track[:, 1:], track[:, :-1]), z, self.memory, age)
        tonal = self._harmonics(track, torch.cat([self.last_amplitudes, amplitudes], dim=1))
        tonal = torch.cat([self.late, tonal], dim=1)
        noise = self._noise(magnitudes)
        self.last_f0_hz, self.last_amplitudes = f0_hz[:, -1], amplitudes[:, -1:]
        self.late = tonal[:, n_frames * hop :]
        self.frames += n_frames
        return tonal[:, : n_frames * hop] + noise

    def _understood(self, pitch_hz: torch.Tensor, loudness_db: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Make legal what a host sent."""
        pitch_hz, loud = torch.nan_to_num(pitch_hz), torch.nan_to_num(loudness_db, -120.0) + self.gain
        held = self.last_f0_hz / 2.0 ** (self.transpose / 12.0)
        rows: list[torch.Tensor] = []
        for t in range(pitch_hz.shape[1]):
            held = torch.where(pitch_hz[:, t] > self.no_pitch_hz, pitch_hz[:, t], held)
            rows.append(held)
        f0_hz = (torch.stack(rows, dim=1) * 2.0 ** (self.transpose / 12.0)).clamp(self.lowest_hz, self.highest_hz)
        return f0_hz, torch.where(pitch_hz > self.no_pitch_hz, loud, torch.full_like(loud, -120.0)).clamp(-120.0, 20.0)

    def _ages(self, f0_hz: torch.Tensor, loudness_db: torch.Tensor) -> torch.Tensor:
        """As :func:`~tonetransfer.models.note_age_table.note_age`, (batch, n_frames), across blocks."""
        midi = 12.0 * torch.log2(f0_hz.double())
        if self.frames == 0:
            self.midi_before = midi[:, :1].expand(-1, self.leap_frames)
            self.level_before = loudness_db[:, :1].expand(-1, self.rise_frames)
        midi, level = torch.cat([self.midi_before, midi], dim=1), torch.cat([self.level_before, loudness_db], dim=1)
        begins = (midi[:, self.leap_frames :] - midi[:, : -self.leap_frames]).abs() > self.leap_semitones
        begins = begins | (level[:, self.rise_frames :] - level[:, : -self.rise_frames] > self.rise_db)
        ages: list[torch.Tensor] = []
        for t in range(f0_hz.shape[1]):
            self.age = torch.where(begins[:, t], torch.zeros_like(self.age), (self.age + 1.0).clamp(max=self.longest_age))
            ages.append(self.age)
        self.midi_before, self.level_before = midi[:, -self.leap_frames :], level[:, -self.rise_frames :]
        return torch.stack(ages, dim=1)

    def _wanted(self) -> torch.Tensor:
        return torch.lerp(self.timbres[self.row], self.timbres[self.other], self.blend)

    def _timbre(self, n_frames: int) -> torch.Tensor:
        """z of the next frames, (n_frames, z_dim), gliding to the instrument that was asked for last."""
        wanted = self._wanted()
        left = torch.pow(self.glide, torch.arange(1, n_frames + 1, device=wanted.device)).unsqueeze(1)
        z = wanted + left * (self.z - wanted)
        self.z = z[-1]
        return z

    def _harmonics(self, f0_hz: torch.Tensor, amplitudes: torch.Tensor) -> torch.Tensor:
        """Sines between the frame before and the new ones, (batch, n_frames * hop); silent before the first frame."""
        hop, n_frames = self.hop, f0_hz.shape[1] - 1
        f0 = f0_hz.double()
        here, step = f0[:, :-1], f0[:, 1:] - f0[:, :-1]
        n = torch.arange(hop, dtype=torch.float64, device=f0.device)
        whole = (here * hop + step * ((hop - 1) / 2)) / self.sample_rate
        if self.frames == 0:
            self.phase = -whole[:, 0]
        end = torch.cumsum(whole, dim=1) + self.phase.unsqueeze(1)
        self.phase = end[:, -1] - end[:, -1].round()
        within = (here.unsqueeze(2) * n + step.unsqueeze(2) * (n * (n - 1) / (2 * hop))) / self.sample_rate
        cycles = (end - whole).unsqueeze(2) + within
        cycles = cycles - cycles.round()
        u = (n / hop).float()
        numbers = torch.arange(1, amplitudes.shape[2] + 1, device=f0.device)
        sounds: list[torch.Tensor] = []
        for t in range(n_frames):
            phase = cycles[:, t].unsqueeze(1) * numbers.unsqueeze(1)
            sines = torch.sin((phase - phase.round()).float() * (2 * math.pi))  # (batch, n_harmonics, hop)
            both = torch.bmm(amplitudes[:, t : t + 2], sines)
            sounds.append(torch.lerp(both[:, 0], both[:, 1], u))
        if self.frames == 0:
            sounds[0] = torch.zeros_like(sounds[0])
        return torch.cat(sounds, dim=1)

    def _noise(self, magnitudes: torch.Tensor) -> torch.Tensor:
        """Filtered noise that no later frame changes any more, (batch, n_frames * hop)."""
        hop, n_fft, n_batches, n_frames = self.hop, self.n_fft, magnitudes.shape[0], magnitudes.shape[1]
        rows: list[torch.Tensor] = []
        for voice in range(n_batches):
            rows.append(counted_noise((self.frames - 1) * hop + (voice << 40), (n_frames + 1) * hop))
        white = torch.stack(rows).to(magnitudes).unfold(1, 2 * hop, hop) * self.window
        before = n_fft // 2 - hop
        spectrum = torch.fft.rfft(torch.nn.functional.pad(white, [before, n_fft - 2 * hop - before]))
        pieces = torch.fft.irfft(spectrum * torch.matmul(magnitudes, self.bands), n=n_fft)  # (batch, n_frames, n_fft)
        total = torch.nn.functional.pad(self.ringing, [0, n_frames * hop])
        for t in range(n_frames):
            total[:, t * hop : t * hop + n_fft] += pieces[:, t]
        self.ringing = total[:, n_frames * hop :]
        return total[:, : n_frames * hop]

    @torch.jit.export
    def get_methods(self) -> list[str]:
        return ["forward"]

    @torch.jit.export
    def get_attributes(self) -> list[str]:
        return ["instrument", "blend", "transpose", "gain", "restart"]

    @torch.jit.export
    def get_instruments(self) -> list[str]:
        return self.names

    @torch.jit.export
    def get_instrument(self) -> list[str]:
        return [self.names[self.row]]

    @torch.jit.export
    def set_instrument(self, name: str) -> int:
        """0, or -1 for a name that is not in the list."""
        if name not in self.names:
            return -1
        self.row = self.names.index(name)
        self.other, self.blend = self.row, 0.0
        return 0

    @torch.jit.export
    def get_blend(self) -> tuple[str, float]:
        return self.names[self.other], self.blend

    @torch.jit.export
    def set_blend(self, name: str, share: float) -> int:
        """Another instrument beside the first, and its share in [0, 1]."""
        if name not in self.names or share < 0.0 or share > 1.0:
            return -1
        self.other, self.blend = self.names.index(name), share
        return 0

    @torch.jit.export
    def get_transpose(self) -> list[float]:
        return [self.transpose]

    @torch.jit.export
    def set_transpose(self, semitones: float) -> int:
        if semitones < -96.0 or semitones > 96.0:
            return -1
        self.transpose = semitones
        return 0

    @torch.jit.export
    def get_gain(self) -> list[float]:
        return [self.gain]

    @torch.jit.export
    def set_gain(self, db: float) -> int:
        """Added to the loudness that is asked for [dB]."""
        if db < -120.0 or db > 60.0:
            return -1
        self.gain = db
        return 0

    @torch.jit.export
    def get_restart(self) -> list[bool]:
        return [False]

    @torch.jit.export
    def set_restart(self, now: bool) -> int:
        if now:
            self.reset(self.memory.shape[1])
        return 0


class RealtimeInstrument(nn.Module):
    """The call of ddsp_pytorch's realtime external around a :class:`ScriptedInstrument`: pitch and loudness apart, channels last."""

    def __init__(self, instrument: ScriptedInstrument) -> None:
        super().__init__()
        self.instrument = instrument

    def forward(self, pitch: torch.Tensor, loudness: torch.Tensor) -> torch.Tensor:
        """Pitch [Hz] and loudness [dB re full scale], (batch, n_samples, 1), to sound (batch, n_samples, 1)."""
        return self.instrument(torch.cat([pitch, loudness], dim=2).transpose(1, 2)).transpose(1, 2)

    @torch.jit.export
    def reset(self, n_batches: int) -> None:
        self.instrument.reset(n_batches)


@torch.no_grad()
def write_script(path: Path, model: TimbreModel, name: str, z: torch.Tensor | None, *, realtime: bool) -> dict[str, Any]:
    instrument = ScriptedInstrument(model, name, z)
    latency = instrument.latency
    exported: nn.Module = RealtimeInstrument(instrument) if realtime else instrument
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is what these hosts read, deprecated or not
        content = io.BytesIO()  # written here: PyTorch ends the process where a disk is full, and takes no name that is not text
        torch.jit.save(torch.jit.script(exported), content)
        path.write_bytes(content.getvalue())
        script = torch.jit.load(io.BytesIO(path.read_bytes())).eval()
    f0_hz, loud = phrase(model)
    hop = model.grid.hop_length

    def play(first: int, last: int) -> torch.Tensor:
        span = slice(first, last)
        if realtime:
            return script(f0_hz[None, span, None], loud[None, span, None])[0, :, 0]
        return script(torch.stack([f0_hz[span], loud[span]])[None])[0, 0]

    whole = play(0, len(f0_hz))
    script.reset(1)
    pieces, first = [], 0
    for size in cycle(TEST_BLOCKS):
        if first >= len(f0_hz):
            break
        pieces.append(play(first, min(first + size, len(f0_hz))))
        first += size
    expected = _offline(model, model.timbre(name) if z is None else z, f0_hz[::hop], loud[::hop])
    kept = len(whole) - latency
    figures = {
        "streamed_vs_whole_db": level_db(torch.cat(pieces) - whole, whole),
        "exported_vs_model_db": level_db(whole[latency:] - expected[:kept], expected[:kept]),
    }
    signature = (
        {"forward": "pitch [Hz] (batch, n, 1), loudness [dB re full scale, A-weighted] (batch, n, 1) -> sound (batch, n, 1)"}
        if realtime
        else {
            "forward": "(batch, 2, n): pitch [Hz], loudness [dB re full scale, A-weighted] -> (batch, 1, n): sound",
            "forward_params": script.forward_params.tolist(),
            "attributes": script.get_attributes(),
            "instruments": script.get_instruments(),
        }
    )
    script.reset(1)
    timing = block_times(lambda t: play(t * hop, (t + 1) * hop), len(f0_hz) // hop)
    return {
        "signature": signature,
        "latency_samples": latency,
        "latency_ms": round(1000.0 * latency / model.sample_rate, 2),
        "test": check(figures),
        "compute": {"block_samples": hop, **timing},
    }


def _offline(model: TimbreModel, z: torch.Tensor, f0_hz: torch.Tensor, loudness_db: torch.Tensor) -> torch.Tensor:
    """Render with the model itself, with the noise of the scripts: frames (n_frames,) to audio (n_frames * hop,)."""
    before = torch.cat([f0_hz[:1], f0_hz[:-1]])
    params, _ = model.decoder(f0_hz[None], loudness_db[None], z[None], None, torch.maximum(before, f0_hz)[None])
    hop = model.grid.hop_length
    return render_batch(params, model.grid, counted_noise(-hop, (len(f0_hz) + 2) * hop)[None])[0]
