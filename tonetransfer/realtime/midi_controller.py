"""Keys to controls: how one player of a MIDI keyboard turns notes, wheels and pedals into f0 and loudness.

One note sounds at a time, the last that was pressed. A note that begins while another is held is slurred: its pitch is reached in a short
glide, without a new attack; when it is released, the one that is still held comes back. Messages are plain: anything with mido's attributes
(`type`, `note`, `velocity`, `control`, `value`, `pitch`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..analysis.envelope import Adsr
from ..audio.loudness import FLOOR_DB
from ..audio.units import amplitude_to_db, midi_to_hz
from ..controls.causal_adaptation import Asked
from ..controls.profile import Target
from ..controls.release import FASTEST_DB_PER_S, SLOWEST_DB_PER_S
from ..data.composition import velocity_db
from ..errors import SettingsError
from ..models.decoder import SILENT_DB

MODULATION, VOLUME, EXPRESSION, SUSTAIN = 1, 7, 11, 64
DATA_ENTRY, RPN_FINE, RPN_COARSE = 6, 100, 101
ALL_SOUND_OFF, ALL_NOTES_OFF = 120, 123
USUAL_VOLUME = 100  # General MIDI's default
REST_HZ = 220.0
AGAIN_AMPLITUDE = 0.25  # a note that is struck again while it rings begins there: 12 dB down, heard as a new attack
USUAL_RANGE_DB = (-45.0, -14.0)  # of an instrument whose dynamics are not known


@dataclass(frozen=True)
class KeySettings:
    """How keys are played.

    Parameters
    ----------
    attack_s, decay_s : float, >= 0 [s]
        Rise to the peak, and fall from it.
    sustain_db : float, <= 0
        Level of a held note re its peak.
    release_db_per_s : float or None, > 0
        None: the instrument's own.
    velocity_curve : float, >= 0
        Share of General MIDI's 40 dB per decade of velocity; 0: all notes are loud.
    bend_semitones : float, >= 0
        Of the wheel at its end, until a score says otherwise.
    glide_s : float, >= 0 [s]
        Within a slur.
    vibrato_hz, vibrato_cents : float, >= 0
        Of the modulation wheel at its end.
    transpose : float [semitones]
    loudness_db : float
    """

    attack_s: float = 0.02
    decay_s: float = 0.1
    sustain_db: float = -2.0
    release_db_per_s: float | None = None
    velocity_curve: float = 1.0
    bend_semitones: float = 2.0
    glide_s: float = 0.03
    vibrato_hz: float = 5.5
    vibrato_cents: float = 45.0
    transpose: float = 0.0
    loudness_db: float = 0.0

    def __post_init__(self) -> None:
        lowest = {"attack_s": 0.0, "decay_s": 0.0, "velocity_curve": 0.0, "bend_semitones": 0.0, "glide_s": 0.0}
        for name, least in {**lowest, "vibrato_hz": 0.0, "vibrato_cents": 0.0}.items():
            value = getattr(self, name)
            if not math.isfinite(value) or value < least:
                raise SettingsError(f"{name} is {value}; a number from {least:g} is wanted")
        if not self.sustain_db <= 0.0:
            raise SettingsError(f"sustain_db is {self.sustain_db}; a level of at most 0 dB, re the peak, is wanted")
        if self.release_db_per_s is not None and not self.release_db_per_s > 0.0:
            raise SettingsError(f"release_db_per_s is {self.release_db_per_s}; a positive number is wanted")

    @classmethod
    def of(cls, adsr: Adsr, **others: Any) -> KeySettings:
        """Settings that play a measured envelope, such as `describe` finds."""
        return cls(attack_s=adsr.attack_s, decay_s=adsr.decay_s, sustain_db=adsr.sustain_db, **others)


class Keys:
    """One monophonic player.

    Parameters
    ----------
    target : Target
        The instrument; its dynamics and release are used.
    frame_rate : float, > 0 [Hz]
    settings : KeySettings
    """

    def __init__(self, target: Target, frame_rate: float, settings: KeySettings | None = None) -> None:
        self.target, self.frame_rate, self.settings = target, frame_rate, settings or KeySettings()
        known = target.quantiles
        self._softest_db, self._loudest_db = USUAL_RANGE_DB if known is None else (float(known[0]), float(known[-1]))
        rate = self.settings.release_db_per_s or min(max(target.release_db_per_s, SLOWEST_DB_PER_S), FASTEST_DB_PER_S)
        self._release_db = rate / frame_rate
        self.reset()

    def reset(self) -> None:
        """No key pressed, all wheels at rest."""
        self._held: list[tuple[int, int]] = []  # notes that are pressed, with their velocities, in order
        self._sounding: int | None = None  # note whose pitch is heard
        self._gate = self._pedal = self._struck = False
        self._midi, self._glide_from, self._glided_s = 0.0, 0.0, math.inf
        self._peak_db = self._heard_peak_db = self._softest_db
        self._amplitude, self._decayed_db, self._released_db = 0.0, 0.0, 200.0
        self._bend, self._bend_semitones = 0.0, self.settings.bend_semitones
        self._modulation = self._pressure = 0.0
        self._expression, self._volume = 127, USUAL_VOLUME
        self._rpn: dict[int, int] = {}
        self._vibrato_cycles = 0.0

    def handle(self, message: Any) -> None:
        """Take a message; it is heard from the next frame on."""
        kind = message.type
        if kind == "note_on" and message.velocity > 0:
            self._press(message.note, message.velocity)
        elif kind in ("note_on", "note_off"):
            self._let_go(message.note)
        elif kind == "pitchwheel":
            self._bend = message.pitch / 8192.0
        elif kind == "aftertouch":
            self._pressure = message.value / 127.0
        elif kind == "control_change":
            self._control(message.control, message.value)

    def frame(self) -> Asked:
        """What is asked of the instrument in the next frame."""
        step_s = 1.0 / self.frame_rate
        if self._sounding is None:
            return Asked(REST_HZ, FLOOR_DB, False)
        envelope_db = self._envelope_db(step_s)
        self._heard_peak_db += (self._peak_db - self._heard_peak_db) * (1.0 if self._struck else min(step_s / 0.03, 1.0))
        self._struck = False
        level = self._heard_peak_db + envelope_db + _control_db(self._expression, 127) + _control_db(self._volume, USUAL_VOLUME)
        level += self.settings.loudness_db
        return Asked(self._pitch_hz(step_s), level if level > SILENT_DB else FLOOR_DB, self._gate)

    def _press(self, note: int, velocity: int) -> None:
        slurred = self._gate and bool(self._held)
        self._held = [one for one in self._held if one[0] != note] + [(note, velocity)]
        self._sound(note, velocity, slurred=slurred)

    def _sound(self, note: int, velocity: int, *, slurred: bool) -> None:
        below = self.settings.velocity_curve * velocity_db(velocity)
        self._peak_db = self._loudest_db + max(below, self._softest_db - self._loudest_db)
        self._glide_from, self._glided_s = (self._midi, 0.0) if slurred else (float(note), math.inf)
        self._sounding, self._gate = note, True
        if not slurred:
            ringing = self._amplitude * 10.0 ** (-min(self._released_db, 200.0) / 20.0)
            self._amplitude, self._decayed_db, self._released_db, self._struck = min(ringing, AGAIN_AMPLITUDE), 0.0, 0.0, True

    def _let_go(self, note: int) -> None:
        self._held = [one for one in self._held if one[0] != note]
        if note != self._sounding or self._pedal:
            return
        if self._held:
            self._sound(*self._held[-1], slurred=True)
        else:
            self._gate = False

    def _control(self, control: int, value: int) -> None:
        if control == MODULATION:
            self._modulation = value / 127.0
        elif control == VOLUME:
            self._volume = value
        elif control == EXPRESSION:
            self._expression = value
        elif control == SUSTAIN:
            self._pedal = value >= 64
            if not self._pedal and self._sounding not in [note for note, _ in self._held]:
                if self._held:
                    self._sound(*self._held[-1], slurred=True)
                else:
                    self._gate = False
        elif control in (ALL_SOUND_OFF, ALL_NOTES_OFF):
            self._held, self._gate = [], self._pedal and control == ALL_NOTES_OFF
        elif control in (RPN_FINE, RPN_COARSE):
            self._rpn[control] = value
        elif control == DATA_ENTRY and self._rpn.get(RPN_FINE) == 0 and self._rpn.get(RPN_COARSE) == 0:
            self._bend_semitones = float(value)

    def _envelope_db(self, step_s: float) -> float:
        """Level of the sounding note re its peak."""
        settings = self.settings
        if self._struck:  # also if it has ended already: the shortest note lasts a frame
            if self._amplitude < AGAIN_AMPLITUDE:  # a note that rings is heard at its lower level first
                self._amplitude = max(min(step_s / max(settings.attack_s, step_s), 1.0), self._amplitude)
        elif not self._gate:
            self._released_db += self._release_db
            if self._released_db >= -SILENT_DB:
                self._sounding = None
        elif self._amplitude < 1.0:
            self._amplitude = min(self._amplitude + step_s / max(settings.attack_s, step_s), 1.0)
        else:
            self._decayed_db = max(self._decayed_db + settings.sustain_db * step_s / max(settings.decay_s, step_s), settings.sustain_db)
        return amplitude_to_db(self._amplitude) + self._decayed_db - self._released_db

    def _pitch_hz(self, step_s: float) -> float:
        self._glided_s += step_s
        note = float(self._midi if self._sounding is None else self._sounding)
        share = min(self._glided_s / self.settings.glide_s, 1.0) if self.settings.glide_s > 0.0 else 1.0
        self._midi = note if share >= 1.0 else self._glide_from + share * (note - self._glide_from)
        depth = max(self._modulation, self._pressure)
        self._vibrato_cycles = (self._vibrato_cycles + self.settings.vibrato_hz * step_s) % 1.0 if depth else 0.0
        vibrato = depth * self.settings.vibrato_cents / 100.0 * math.sin(2.0 * math.pi * self._vibrato_cycles)
        return midi_to_hz(self._midi + self.settings.transpose + self._bend * self._bend_semitones + vibrato)


def _control_db(value: int, reference: int) -> float:
    return velocity_db(max(value, 1)) - velocity_db(reference) if value else -200.0
