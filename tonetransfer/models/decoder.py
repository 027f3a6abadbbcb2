"""f0, loudness and timbre to synthesizer parameters, by a one-layer GRU among small networks.

On a CPU the GRU is faster than torch's where it counts: learned from in batches, and played one sound at a time. Its weights are those of
an ``nn.GRU`` (gates in the order reset, keep, new; Cho et al. 2014 in the variant of torch's documentation); both ways agree with it to
float32 rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from ..audio.loudness import FLOOR_DB
from ..audio.units import db_to_amplitude, hz_to_midi
from ..compiled import in_loops
from ..synthesis.render import SynthParams, below_nyquist, highest_around
from .note_age_table import HIGHEST_MIDI, LOWEST_MIDI, NoteAgeTable, note_age, soft_one_hot

LARGEST_GAIN = 40.0  # a tuba's 40 Hz may be 32 dB stronger than the A-weighted loudness says
EXPONENT = math.log(10.0)
SILENT_DB = -100.0  # asked loudness at and below which nothing sounds


def positive(x: torch.Tensor) -> torch.Tensor:
    """2 sigmoid(x)^ln(10) + 1e-7: positive, bounded, and nearly exponential where it is small (Engel et al. 2020)."""
    if torch.is_grad_enabled() and x.requires_grad:
        learned: torch.Tensor = _Positive.apply(x)
        return learned
    return 2.0 * torch.sigmoid(x) ** EXPONENT + 1e-7


class _Positive(torch.autograd.Function):
    """The same; its slope is made of what is there already, without another power."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        share = torch.sigmoid(x)
        power = share.pow(EXPONENT).mul_(2.0)
        ctx.save_for_backward(share, power)
        return power + 1e-7

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        share, power = ctx.saved_tensors
        return torch.addcmul(power, share, power, value=-1.0).mul_(grads[0]).mul_(EXPONENT)


def mlp(n_in: int, n_out: int, n_layers: int) -> nn.Sequential:
    """Dense layers with layer norm."""
    layers: list[nn.Module] = []
    for i in range(n_layers):
        layers += [nn.Linear(n_in if i == 0 else n_out, n_out), nn.LayerNorm(n_out), nn.SiLU()]
    return nn.Sequential(*layers)


