// The worker: graphs, recordings and live playing, away from the page, which stays answerable.

import { Site } from "./graphs.js";
import { Live } from "./live.js";
import { Refused, Stopped, analyse, play } from "./transfer.js";
import { turn } from "./turn.js";
import { wavOf } from "./wav.js";

const ANALYSIS_SHARE = 0.2; // of the time of a transfer

let site = null, recording = null, live = null, job = 0; // `job`: the transfer that is wanted; others end at their next piece

async function start({ base, threads }) {
  const began = performance.now();
  site = await Site.open(base, threads);
  await site.loudness.measure(new Float32Array(9600));
  await site.pitch.detect(new Float32Array(4096));
  return { manifest: site.manifest, seconds: (performance.now() - began) / 1000 };
}

/** Told to the page: the share that is done, and how many seconds it will still take. */
function progressOf(id, from) {
  const began = performance.now();
  return async (share) => {
    await turn(); // lets "stop" in
    if (id !== job) throw new Stopped();
    const elapsed_s = (performance.now() - began) / 1000;
    postMessage({ id, progress: share, left_s: (elapsed_s / Math.max(share - from, 1e-3)) * (1 - share) });
  };
}

async function transfer({ id, choices }) {
  job = id;
  const began = performance.now(), from = recording.heard ? ANALYSIS_SHARE : 0, progress = progressOf(id, from);
  if (!recording.heard) {
    const heard = await analyse(site, recording, (share) => progress(ANALYSIS_SHARE * share));
    recording = { heard, n_samples: recording.audio.length }; // the samples are no longer needed
  }
  const { sound, arrangement } = await play(site, recording.heard, choices, (share) => progress(ANALYSIS_SHARE + (1 - ANALYSIS_SHARE) * share));
  const wav = wavOf(sound.subarray(0, recording.n_samples), site.manifest.sample_rate);
  return { wav, semitones: arrangement.semitones, seconds: (performance.now() - began) / 1000 };
}

const handlers = {
  start,
  transfer,
  recording: ({ audio, audio16k }) => { recording = { audio, audio16k }; job = 0; },
  instrument: async ({ name }) => { await site.finish((await site.player(name)).spec); },
  stop: () => { job = 0; },
  live: async ({ port, choices }) => { live?.end(); live = new Live(site, port); await live.choose(choices); },
  choose: async ({ choices }) => { await live?.choose(choices); },
  hush: () => { live?.end(); live = null; },
};

addEventListener("message", async ({ data }) => {
  try {
    postMessage({ id: data.id, done: (await handlers[data.do](data)) ?? {} });
  } catch (error) {
    if (!(error instanceof Stopped || error instanceof Refused)) console.error(error);
    postMessage({ id: data.id, failed: error instanceof Stopped ? null : error.message || String(error), refused: error instanceof Refused });
  }
});
