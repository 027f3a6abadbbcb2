// A player's controls made playable for an instrument, as tonetransfer's `arrange` does it: octave, effort, fades between notes, releases.
// test/table.json holds Python's values; constants carry the names that they have there.

export const FRAME_RATE = 100; // Hz
export const FLOOR_DB = -120;
const VOICED_ON = 0.75, VOICED_OFF = 0.55; // periodicity
const FAINTEST_NOTE_DB = -90, START_BELOW_DB = 40, STAY_BELOW_DB = 50;
const STRAY_SHARE = 0.05;
export const GRACE_FRAMES = 3;
const FADE_DB_PER_S = 200, DOUBT_DB_PER_S = 40, NOTHING = 0.3, DOUBTFUL = 0.5;
export const LOUD_MARGIN_DB = 6;
const EDITED_DB_PER_S = 800; // a note that was cut out of a recording fades at least so fast
const STEEPEST_DB = 8; // rise of loudness in a frame
const SWELL_S = 0.5, REST_DB = 30;
const GENTLE_DB_PER_S = 80, DEPTH_DB = 15, GONE_DB = -60, DEEP_DB = 30, RISE_DB = 6, RISE_FRAMES = 10;
export const SILENCE_DB = FLOOR_DB + 0.5, SILENT_FRAMES = 10;
const SLOWEST_DB_PER_S = 100, FASTEST_DB_PER_S = 2000, ABRUPT_DB_PER_S = 1500, MEASURED_DB = [3, 23];

/** How hard is played at each dynamic marking [dB re the strongest]. */
export const DYNAMICS_DB = { pp: -26, p: -20, mp: -15, mf: -11, f: -5, ff: -1 };
export const USUAL_DB = DYNAMICS_DB.mf;

export const toMidi = (f0Hz) => 69 + 12 * Math.log2(f0Hz / 440);
const clamp = (value, lowest, highest) => Math.min(Math.max(value, lowest), highest);
const ascending = (values) => Float64Array.from(values).sort();
const chosen = (values, mask) => values.filter((_, t) => mask[t]);

/** The value below which a share of the values lies: one that occurs (as torch's "nearest"), halves rounded to even. */
export function quantile(values, share) {
  const position = share * (values.length - 1), below = Math.floor(position), rest = position - below;
  return ascending(values)[rest > 0.5 || (rest === 0.5 && below % 2) ? below + 1 : below];
}

/** Runs of `stay` that hold at least one frame of `on`. */
export function hysteresis(on, stay) {
  const kept = new Array(stay.length).fill(false);
  for (let first = 0; first < stay.length; first++) {
    if (!stay[first]) continue;
    let end = first, started = false;
    for (; end < stay.length && stay[end]; end++) started ||= on[end];
    kept.fill(started, first, end);
    first = end;
  }
  return kept;
}

/** Frames of notes: periodic, and not more than 40 dB below the loud parts. */
export function noteFrames(periodicity, loudnessDb) {
  const sorted = ascending(loudnessDb), position = 0.95 * (sorted.length - 1), left = Math.floor(position);
  const loud = sorted[left] + (position - left) * ((sorted[left + 1] ?? sorted[left]) - sorted[left]);
  const audible = (t, below) => loud - loudnessDb[t] <= below && loudnessDb[t] > FAINTEST_NOTE_DB;
  const frames = Array.from(periodicity);
  return hysteresis(
    frames.map((value, t) => value >= VOICED_ON && audible(t, START_BELOW_DB)),
    frames.map((value, t) => value >= VOICED_OFF && audible(t, STAY_BELOW_DB)),
  );
}

/** The smallest transposition by octaves that brings 95 % of the pitches (each with its weight) into a range [semitones]. */
export function octaveShift(midi, [lowest, highest], weights = null) {
  if (!midi.length) return 0;
  const total = weights ? weights.reduce((sum, weight) => sum + weight, 0) : midi.length;
  const stray = (shift) => midi.reduce((sum, value, i) => sum + (value + shift < lowest - 0.5 || value + shift > highest + 0.5 ? (weights?.[i] ?? 1) : 0), 0) / total;
  const shifts = Array.from({ length: 17 }, (_, i) => 12 * (i - 8)).sort((a, b) => Math.abs(a) - Math.abs(b) || b - a);
  const shares = shifts.map(stray), playable = shares.findIndex((share) => share <= STRAY_SHARE);
  const rounded = shares.map((share) => Math.round(100 * share));
  return shifts[playable >= 0 ? playable : rounded.indexOf(Math.min(...rounded))];
}

