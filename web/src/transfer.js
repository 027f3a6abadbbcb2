// A recording to the same recording on another instrument, in pieces: memory stays bounded, and one can stop between two of them.

import { arrange } from "./adaptation.js";
import { freeDecay } from "./decay.js";
import { controlsOf, detectInWindows } from "./pitch.js";
import { peakOf } from "./wav.js";

const ANALYSED_FRAMES = 400, PLAYED_FRAMES = 100, FINISHED_FRAMES = 400; // at a time
const SILENT_DB = -90; // loudness: a recording that never exceeds it holds nothing
export const TRACKER_PEAK = 0.5; // networks were trained at one level, and soft recordings are music as well
const LOUDNESS_SHARE = 0.4, FINISH_SHARE = 0.1; // of the time of analysis, and of playing

export class Stopped extends Error {}
/** A recording that cannot be played; the message is for the page. */
export class Refused extends Error {}

const framesOf = (audio, hopLength) => Math.ceil(audio.length / hopLength);

async function loudnessOf(loudness, audio, progress) {
  const n = framesOf(audio, loudness.hopLength), whole = new Float32Array(n);
  for (let first = 0; first < n; first += ANALYSED_FRAMES) {
    const last = Math.min(first + ANALYSED_FRAMES, n);
    whole.set(await loudness.measurePart(audio, first, last), first);
    await progress(last / n);
  }
  return whole;
}

/** f0, periodicity and loudness of a recording { audio at 48 kHz, audio16k for the pitch network }. */
export async function analyse(site, { audio, audio16k }, progress = async () => {}) {
  const loudnessDb = await loudnessOf(site.loudness, audio, (share) => progress(LOUDNESS_SHARE * share));
  if (!loudnessDb.some((level) => level > SILENT_DB)) throw new Refused("The recording is silent. Check the level of the microphone, and record it again.");
  const gain = TRACKER_PEAK / Math.max(peakOf(audio16k), 1e-6);
  const detect = (part) => site.pitch.detect(part.map((value) => gain * value));
  const values = await detectInWindows(audio16k, site.pitch.hopLength, detect, (share) => progress(LOUDNESS_SHARE + (1 - LOUDNESS_SHARE) * share));
  return controlsOf(values, loudnessDb, site.manifest.pitch);
}

/** What an instrument plays, as long as its frames. */
export async function render(player, { f0Hz, loudnessDb, decayS }, hopLength, progress = async () => {}) {
  const delay = player.spec.latency_samples, n = f0Hz.length, whole = n + Math.ceil(delay / hopLength); // the last frame held, until it is heard
  const sound = new Float32Array(whole * hopLength);
  for (let first = 0; first < whole; first += PLAYED_FRAMES) {
    const last = Math.min(first + PLAYED_FRAMES, whole), part = (values) => Float32Array.from({ length: last - first }, (_, i) => values[Math.min(first + i, n - 1)]);
    sound.set(await player.play(part(f0Hz), part(loudnessDb), part(decayS)), first * hopLength);
    await progress(last / whole);
  }
  return sound.subarray(delay, delay + n * hopLength);
}

/** A rendered sound, finished in pieces and in place. */
async function complete(finish, sound, arrangement, spec, progress) {
  const hop = finish.hopLength, n = arrangement.notes.length, context = finish.context * hop;
  let before = sound.slice(0, 0); // the end of the piece before, as it was rendered
  for (let first = 0; first < n; first += FINISHED_FRAMES) {
    const last = Math.min(first + FINISHED_FRAMES, n), earlier = before.length / hop, end = (earlier + last - first) * hop;
    const piece = sound.slice((first - earlier) * hop, last * hop + context);
    piece.set(before);
    before = piece.slice(Math.max(end - context, 0), end);
    sound.set(await finish.part(piece, earlier, arrangement, spec, first, last), first * hop);
    await progress(last / n);
  }
}

/**
 * Play what was heard on an instrument.
 *
 * heard: controls, as `analyse` returns them; choices: { instrument, transpose, dynamic }.
 * `progress(share)` is awaited between pieces and may throw Stopped. Returns { sound, arrangement }.
 */
export async function play(site, heard, choices, progress = async () => {}) {
  const player = await site.player(choices.instrument), arrangement = arrange(heard, player.spec, choices);
  if (!arrangement.notes.includes(true)) throw new Refused("No note is heard in the recording. Sing, hum or play one note at a time, near the microphone.");
  const decayS = freeDecay(arrangement.loudnessDb, site.manifest.decay);
  const sound = await render(player, { ...arrangement, decayS }, site.manifest.hop_length, (share) => progress((1 - FINISH_SHARE) * share));
  await complete(await site.finish(player.spec), sound, arrangement, player.spec, (share) => progress(1 - FINISH_SHARE + FINISH_SHARE * share));
  return { sound, arrangement };
}