class Decoder(nn.Module):
    """Controls and z to :class:`SynthParams`; causal, frame by frame.

    Pitch enters as bumps on the MIDI scale, loudness as bumps on the decibel scale, each through its own dense network; z scales and shifts
    (FiLM, Perez et al. 2018) the layers around a GRU. What comes out is relative to the asked loudness, so that a change of level is a
    change of gain before the network has learned anything.

    Parameters
    ----------
    z_dim, width, n_harmonics, n_bands, sample_rate : int

    Attributes
    ----------
    register : NoteAgeTable or None
        What one instrument does in the course of a note beside all that the networks say: a minute of it cannot teach them that. See
        :meth:`add_note_age_table`.
    """

    n_pitch, n_loudness = 64, 24

    def __init__(self, z_dim: int, width: int, n_harmonics: int, n_bands: int, sample_rate: int) -> None:
        super().__init__()
        self.n_harmonics, self.n_bands, self.sample_rate = n_harmonics, n_bands, sample_rate
        half = width // 2
        self.pitch = mlp(self.n_pitch + 1, half, 2)
        self.loudness = mlp(self.n_loudness + 1, half, 2)
        self.timbre = mlp(z_dim, half, 1)
        self.before = nn.Linear(3 * half, width)
        self.film_before = nn.Linear(z_dim, 2 * width)
        self.memory = nn.GRU(width, width, batch_first=True)
        self.after = nn.Linear(2 * width, width)
        self.film_after = nn.Linear(z_dim, 2 * width)
        self.last = mlp(width, width, 2)
        self.head = nn.Linear(width, 1 + n_harmonics + n_bands)
        self.spectrum = nn.Linear(z_dim, 1 + n_harmonics + n_bands, bias=False)  # the instrument's mean spectrum, past all layers
        self.register: NoteAgeTable | None = None  # as weights files name it
        nn.init.constant_(self.head.bias[1 + n_harmonics :], -3.0)  # noise starts 50 dB below the tone
        nn.init.constant_(self.head.bias[:1], -1.0)

    def add_note_age_table(self) -> None:
        """Make room for what one instrument does in the course of a note; it says nothing yet."""
        self.register = NoteAgeTable(self.head.out_features).to(self.head.weight)

    def forward(
        self,
        f0_hz: torch.Tensor,
        loudness_db: torch.Tensor,
        z: torch.Tensor,
        memory: torch.Tensor | None = None,
        highest_hz: torch.Tensor | None = None,
        age: torch.Tensor | None = None,
        addition: torch.Tensor | None = None,
    ) -> tuple[SynthParams, torch.Tensor]:
        """Decode.

        Parameters
        ----------
        f0_hz : Tensor [shape=(batch, n_frames)], > 0
        loudness_db : Tensor [shape=(batch, n_frames)], dB re full scale
        z : Tensor [shape=(batch, z_dim)] or [shape=(batch, n_frames, z_dim)]
        memory : Tensor [shape=(1, batch, width)] or None
            What the recurrence remembers from the chunk before.
        highest_hz : Tensor [shape=(batch, n_frames)] or None
            :func:`~tonetransfer.synthesis.render.highest_around` of the whole track, where `f0_hz` is a stretch of it.
        age : Tensor [shape=(batch, n_frames)] or None
            :func:`~tonetransfer.models.note_age_table.note_age` of the whole tracks, likewise; a decoder without a table does not need it.
        addition : Tensor [shape=(batch, n_frames, 1 + n_harmonics + n_bands)] or None
            Added to the raw outputs, before they are made legal.

        Returns
        -------
        params : SynthParams
        memory : Tensor [shape=(1, batch, width)]
        """
        h = self.pre_gru(f0_hz, loudness_db, z)
        remembered, memory = self.run_gru(h, memory)
        return self.post_gru(h, remembered, f0_hz, loudness_db, z, highest_hz, age, addition), memory

    def pre_gru(self, f0_hz: torch.Tensor, loudness_db: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """The first third of :meth:`forward`: what goes into the recurrence, (batch, n_frames, width)."""
        z = _per_frame(z)
        seen = torch.cat([self.embed_pitch(hz_to_midi(f0_hz)), self.embed_level(loudness_db.clamp(SILENT_DB, 0.0))], dim=-1)
        of_seen, of_timbre = self.before.weight.split([seen.shape[-1], seen.shape[-1] // 2], dim=1)
        known = nn.functional.linear(self.timbre(z), of_timbre, self.before.bias)  # one z for all frames goes through once
        return _film(nn.functional.linear(seen, of_seen) + known, self.film_before(z))

    def embed_pitch(self, midi: torch.Tensor) -> torch.Tensor:
        """Embed a pitch [MIDI], (...) -> (..., width / 2)."""
        return self.pitch(torch.cat([soft_one_hot(midi, LOWEST_MIDI, HIGHEST_MIDI, self.n_pitch), midi[..., None] / 60.0 - 1.0], dim=-1))

    def embed_level(self, level_db: torch.Tensor) -> torch.Tensor:
        """Embed a loudness from -100 to 0 dB, (...) -> (..., width / 2)."""
        return self.loudness(torch.cat([soft_one_hot(level_db, -92.0, 0.0, self.n_loudness), level_db[..., None] / 40.0 + 1.0], dim=-1))

    def run_gru(self, h: torch.Tensor, memory: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The second, which alone depends on the chunk before: what the recurrence makes of (batch, n_frames, width), and its memory."""
        learning = torch.is_grad_enabled() and (h.requires_grad or next(self.memory.parameters()).requires_grad)
        if in_loops(h, halves=True) and (learning or len(h) > 1):
            return learn(self.memory, h, memory)
        if not in_loops(h):
            return self.memory(h, memory)
        state = h.new_zeros(1, 1, h.shape[-1]) if memory is None else memory
        remembered = torch.from_numpy(run_gru_numpy(self.memory, h[0], state[0, 0]))[None]
        return remembered, remembered[:, -1:]

    def post_gru(
        self,
        h: torch.Tensor,
        remembered: torch.Tensor,
        f0_hz: torch.Tensor,
        loudness_db: torch.Tensor,
        z: torch.Tensor,
        highest_hz: torch.Tensor | None = None,
        age: torch.Tensor | None = None,
        addition: torch.Tensor | None = None,
    ) -> SynthParams:
        """The last: what the synthesizer is asked for."""
        highest_hz = highest_around(f0_hz) if highest_hz is None else highest_hz
        audible = below_nyquist(highest_hz, self.n_harmonics, self.sample_rate)
        raw = self.raw(h, remembered, f0_hz, loudness_db, z, age, addition)
        with torch.autocast(h.device.type, enabled=False):
            return self.legal(f0_hz, loudness_db, audible, raw)

    def raw(
        self,
        h: torch.Tensor,
        remembered: torch.Tensor,
        f0_hz: torch.Tensor,
        loudness_db: torch.Tensor,
        z: torch.Tensor,
        age: torch.Tensor | None = None,
        addition: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Unbounded outputs, (batch, n_frames, 1 + n_harmonics + n_bands)."""
        z = _per_frame(z)
        h = self.last(_film(self.after(torch.cat([remembered, h], dim=-1)), self.film_after(z)))
        with torch.autocast(h.device.type, enabled=False):  # 8 bits would put steps of 0.3 dB into the magnitudes
            raw = self.head(h.float()) + self.spectrum(z.float())
            if self.register is not None:
                raw = raw + self.register(hz_to_midi(f0_hz), loudness_db, note_age(f0_hz, loudness_db) if age is None else age)
            return raw if addition is None else raw + addition

    def legal(self, f0_hz: torch.Tensor, loudness_db: torch.Tensor, audible: torch.Tensor, raw: torch.Tensor) -> SynthParams:
        """Unbounded network outputs to parameters that the synthesizer can trust."""
        gain = (db_to_amplitude(loudness_db) - db_to_amplitude(SILENT_DB)).clamp(min=0.0)
        gain = torch.where(loudness_db > FLOOR_DB, gain, 0.0)
        amplitude, harmonics, noise = raw.split([1, self.n_harmonics, self.n_bands], dim=-1)
        distribution = positive(harmonics) * audible
        total = distribution.sum(-1, keepdim=True)
        return SynthParams(
            f0_hz=f0_hz,
            amplitude=gain * torch.where(total[..., 0] > 0, LARGEST_GAIN / 2 * positive(amplitude[..., 0]), 0.0),
            harmonic_distribution=distribution / total.clamp(min=1e-9),
            noise_magnitudes=gain[..., None] * positive(noise),
        )


def _per_frame(z: torch.Tensor) -> torch.Tensor:
    """(batch, n_frames or 1, z_dim): one z for all frames goes through its layers once."""
    return z[:, None] if z.dim() == 2 else z


def _film(h: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    scale, shift = parameters.chunk(2, dim=-1)
    h = nn.functional.layer_norm(h, h.shape[-1:])
    return nn.functional.silu(h * (1.0 + scale) + shift)


def learn(gru: nn.GRU, h: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """States (batch, n_frames, width) of a GRU of one layer over `h` (batch, n_frames, width), to be differentiated, and the last of them.

    Autograd takes the gradient of the recurrent weights frame by frame, and adds up as many matrices as there are frames; here it is one
    product of all frames. Under autocast the input goes through its weights in halves, what is remembered stays in float32. `state` (1,
    batch, width) is before the first frame; None: zeros.
    """
    from_input, recurrent, input_bias, bias = gru.all_weights[0]
    given = nn.functional.linear(h.transpose(0, 1), from_input, input_bias)
    before = given.new_zeros(len(h), gru.hidden_size) if state is None else state[0]
    states = _Recurrence.apply(given, recurrent, bias, before)
    return states.transpose(0, 1), states[-1:]


class _Recurrence(torch.autograd.Function):
    """(n_frames, batch, 3 width), (3 width, width), (3 width,), (batch, width) -> (n_frames, batch, width)."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        from . import gru_kernels

        n_frames, batch, width = *given.shape[:2], weight.shape[1]
        states = given.new_empty(n_frames + 1, batch, width)
        states[0] = state
        gates, new = given.new_empty(n_frames, batch, 2 * width), given.new_empty(n_frames, batch, width)
        turned = weight.t().contiguous()  # a product with it takes two thirds of the time
        recurrent = given.new_empty(n_frames, batch, 3 * width)
        products = zip(states[:-1].unbind(), recurrent.unbind(), strict=True)
        tracks = _arrays(given.contiguous(), recurrent, states[:-1], gates, new, states[1:])
        for (before, product), track in zip(products, tracks, strict=True):
            torch.addmm(bias, before, turned, out=product)
            gru_kernels.forward(*track)
        ctx.save_for_backward(weight, states, gates, new, recurrent)
        return states[1:]

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *asked: torch.Tensor) -> tuple[torch.Tensor, ...]:
        from . import gru_kernels

        weight, states, gates, new, recurrent = ctx.saved_tensors
        n_frames, batch, width = new.shape
        to_state, to_input = (new.new_empty(n_frames, batch, 3 * width) for _ in range(2))
        later = new.new_zeros(batch, width)
        into = later.numpy()
        tracks = _arrays(asked[0].contiguous(), gates, new, states[:-1], recurrent[..., 2 * width :], to_state, to_input)
        for back, (wanted, *track) in zip(reversed(to_state.unbind()), reversed(tracks), strict=True):
            gru_kernels.backward(wanted, into, *track)
            later.addmm_(back, weight)
        flat = to_state.flatten(0, 1)
        return to_input, flat.t() @ states[:-1].flatten(0, 1), flat.sum(0), later


def _arrays(*tracks: torch.Tensor) -> list[tuple[np.ndarray, ...]]:
    """Tensors (n_frames, ...) frame by frame, as arrays that share their memory."""
    return list(zip(*(track.numpy() for track in tracks), strict=True))


def run_gru_numpy(gru: nn.GRU, h: torch.Tensor, state: torch.Tensor) -> np.ndarray:
    """States (n_frames, width) of a GRU of one layer over h (n_frames, width) of one sound, frame after frame in as few calls as possible.

    `state` (width,) is before the first frame. What the calls write into is told by position: a keyword takes half as long as the whole
    call. Where exp overflows, 1 / (1 + exp(-x)) is 0 as it should be.
    """
    width = h.shape[-1]
    from_input, recurrent, input_bias, recurrent_bias = (weight.detach() for weight in gru.all_weights[0])
    given = nn.functional.linear(h.detach(), from_input, input_bias)
    minus_gates = given[:, : 2 * width].add_(recurrent_bias[: 2 * width]).neg_().numpy()
    matrix, bias_new, one = recurrent.contiguous().numpy(), recurrent_bias[2 * width :].numpy(), np.ones(2 * width, np.float32)
    states, now = np.empty((len(h), width), dtype=np.float32), np.ascontiguousarray(state.detach().numpy())
    from_memory = np.empty(3 * width, dtype=np.float32)
    gates, new = from_memory[: 2 * width], from_memory[2 * width :]
    reset, keep = gates[:width], gates[width:]
    with np.errstate(over="ignore"):
        for minus_given, given_new, out in zip(minus_gates, given[:, 2 * width :].numpy(), states, strict=True):
            np.dot(matrix, now, from_memory)
            np.subtract(minus_given, gates, gates)
            np.exp(gates, gates)
            np.add(gates, one, gates)
            np.reciprocal(gates, gates)
            np.add(new, bias_new, new)
            np.multiply(new, reset, new)
            np.add(new, given_new, new)
            np.tanh(new, new)
            np.subtract(now, new, out)
            np.multiply(out, keep, out)
            now = np.add(out, new, out)
    return states
