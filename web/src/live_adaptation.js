// What a player does to what an instrument is asked for, while it comes in: `adaptation.js` without knowledge of what comes later.
// Octave and effort are learned from the notes of the last half minute; a note ends when the sound stops being periodic, and then fades.

import {
  FLOOR_DB, FRAME_RATE, GRACE_FRAMES, LOUD_MARGIN_DB, SILENCE_DB, SILENT_FRAMES,
  fadeSlope, loudEndDb, octaveShift, playableRelease, toMidi,
} from "./adaptation.js";

const STARTING = 0.65, VOICED_OFF = 0.55; // periodicity at which a note begins, and at which it goes on
const USUAL_LOUDEST_DB = -16; // of a player at a microphone that is set well
const USUAL_RANGE_DB = 4; // from the loudest to the usual half second
const MEMORY_S = 30, LEARNING_S = 2; // of the player's level; notes after which the assumption about it counts no more
const FAINTEST_NOTE_DB = -75; // a live input hums and hisses more than the rests of a recording do
const START_BELOW_DB = 40, STAY_BELOW_DB = 50;
const RENEW_FRAMES = 10, UNSURE_FRAMES = 5, SHIFT_MOVES = 0.2, LEAP_SEMITONES = 1, STRAY_SHARE = 0.05;
const KEPT = 1 - 1 / (MEMORY_S * FRAME_RATE);

export class LiveAdapter {
  /** instrument: as for `arrange`; transpose: semitones or "auto"; dynamic: a marking, decibels or null. */
  constructor(instrument, { transpose = "auto", dynamic = null } = {}) {
    Object.assign(this, { instrument, transpose });
    this.effortDb = loudEndDb(USUAL_RANGE_DB, dynamic);
    this.levels = new Float64Array(120); // a histogram of loudness, 1 dB wide
    this.midis = new Float64Array(128);
    this.semitones = transpose === "auto" ? 0 : transpose;
    Object.assign(this, { playing: false, sinceNote: GRACE_FRAMES + 1, noteFrames: 0, frames: 0, f0Hz: 0, heardHz: 0 });
    Object.assign(this, { levelDb: FLOOR_DB, ceilingDb: FLOOR_DB, silentFrames: 0 });
    this.renew();
    this.shiftDb = this.wantedShiftDb;
    this.gainDb = this.wantedGainDb;
  }

  binOf = (db) => Math.min(Math.max(Math.floor(db + 120), 0), 119);

  /** The level below which a share of the notes of the last half minute lies. */
  levelBelow(share) {
    const total = this.levels.reduce((sum, weight) => sum + weight, 0);
    let bin = 0;
    for (let sum = this.levels[0]; sum < share * total && bin < 119; sum += this.levels[++bin]);
    return bin - 119.5;
  }

  renew() {
    const towards = (seconds, level) => USUAL_LOUDEST_DB + Math.min(this.frames / (seconds * FRAME_RATE), 1) * (level - USUAL_LOUDEST_DB);
    const loudDb = this.levelBelow(0.98);
    this.loudDb = towards(LEARNING_S, loudDb);
    this.leastDb = towards(LEARNING_S, this.levelBelow(0.1)) - LOUD_MARGIN_DB;
    this.wantedShiftDb = this.instrument.loudness_quantiles_db.at(-1) + this.effortDb - this.loudDb;
    // The level of the result goes up with a soft player slowly, and down with a loud one at once.
    this.wantedGainDb = this.loudDb - Math.max(this.loudDb, towards(MEMORY_S, this.loudDb)) - this.effortDb;
  }

  learn({ f0Hz, loudnessDb }) {
    for (let i = 0; i < 120; i++) this.levels[i] *= KEPT;
    for (let i = 0; i < 128; i++) this.midis[i] *= KEPT;
    this.levels[this.binOf(loudnessDb)] += 1;
    this.midis[Math.min(Math.max(Math.round(toMidi(f0Hz)), 0), 127)] += 1;
    if (++this.frames % RENEW_FRAMES === 0) this.renew();
  }

  chooseOctave() {
    if (this.transpose !== "auto") return;
    const [lowest, highest] = this.instrument.range_midi, weights = Array.from(this.midis), midis = weights.map((_, midi) => midi);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const outside = weights.reduce((sum, weight, midi) => sum + (midi + this.semitones < lowest - 0.5 || midi + this.semitones > highest + 0.5 ? weight : 0), 0);
    if (outside > STRAY_SHARE * total) this.semitones = octaveShift(midis, this.instrument.range_midi, weights);
  }

  /** Level asked of the instrument: beyond a note what is heard fades, and never rises. */
  faded({ loudnessDb, periodicity }) {
    if (loudnessDb <= FLOOR_DB) return FLOOR_DB;
    this.shiftDb += SHIFT_MOVES * (this.wantedShiftDb - this.shiftDb);
    this.gainDb += SHIFT_MOVES * (this.wantedGainDb - this.gainDb);
    const moved = loudnessDb + this.shiftDb;
    if (this.playing) return (this.ceilingDb = moved);
    if (this.sinceNote > GRACE_FRAMES) this.ceilingDb -= fadeSlope(loudnessDb >= this.leastDb ? periodicity : 0);
    return Math.min(moved, this.ceilingDb, this.levelDb);
  }

  /** One frame { f0Hz, periodicity, loudnessDb } to { f0Hz, loudnessDb, isNote, gainDb }. */
  frame(heard) {
    const leap = this.heardHz > 0 && Math.abs(12 * Math.log2(heard.f0Hz / this.heardHz)) > LEAP_SEMITONES, wasPlaying = this.playing;
    const goesOn = wasPlaying && !leap, loudEnough = Math.max(FAINTEST_NOTE_DB, this.loudDb - (goesOn ? STAY_BELOW_DB : START_BELOW_DB));
    this.playing = heard.periodicity >= (goesOn ? VOICED_OFF : STARTING) && heard.loudnessDb > loudEnough;
    this.heardHz = heard.f0Hz;
    this.noteFrames = goesOn ? this.noteFrames + 1 : 0;
    this.sinceNote = this.playing ? 0 : this.sinceNote + 1;
    if (this.playing) {
      this.learn(heard);
      if (this.noteFrames <= UNSURE_FRAMES) this.chooseOctave(); // never within a note
    }
    if (this.playing || !this.f0Hz) this.f0Hz = heard.f0Hz * 2 ** (this.semitones / 12);
    this.silentFrames += heard.loudnessDb <= SILENCE_DB;
    const sinking = this.levelDb - playableRelease(this.instrument.release_db_per_s, this.silentFrames < SILENT_FRAMES) / FRAME_RATE;
    this.levelDb = Math.max(this.faded(heard), sinking, FLOOR_DB);
    return { f0Hz: this.f0Hz, loudnessDb: this.levelDb, isNote: this.playing, gainDb: this.gainDb };
  }
}
