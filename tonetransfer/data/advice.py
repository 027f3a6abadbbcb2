"""From measurements of recordings to plain words: ready, usable with limits, or not yet, and what to change, what matters most first.

Limits, and why they are where they are
---------------------------------------
- *Minutes of notes*: fine-tuning the bundled model is worth it from one minute, and goes on gaining to five and fifteen; less than ten
  seconds are a reference for ``transfer --like``, not material to train on.
- *Signal to noise* (notes less noise floor): breath and bow, which belong to an instrument, lie 30 to 50 dB below its notes. Noise
  nearer than 40 dB is learned as if it were such; nearer than 20 dB it is louder than most partials.
- *Hum* is a partial that never moves. It matters from 50 dB below the notes on, where the noise bands of the model begin to draw it.
- *Reverberation*: a note that rings on under the next is two notes at once. At 0.4 s (a furnished room) it has sunk by 20 dB after an
  eighth of a second, a note of an allegro; at 1.2 s (a hall) after half a second.
- *Clipping*: one sample in a thousand at full scale is heard as harshness; it is what ``transfer --like`` warns from, too.
- *Register*: the model plays where it has heard the instrument. Less than a fifth is one place; gaps of an octave inside are guessed.
- *Loudness*: 10 dB between soft and loud notes (5th to 95th percentile) is about p to f on most winds; from less than 6 dB a model learns
  that loud is soft turned up.
- *Bandwidth*: below 14 kHz a result sounds dull beside a full recording; MP3 at 128 kbit/s ends at 16 kHz and passes.
- *Channels* that agree by less than 0.9 hear the instrument from two places; their mean is comb-filtered.
- *Files left out*: when more than a third of what could be read is spoken, silent or polyphonic, the folder is not what it was meant to be.
- *Tuning* is measured and followed, so it is a remark: recordings at 415 Hz train as well as any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..controls.recording_checks import CLIPPED_SHARE

READY, LIMITED, NOT_YET = "ready", "usable with limits", "not yet"
STOP, LIMIT, HINT = "stop", "limit", "hint"
LEAST_MINUTES, FEW_MINUTES, MANY_MINUTES = 1.0 / 6.0, 1.0, 5.0
NOISY_DB, VERY_NOISY_DB = 40.0, 20.0
HUM_BELOW_NOTES_DB = 50.0
REVERBERANT_S, HALL_S = 0.4, 1.2
NARROW_SEMITONES, GAP_SEMITONES = 7.0, 12.0
FLAT_DB, FLATTISH_DB = 6.0, 10.0
DULL_HZ = 14000.0
AGREEING = 0.9
SOFT_DB = -50.0  # loudness of the notes: their softest partials are then at the last bits of 16
LEFT_OUT_SHARE = 1.0 / 3.0
DETUNED_CENTS = 15.0


@dataclass(frozen=True)
class Finding:
    """Something to know: how grave (stop, limit or hint), about what, in words, and what to do."""

    weight: str
    about: str
    finding: str
    advice: str


def advise(total: Mapping[str, Any]) -> dict[str, Any]:
    """`verdict` and `findings` on a folder as :func:`tonetransfer.data.doctor.examine_folder` measures it.

    Each finding has `weight`, `about`, `finding` and `advice`, the gravest first.
    """
    found = _amount(total)
    if total["note_minutes"] > 0:
        found += _sound(total) + _playing(total)
    found += _files(total)
    order = {STOP: 0, LIMIT: 1, HINT: 2}
    found.sort(key=lambda one: order[one.weight])  # stable: within a weight they stand by importance already
    weights = {one.weight for one in found}
    verdict = NOT_YET if STOP in weights else LIMITED if LIMIT in weights else READY
    return {"verdict": verdict, "findings": [asdict(one) for one in found]}


def _amount(total: Mapping[str, Any]) -> list[Finding]:
    minutes, seconds = total["note_minutes"], 60.0 * total["note_minutes"]
    if minutes < LEAST_MINUTES:
        advice = f"record {FEW_MINUTES:.0f} minute or more of single notes and phrases over the whole range, soft and loud"
        if minutes > 0:
            advice += "; for a likeness from seconds, use transfer --like"
        return [Finding(STOP, "minutes", f"{seconds:.0f} s of usable notes", advice)]
    if minutes < FEW_MINUTES:
        return [Finding(LIMIT, "minutes", f"{seconds:.0f} s of usable notes", "record more: a minute is enough to adapt the bundled model")]
    if minutes < MANY_MINUTES:
        more = f"enough to adapt the bundled model; {MANY_MINUTES:.0f} minutes come closer"
        return [Finding(HINT, "minutes", f"{minutes:.1f} minutes of usable notes", more)]
    return []


def _sound(total: Mapping[str, Any]) -> list[Finding]:
    found = []
    if total["clipped_share"] > CLIPPED_SHARE:
        words = f"{100 * total['clipped_share']:.2g} % of the samples are at full scale, in {total['clipped_files']} files"
        found.append(Finding(LIMIT, "clipping", words, "record again with the input 10 dB lower, or leave these files out"))
    elif total["clipped_files"]:
        words = f"{total['clipped_files']} files touch full scale now and then"
        found.append(Finding(HINT, "clipping", words, "leave the loudest peaks 6 dB of room"))
    distance = total["signal_to_noise_db"]
    if not total["noise_floor_known"]:
        words = "no pause in which the noise could be heard"
        found.append(Finding(HINT, "noise", words, "leave a second of silence before and after what is played"))
    elif distance < NOISY_DB:
        words = f"the noise floor is {total['noise_floor_db']:.0f} dB(A), only {distance:.0f} dB below the notes"
        advice = (
            "go nearer to the microphone, switch off what blows and hums, raise the input's gain; it is learned as part of the instrument"
        )
        found.append(Finding(STOP if distance < VERY_NOISY_DB else LIMIT, "noise", words, advice))
    hum = total["hum_db"] - total["note_loudness_db"]
    if total["hum_hz"] and hum > -HUM_BELOW_NOTES_DB:
        words = f"mains hum of {total['hum_hz']:.0f} Hz in {total['hum_files']} files, {-hum:.0f} dB below the notes"
        found.append(Finding(LIMIT, "hum", words, "use balanced cables, keep away from power supplies; or take it out with a notch filter"))
    if (rt60 := total["reverberation_s"]) is not None and rt60 > REVERBERANT_S:
        words = f"notes ring on: reverberation time about {rt60:.1f} s"
        advice = "record in a furnished room, 30 to 50 cm from the microphone; or learn the room when you train, so that it can be left out"
        found.append(Finding(LIMIT, "reverberation", words, advice if rt60 <= HALL_S else f"{advice}; a hall hides where notes end"))
    if (bandwidth := total["bandwidth_hz"]) < DULL_HZ:
        words = f"nothing above {bandwidth / 1000:.1f} kHz, whatever the files' sample rate says"
        found.append(Finding(LIMIT, "bandwidth", words, "use the original recordings: these were MP3s or of a lower sample rate once"))
    if total["disagreeing_files"]:
        words = f"{total['disagreeing_files']} stereo files whose channels hear different things; their mean is comb-filtered"
        found.append(
            Finding(LIMIT, "channels", words, "give one channel alone, that of the nearer microphone: ffmpeg -i IN -af pan=mono|c0=c0 OUT")
        )
    if total["dead_channel_files"]:
        words = f"{total['dead_channel_files']} stereo files with one dead channel"
        found.append(Finding(HINT, "channels", words, "nothing to do: the living channel is taken alone"))
    if total["note_loudness_db"] < SOFT_DB:
        words = f"the notes are soft, {total['note_loudness_db']:.0f} dB(A)"
        found.append(Finding(HINT, "level", words, "record with more gain: peaks from -12 to -6 dB"))
    return found


def _playing(total: Mapping[str, Any]) -> list[Finding]:
    found = []
    lowest, highest = total["lowest_note_midi"], total["highest_note_midi"]
    if highest - lowest < NARROW_SEMITONES:
        words = f"notes from {total['lowest_note']} to {total['highest_note']} only, {highest - lowest:.0f} semitones"
        found.append(Finding(LIMIT, "register", words, "play over the instrument's whole range, a scale up and down will do"))
    elif total["widest_gap_semitones"] >= GAP_SEMITONES:
        words = f"no note for {total['widest_gap_semitones']} semitones above {total['gap_above_note']}"
        found.append(Finding(LIMIT, "register", words, "play there, too"))
    if (span := total["loudness_range_db"]) < FLATTISH_DB:
        words = f"{span:.0f} dB between soft and loud notes"
        advice = "play the same phrases softly and loudly; compressors and normalising off"
        found.append(Finding(LIMIT if span < FLAT_DB else HINT, "loudness", words, advice))
    offset = total["tuning_offset_cents"]
    if offset is not None and abs(offset) > DETUNED_CENTS:
        words = f"tuned {offset:+.0f} cents from A4 = 440 Hz (A4 = {440.0 * 2.0 ** (offset / 1200.0):.0f} Hz)"
        found.append(Finding(HINT, "tuning", words, "nothing to do: what is played is measured, not assumed"))
    return found


def _files(total: Mapping[str, Any]) -> list[Finding]:
    found = []
    kinds, read = total["skipped_by_kind"], total["files"] + total["unsuitable_files"]
    unsuitable = {kind: kinds[kind] for kind in ("polyphonic", "speech", "no_pitch", "silent", "too_short") if kinds.get(kind)}
    names = {"polyphonic": "with several notes at once", "speech": "of speech", "no_pitch": "without notes", "silent": "silent"}
    if unsuitable:
        words = ", ".join(f"{count} {names.get(kind, kind.replace('_', ' '))}" for kind, count in unsuitable.items())
        grave = sum(unsuitable.values()) > LEFT_OUT_SHARE * read and total["files"] > 0
        found.append(
            Finding(LIMIT if grave else HINT, "files", f"left out: {words}", "take them away, or have them taken with prepare --force")
        )
    if kinds.get("unreadable"):
        found.append(Finding(HINT, "files", f"{kinds['unreadable']} files cannot be read", "see the list for each one's reason"))
    if kinds.get("duplicate"):
        found.append(Finding(HINT, "files", f"{kinds['duplicate']} files are there twice", "nothing to do: each sound is taken once"))
    if total["files"] == 1 and total["note_minutes"] > 0:
        words = "one recording; its end will be held out to see when training has learned enough"
        found.append(Finding(HINT, "files", words, "a second recording, from another day, makes that judgement better"))
    return found