/** Range from the usual loudness of a performance to its loudest [dB]: of the loudest instants of stretches of half a second. */
export function swellRangeDb(loudnessDb, notes) {
  const length = SWELL_S * FRAME_RATE, peaks = [];
  for (let first = 0; first < notes.length; first += length) {
    let peak = -Infinity;
    for (let t = first; t < Math.min(first + length, notes.length); t++) if (notes[t]) peak = Math.max(peak, loudnessDb[t]);
    peaks.push(peak);
  }
  const loudest = Math.max(...peaks);
  if (loudest === -Infinity) return 0;
  const near = ascending(peaks.filter((peak) => peak > loudest - REST_DB));
  return loudest - near[(near.length - 1) >> 1];
}

/** Effort of the loudest notes [dB re the strongest]; `dynamic` is a marking, decibels, or null: a mezzo-forte. */
export function loudEndDb(rangeDb, dynamic = null) {
  return Math.min((DYNAMICS_DB[dynamic] ?? dynamic ?? USUAL_DB) + rangeDb, 0);
}

/** The level of the nearest anchors, held a little and then sinking by `slopeDb` a frame. */
function ceiling(loudnessDb, anchors, slopeDb) {
  const n = loudnessDb.length, held = new Float64Array(n).fill(-Infinity), result = new Float64Array(n);
  for (let t = 0; t < n; t++) {
    if (anchors[t]) for (let s = Math.max(t - GRACE_FRAMES, 0); s <= Math.min(t + GRACE_FRAMES, n - 1); s++) held[s] = Math.max(held[s], loudnessDb[t]);
  }
  for (let t = 0, level = -Infinity; t < n; t++) result[t] = level = Math.max(level - slopeDb[t], held[t]);
  for (let t = n - 1, level = -Infinity; t >= 0; t--) {
    level = Math.max(level - (slopeDb[t + 1] ?? 0), held[t]);
    result[t] = Math.max(result[t], level);
  }
  return result;
}

/** How far what is not a note sinks in a frame [dB]: less where it is nearly periodic. */
export const fadeSlope = (periodicity) =>
  (FADE_DB_PER_S + (DOUBT_DB_PER_S - FADE_DB_PER_S) * clamp((periodicity - NOTHING) / (DOUBTFUL - NOTHING), 0, 1)) / FRAME_RATE;

/** Loudness with everything faded that is not a note; more slowly where it is as loud as notes and nearly periodic. */
export function fadeOut(loudnessDb, notes, periodicity) {
  if (!notes.includes(true)) return new Float64Array(loudnessDb.length).fill(FLOOR_DB);
  const patient = ceiling(loudnessDb, notes, Float64Array.from(periodicity, fadeSlope)).map((level, t) => Math.min(level, loudnessDb[t]));
  const floor = quantile(chosen(loudnessDb, notes), 0.1) - LOUD_MARGIN_DB;
  const played = notes.map((note, t) => note || patient[t] >= floor);
  const limit = ceiling(patient, played, new Float64Array(patient.length).fill(FADE_DB_PER_S / FRAME_RATE));
  return patient.map((level, t) => Math.max(Math.min(level, limit[t]), FLOOR_DB));
}

/** Ends of notes as pairs: the last frame before the fall, and the one before the next note rises. */
export function findReleases(level) {
  const gentle = GENTLE_DB_PER_S / FRAME_RATE, found = [];
  let top = 0, lowest = 0; // `top`: where a line of the gentle slope touches the curve from above
  const end = (rising) => {
    const depth = level[top] - level[lowest];
    if (depth >= DEPTH_DB && (level[lowest] <= GONE_DB || depth >= DEEP_DB || rising)) found.push([top, lowest]);
  };
  level.forEach((value, t) => {
    if (value >= level[top] - gentle * (t - top)) {
      if (lowest > top) end(t - lowest <= RISE_FRAMES && value >= level[lowest] + RISE_DB);
      top = lowest = t;
    } else if (value <= level[lowest]) {
      lowest = t;
    } else if (value > level[lowest] + RISE_DB) {
      end(t - lowest <= RISE_FRAMES);
      top = lowest = t;
    }
  });
  if (lowest > top) end(false);
  return found;
}

