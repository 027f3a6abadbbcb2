// Pitch on the frame grid (100 Hz) from the network's own clock (16 ms): windows, voicing, and an f0 for frames without one.

import { FRAME_RATE, noteFrames } from "./adaptation.js";

const WINDOW = 256, MARGIN = 16; // values of the network at a time, and those around them that it hears
const SHORTEST_FRAMES = 4; // of a note; a single value of the network spans three
const SHORT_GAP_FRAMES = 8, WIDEST_SLIDE_SEMITONES = 7; // f0 glides through such gaps; across others notes are held
const HELD_FRAMES = 5;
const NOTHING_PLAYED_HZ = 220;
const NO_NOTE = 0.5; // periodicity

/** The network's confidence on the scale of periodicity: linear between the points of the manifest. */
export function periodicityOf(confidence, { confidence: known, periodicity }) {
  const above = known.findIndex((value, i) => i > 0 && value >= confidence), k = above < 0 ? known.length - 1 : above;
  const share = Math.min(Math.max((confidence - known[k - 1]) / (known[k] - known[k - 1]), 0), 1);
  return periodicity[k - 1] + share * (periodicity[k] - periodicity[k - 1]);
}

/**
 * f0 and confidence at the network's clock, in windows whose values are those of the whole at once.
 * detect: (Float32Array) -> Promise of { f0Hz, confidence }; progress is told of each window's share and may throw to end it.
 */
export async function detectInWindows(audio, hopLength, detect, progress = async () => {}) {
  const n = Math.max(Math.floor(audio.length / hopLength), 1), f0Hz = new Float32Array(n), confidence = new Float32Array(n);
  const padded = audio.length >= 8 * hopLength ? audio : Float32Array.from({ length: 8 * hopLength }, (_, i) => audio[i] ?? 0);
  for (let first = 0; first < n; first += WINDOW) {
    const last = Math.min(first + WINDOW, n), begin = Math.max(first - MARGIN, 0);
    const part = await detect(padded.subarray(begin * hopLength, last === n ? padded.length : (last + MARGIN) * hopLength));
    f0Hz.set(part.f0Hz.subarray(first - begin, last - begin), first);
    confidence.set(part.confidence.subarray(first - begin, last - begin), first);
    await progress(last / n);
  }
  return { f0Hz, confidence };
}

/** Values at the network's clock read off at positions in its frames: log-linear in f0, without gliding through leaps. */
export function readAt(values, positions) {
  const n = values.f0Hz.length, f0Hz = new Float64Array(positions.length), confidence = new Float64Array(positions.length);
  positions.forEach((wanted, t) => {
    const position = Math.min(Math.max(wanted, 0), n - 1), left = Math.floor(position), right = Math.min(left + 1, n - 1);
    const interval = Math.log2(values.f0Hz[right] / values.f0Hz[left]);
    const share = Math.abs(interval) > 1 / 12 ? Math.round(position - left) : position - left;
    f0Hz[t] = values.f0Hz[left] * 2 ** (share * interval);
    confidence[t] = values.confidence[left] + share * (values.confidence[right] - values.confidence[left]);
  });
  return { f0Hz, confidence };
}

/** Controls of a performance from the network's values and loudness (n_frames,); `spec`: the manifest's "pitch". */
export function controlsOf(values, loudnessDb, spec) {
  const hopS = spec.hop_length / spec.sample_rate;
  const read = readAt(values, Array.from(loudnessDb, (_, t) => t / (FRAME_RATE * hopS)));
  const periodicity = read.confidence.map((value) => periodicityOf(value, spec));
  const voiced = withoutSpecks(noteFrames(periodicity, loudnessDb));
  return {
    f0Hz: fillUnvoiced(read.f0Hz, voiced, loudnessDb),
    periodicity: periodicity.map((value, t) => (voiced[t] ? value : Math.min(value, NO_NOTE))),
    loudnessDb: Float64Array.from(loudnessDb),
  };
}

const runsOf = (mask) => {
  const runs = [];
  mask.forEach((on, t) => {
    if (on && !mask[t - 1]) runs.push([t, t]);
    if (on) runs.at(-1)[1] = t + 1;
  });
  return runs; // first frame, and first behind it
};

function withoutSpecks(voiced) {
  const kept = voiced.slice();
  for (const [first, end] of runsOf(voiced)) if (end - first < SHORTEST_FRAMES) kept.fill(false, first, end);
  return kept;
}

const median = (values) => {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

/** f0 where nothing is voiced: a glide through short gaps; else the last note until the sound is weakest, and the next one from there. */
export function fillUnvoiced(f0Hz, voiced, levelDb) {
  const notes = runsOf(voiced), filled = Float64Array.from(f0Hz);
  if (!notes.length) return filled.fill(NOTHING_PLAYED_HZ);
  const startOf = ([first, end]) => median(f0Hz.slice(first, Math.min(first + HELD_FRAMES, end)));
  const endOf = ([first, end]) => median(f0Hz.slice(Math.max(first, end - HELD_FRAMES), end));
  filled.fill(startOf(notes[0]), 0, notes[0][0]);
  filled.fill(endOf(notes.at(-1)), notes.at(-1)[1]);
  for (let k = 1; k < notes.length; k++) {
    const last = notes[k - 1][1] - 1, next = notes[k][0], ratio = f0Hz[next] / f0Hz[last];
    if (next - last - 1 <= SHORT_GAP_FRAMES && Math.abs(12 * Math.log2(ratio)) < WIDEST_SLIDE_SEMITONES) {
      for (let t = last + 1; t < next; t++) filled[t] = f0Hz[last] * ratio ** ((t - last) / (next - last));
    } else {
      let weakest = last + 1;
      for (let t = last + 1; t < next; t++) if (levelDb[t] < levelDb[weakest]) weakest = t;
      filled.fill(endOf(notes[k - 1]), last + 1, weakest);
      filled.fill(startOf(notes[k]), weakest, next);
    }
  }
  return filled;
}
