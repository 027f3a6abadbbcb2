"""Keys to controls: how one player of a MIDI keyboard turns notes, wheels and pedals into f0 and loudness.

One note sounds at a time, the last that was pressed. A note that begins while another is held is slurred: its pitch is reached in a short
glide, without a new attack; when it is released, the one that is still held comes back. Every channel has its own wheels and pedals, and a
note obeys those of its channel; in a zone of MPE also those of the zone's manager. Messages are plain: anything with mido's attributes
(`type`, `channel`, `note`, `velocity`, `control`, `value`, `pitch`).
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from ..analysis.envelope import Adsr
from ..audio.loudness import FLOOR_DB
from ..audio.units import amplitude_to_db, midi_to_hz
from ..controls.causal import Asked
from ..controls.dynamics import check_loudness
from ..controls.profile import Target, playable_release
from ..data.composition import velocity_db
from ..errors import check_number
from ..models.decoder import SILENT_DB

MODULATION, DATA_ENTRY, VOLUME, EXPRESSION, DATA_ENTRY_FINE, SUSTAIN = 1, 6, 7, 11, 38, 64
DATA_UP, DATA_DOWN, NRPN_FINE, NRPN_COARSE, RPN_FINE, RPN_COARSE = 96, 97, 98, 99, 100, 101
ALL_SOUND_OFF, RESET_CONTROLLERS, ALL_NOTES_OFF, POLY_ON = 120, 121, 123, 127
BEND_RANGE, FINE_TUNING, COARSE_TUNING, MPE_ZONE = 0, 1, 2, 6  # registered parameters
MPE_BEND_SEMITONES, MPE_MANAGER_BEND_SEMITONES = 48.0, 2.0  # until a zone says otherwise
LOWER_MANAGER, UPPER_MANAGER = 0, 15  # channels, counted from 0
USUAL_VOLUME = 100  # General MIDI's default
REST_HZ = 220.0
LEAST_RELEASE_DB_PER_S = 0.1  # nobody waits for the end of what sinks more slowly
AGAIN_AMPLITUDE = 0.25  # a note that is struck again while it rings begins there: 12 dB down, heard as a new attack
USUAL_RANGE_DB = (-45.0, -14.0)  # of an instrument whose dynamics are not known


@dataclass(frozen=True)
class KeySettings:
    """Settings of a player of keys."""

    attack_s: float = 0.02  # rise to the peak
    decay_s: float = 0.1  # fall from it
    sustain_db: float = -2.0  # level of a held note re its peak
    release_db_per_s: float | None = None  # None: the instrument's own
    velocity_curve: float = 1.0  # share of General MIDI's 40 dB per decade of velocity; 0: all notes are loud
    bend_semitones: float = 2.0  # of the wheel at its end, until a score says otherwise
    glide_s: float = 0.03  # within a slur
    vibrato_hz: float = 5.5  # of the modulation wheel
    vibrato_cents: float = 45.0  # of the modulation wheel at its end
    transpose: float = 0.0
    loudness_db: float = 0.0

    def __post_init__(self) -> None:
        check_loudness(self.loudness_db)
        for name in ("attack_s", "decay_s", "velocity_curve", "bend_semitones", "glide_s", "vibrato_hz", "vibrato_cents"):
            check_number(name, getattr(self, name), 0.0, sys.float_info.max, "a number from 0")
        check_number("sustain_db", self.sustain_db, -math.inf, 0.0, "a level of at most 0 dB, re the peak,")
        if self.release_db_per_s is not None:
            wanted = f"a number from {LEAST_RELEASE_DB_PER_S}"
            check_number("release_db_per_s", self.release_db_per_s, LEAST_RELEASE_DB_PER_S, math.inf, wanted)

    @classmethod
    def of(cls, adsr: Adsr, **others: Any) -> KeySettings:
        """Settings that play a measured envelope, such as `describe` finds."""
        return cls(attack_s=adsr.attack_s, decay_s=adsr.decay_s, sustain_db=adsr.sustain_db, **others)


class Channel:
    """Wheels, pedals and registered parameters of one MIDI channel; `bend_semitones` are those of the wheel until it says otherwise.

    `selected` is the registered parameter that data entry sets; None: none, or one that is not registered.
    """

    def __init__(self, bend_semitones: float) -> None:
        self.bend_semitones, self.coarse_tuning, self.fine_tuning = bend_semitones, 0.0, 0.0
        self.volume = USUAL_VOLUME
        self.reset()

    def reset(self) -> None:
        """Put the controllers at rest that "reset all controllers" names; volume, tuning and bend range stay."""
        self.bend = self.modulation = self.pressure = 0.0
        self.expression, self.pedal = 127, False
        self._number: dict[int, int] = {}
        self.selected: int | None = None
        self._coarse, self._fine, self._coarse_came = 0, 0, False

    @property
    def semitones(self) -> float:
        """Deviation of its notes from their keys, without vibrato."""
        return self.bend * self.bend_semitones + self.coarse_tuning + self.fine_tuning

    @property
    def gain_db(self) -> float:
        """Volume and expression, re both at their defaults."""
        return _control_db(self.expression, 127) + _control_db(self.volume, USUAL_VOLUME)

    def control(self, control: int, value: int) -> None:
        """Take a control change that concerns no notes."""
        if control == MODULATION:
            self.modulation = value / 127.0
        elif control == VOLUME:
            self.volume = value
        elif control == EXPRESSION:
            self.expression = value
        elif control == SUSTAIN:
            self.pedal = value >= 64
        elif control == RESET_CONTROLLERS:
            self.reset()
        elif NRPN_FINE <= control <= RPN_COARSE:
            self._select(control, value)
        elif control in (DATA_ENTRY, DATA_ENTRY_FINE, DATA_UP, DATA_DOWN):
            self._enter(control, value)

    def _select(self, control: int, value: int) -> None:
        if control in (NRPN_FINE, NRPN_COARSE):
            self._number = {}
        else:
            self._number[control] = value
        coarse, fine = self._number.get(RPN_COARSE), self._number.get(RPN_FINE)
        self.selected = fine if coarse == 0 and fine is not None else None
        self._coarse, self._fine, self._coarse_came = 0, 0, False
        if self.selected == BEND_RANGE:
            self._coarse = int(self.bend_semitones)
        elif self.selected == FINE_TUNING:
            self._coarse, self._fine = divmod(round(8192 * (1.0 + self.fine_tuning)), 128)
        elif self.selected == COARSE_TUNING:
            self._coarse = 64 + round(self.coarse_tuning)

    def _enter(self, control: int, value: int) -> None:
        if control == DATA_ENTRY:
            # Some send the fine part first; one that stood there when the coarse part comes again belongs to the old value.
            self._fine = 0 if self._coarse_came else self._fine
            self._coarse, self._coarse_came = value, True
        elif control == DATA_ENTRY_FINE:
            self._fine = value
        else:
            self._coarse = min(max(self._coarse + (1 if control == DATA_UP else -1), 0), 127)
        if self.selected == BEND_RANGE:
            self.bend_semitones = self._coarse + self._fine / 100.0
        elif self.selected == FINE_TUNING:
            self.fine_tuning = (128 * self._coarse + self._fine - 8192) / 8192.0
        elif self.selected == COARSE_TUNING:
            self.coarse_tuning = float(self._coarse - 64)


class Keys:
    """One monophonic player of an instrument, whose dynamics and release are used."""

    def __init__(self, target: Target, frame_rate: float, settings: KeySettings | None = None) -> None:
        self.target, self.frame_rate, self.settings = target, frame_rate, settings or KeySettings()
        known = target.quantiles
        self._softest_db, self._loudest_db = USUAL_RANGE_DB if known is None else (float(known[0]), float(known[-1]))
        rate = self.settings.release_db_per_s or playable_release(target.release_db_per_s)
        self._release_db = rate / frame_rate
        self.reset()

    def reset(self) -> None:
        """No key pressed, all wheels at rest."""
        self._held: list[tuple[int, int, int]] = []  # channel, note and velocity of the keys that are pressed, in order
        self._sounding: tuple[int, int] | None = None  # channel and note whose pitch is heard
        self._gate = self._struck = False
        self._midi, self._glide_from, self._glided_s = 0.0, 0.0, math.inf
        self._peak_db = self._heard_peak_db = self._softest_db
        self._amplitude, self._decayed_db, self._released_db = 0.0, 0.0, 200.0
        self._channels: dict[int, Channel] = {}
        self._managers: dict[int, int] = {}  # master channel of each channel in a zone of MPE
        self._vibrato_cycles = 0.0

    @property
    def silent(self) -> bool:
        """True while nothing sounds, so that frames may be left out until the next note."""
        return self._sounding is None

    def handle(self, message: Any) -> None:
        """Take a message; it is heard from the next frame on."""
        kind, channel = message.type, getattr(message, "channel", 0)
        if kind == "note_on" and message.velocity > 0:
            self._press(channel, message.note, message.velocity)
        elif kind in ("note_on", "note_off"):
            self._held = [one for one in self._held if one[:2] != (channel, message.note)]
            self._go_on()
        elif kind == "pitchwheel":
            self._channel(channel).bend = message.pitch / 8192.0
        elif kind == "aftertouch":
            self._channel(channel).pressure = message.value / 127.0
        elif kind == "control_change":
            self._control(channel, message.control, message.value)

    def frame(self) -> Asked:
        """Ask the instrument for the next frame."""
        step_s = 1.0 / self.frame_rate
        if (sounding := self._sounding) is None:
            return Asked(REST_HZ, FLOOR_DB, False)
        envelope_db = self._envelope_db(step_s)
        self._heard_peak_db += (self._peak_db - self._heard_peak_db) * (1.0 if self._struck else min(step_s / 0.03, 1.0))
        self._struck = False
        level = self._heard_peak_db + envelope_db + self.settings.loudness_db
        level += sum(channel.gain_db for channel in self._obeyed(sounding[0]))
        return Asked(self._pitch_hz(sounding, step_s), level if level > SILENT_DB else FLOOR_DB, self._gate)

    def _press(self, channel: int, note: int, velocity: int) -> None:
        slurred = self._gate and bool(self._held)
        self._held = [one for one in self._held if one[:2] != (channel, note)] + [(channel, note, velocity)]
        self._sound(channel, note, velocity, slurred=slurred)

    def _sound(self, channel: int, note: int, velocity: int, *, slurred: bool) -> None:
        below = self.settings.velocity_curve * velocity_db(velocity)
        self._peak_db = self._loudest_db + max(below, self._softest_db - self._loudest_db)
        self._glide_from, self._glided_s = (self._midi, 0.0) if slurred else (float(note), math.inf)
        self._sounding, self._gate = (channel, note), True
        if not slurred:
            ringing = self._amplitude * 10.0 ** (-min(self._released_db, 200.0) / 20.0)
            self._amplitude, self._decayed_db, self._released_db, self._struck = min(ringing, AGAIN_AMPLITUDE), 0.0, 0.0, True

    def _go_on(self) -> None:
        """End the note that sounds if neither key nor pedal holds it; one that is still held comes back."""
        if not self._gate or self._sounding is None or self._sounding in [one[:2] for one in self._held]:
            return
        if any(channel.pedal for channel in self._obeyed(self._sounding[0])):
            return
        if self._held:
            self._sound(*self._held[-1], slurred=True)
        else:
            self._gate = False

    def _control(self, channel: int, control: int, value: int) -> None:
        if control == ALL_SOUND_OFF or ALL_NOTES_OFF <= control <= POLY_ON:
            self._held = [one for one in self._held if channel not in (one[0], self._managers.get(one[0]))]
            if control == ALL_SOUND_OFF and self._sounding and channel in (self._sounding[0], self._managers.get(self._sounding[0])):
                self._gate, self._sounding, self._amplitude = False, None, 0.0
        else:
            self._channel(channel).control(control, value)
            if control in (DATA_ENTRY, DATA_ENTRY_FINE, DATA_UP, DATA_DOWN):
                self._entered(channel, self._channel(channel), control, value)
        self._go_on()

    def _entered(self, number: int, channel: Channel, control: int, value: int) -> None:
        """Pass data entry on to other channels: set up a zone of MPE, or give one member's bend range to all."""
        if channel.selected == MPE_ZONE and control == DATA_ENTRY and (members := mpe_members(number, value)) is not None:
            left = {member for member, manager in self._managers.items() if manager == number}
            self._managers = {member: manager for member, manager in self._managers.items() if manager != number}
            self._managers |= dict.fromkeys(members, number)
            for member in left - set(members):
                self._channel(member).bend_semitones = self.settings.bend_semitones
            channel.bend_semitones = MPE_MANAGER_BEND_SEMITONES
            for member in members:
                self._channel(member).bend_semitones = MPE_BEND_SEMITONES
        elif channel.selected == BEND_RANGE and number in self._managers:
            for member, manager in self._managers.items():
                if manager == self._managers[number]:
                    self._channel(member).bend_semitones = channel.bend_semitones

    def _channel(self, number: int) -> Channel:
        if number not in self._channels:
            self._channels[number] = Channel(self.settings.bend_semitones)
        return self._channels[number]

    def _obeyed(self, number: int) -> list[Channel]:
        """The channels whose wheels and pedals a note of a channel obeys."""
        manager = self._managers.get(number)
        return [self._channel(number)] + ([] if manager is None else [self._channel(manager)])

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

    def _pitch_hz(self, sounding: tuple[int, int], step_s: float) -> float:
        self._glided_s += step_s
        note, channels = float(sounding[1]), self._obeyed(sounding[0])
        share = min(self._glided_s / self.settings.glide_s, 1.0) if self.settings.glide_s > 0.0 else 1.0
        self._midi = note if share >= 1.0 else self._glide_from + share * (note - self._glide_from)
        depth = max(max(channel.modulation, channel.pressure) for channel in channels)
        self._vibrato_cycles = (self._vibrato_cycles + self.settings.vibrato_hz * step_s) % 1.0 if depth else 0.0
        vibrato = depth * self.settings.vibrato_cents / 100.0 * math.sin(2.0 * math.pi * self._vibrato_cycles)
        return midi_to_hz(self._midi + self.settings.transpose + sum(channel.semitones for channel in channels) + vibrato)


def mpe_members(manager: int, count: int) -> range | None:
    """Channels, counted from 0, of the MPE zone that `count` members under a manager make; None if it is no manager's channel.

    Channels of further ports go on from 16.
    """
    count, port = min(count, 15), manager - manager % 16
    if manager % 16 == LOWER_MANAGER:
        return range(port + 1, port + 1 + count)
    return range(port + 15 - count, port + 15) if manager % 16 == UPPER_MANAGER else None


def _control_db(value: int, reference: int) -> float:
    return velocity_db(max(value, 1)) - velocity_db(reference) if value else -200.0