function fallDbPerS(level) {
  const below = level.map((value) => level[0] - value), deepest = Math.max(...below);
  const [begin, finish] = MEASURED_DB.map((depth) => below.findIndex((value) => value >= Math.min(depth, deepest)));
  return finish > begin ? ((below[finish] - below[begin]) * FRAME_RATE) / (finish - begin) : FASTEST_DB_PER_S;
}

/** Rate at which notes of an instrument are let die away [dB/s]; beside a source in a room, as fast as a cut at least. */
export const playableRelease = (dbPerS, inRoom = false) =>
  clamp(inRoom ? Math.max(dbPerS, EDITED_DB_PER_S) : dbPerS, SLOWEST_DB_PER_S, FASTEST_DB_PER_S);

/** Notes that stop short ring on at the instrument's own rate, and at their own pitch. */
function release(f0Hz, loudnessDb, notes, rateDbPerS, dry) {
  const f0 = f0Hz.slice(), loud = loudnessDb.slice(), step = playableRelease(rateDbPerS) / FRAME_RATE;
  for (const [first, last] of findReleases(loudnessDb)) {
    const shaped = dry || fallDbPerS(Array.from(loudnessDb.slice(first, last + 1))) >= ABRUPT_DB_PER_S;
    for (let t = first + 1; t <= last; t++) {
      if (!notes[t]) f0[t] = f0[first];
      const own = Math.max(loudnessDb[first] - step * (t - first), FLOOR_DB);
      if (shaped) loud[t] = dry ? own : Math.max(loudnessDb[t], own);
    }
  }
  return [f0, loud];
}

/**
 * A performance written for an instrument.
 *
 * heard: { f0Hz, periodicity, loudnessDb }, each (n_frames,) at 100 Hz
 * instrument: { range_midi: [lowest, highest], loudness_quantiles_db: 13 numbers, release_db_per_s, silent_below_db: a number or null }
 * transpose: semitones, or "auto"; dynamic: a marking, decibels, or null
 * Returns { f0Hz, loudnessDb, notes, silent, semitones, gainDb, effortDb }; `silent`: frames quieter than the instrument's room; the sound is turned up by gainDb in the end.
 */
export function arrange(heard, instrument, { transpose = "auto", dynamic = null } = {}) {
  const notes = noteFrames(heard.periodicity, heard.loudnessDb);
  const semitones = transpose === "auto" ? octaveShift(chosen(Array.from(heard.f0Hz, toMidi), notes), instrument.range_midi) : transpose;
  const effortDb = loudEndDb(swellRangeDb(heard.loudnessDb, notes), dynamic);
  const played = notes.includes(true) ? chosen(heard.loudnessDb, notes) : heard.loudnessDb;
  const loudest = quantile(played, 0.98), shift = instrument.loudness_quantiles_db.at(-1) + effortDb - loudest;
  const silent = Array.from(heard.loudnessDb, (level) => level < loudest + (instrument.silent_below_db ?? -Infinity));
  const periodicity = Float64Array.from(heard.periodicity, (value, t) => (notes[t] ? value : Math.min(value, DOUBTFUL)));
  const faded = fadeOut(Float64Array.from(heard.loudnessDb, (level) => level + shift), notes, periodicity);
  const audible = faded.map((level, t) => (heard.loudnessDb[t] > FLOOR_DB ? level : FLOOR_DB));
  const prompt = audible.map((level, t) => Math.min(level, (audible[t - 1] ?? level) + STEEPEST_DB)); // a window hears a note before it begins
  const dry = heard.loudnessDb.filter((level) => level <= SILENCE_DB).length >= SILENT_FRAMES;
  const transposed = Float64Array.from(heard.f0Hz, (f0) => f0 * 2 ** (semitones / 12));
  const [f0Hz, loudnessDb] = release(transposed, prompt, notes, playableRelease(instrument.release_db_per_s, !dry), dry);
  return { f0Hz, loudnessDb, notes, silent, semitones, gainDb: -effortDb, effortDb };
}
