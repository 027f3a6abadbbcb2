// The exported graphs, run by ONNX Runtime: what goes in and out of each stands in the manifest (tonetransfer.json).

import * as ort from "onnxruntime-web/wasm";

const FORMAT = 2; // of the manifest
const KEPT_INSTRUMENTS = 4; // in memory
const SILENCE_PEAK = 1e-3; // of 16 ms, below which the pitch network is not believed

/** Where the runtime's two files lie, and how many threads it may use: more than one only where the host's headers isolate the page. */
export function configure(base, threads) {
  ort.env.wasm.wasmPaths = { mjs: new URL("ort/ort-wasm-simd-threaded.js", base).href, wasm: new URL("ort/ort-wasm-simd-threaded.wasm", base).href };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
}

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${new URL(url).pathname.split("/").pop()} is missing from this site (the host answered ${answer.status})`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function open(url) {
  return ort.InferenceSession.create(await fetched(url), { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
}

const row = (values) => new ort.Tensor("float32", values instanceof Float32Array ? values : Float32Array.from(values), [1, values.length]);

/** The pitch network: 16 kHz audio to f0 and confidence, one each 16 ms. */
export class Pitch {
  constructor(session, spec) {
    Object.assign(this, { session, hopLength: spec.hop_length });
    this.range = { fmin: new ort.Tensor("float32", [spec.lowest_hz], []), fmax: new ort.Tensor("float32", [spec.highest_hz], []) };
  }

  /** audio (n_samples,) to { f0Hz, confidence }; digital silence, which the network never saw, gets no confidence. */
  async detect(audio) {
    const found = await this.session.run({ audio: row(audio), ...this.range });
    const f0Hz = found.pitch.data, confidence = found.confidence.data;
    for (let k = 0; k < confidence.length; k++) {
      const hop = audio.subarray(k * this.hopLength, (k + 1) * this.hopLength);
      if (!hop.some((value) => Math.abs(value) >= SILENCE_PEAK)) confidence[k] = 0;
    }
    return { f0Hz, confidence };
  }
}

/** A-weighted loudness, one value each hop. */
export class Loudness {
  constructor(session, spec, hopLength) {
    Object.assign(this, { session, hopLength, context: spec.context_frames });
  }

  /** Loudness of a piece by itself, silence around it. */
  async measure(audio) {
    return (await this.session.run({ audio: row(audio) })).loudness_db.data;
  }

  /** Frames `first` to `last` of longer audio, with the samples around them that they hear. */
  async measurePart(audio, first, last) {
    const begin = Math.max(first - this.context, 0);
    const part = audio.subarray(begin * this.hopLength, Math.min((last + this.context) * this.hopLength, audio.length));
    return (await this.measure(part)).subarray(first - begin, last - begin);
  }
}

/** A performance of an instrument: controls in, sound out, and a state that goes from block to block. */
export class Player {
  constructor(session, spec, { live = false } = {}) {
    Object.assign(this, { session, spec });
    this.follow = new ort.Tensor("float32", [live ? 1 : 0], [1]); // live, loudness is corrected as it goes
    this.state = new ort.Tensor("float32", new Float32Array(spec.state_size), [1, spec.state_size]);
  }

  /** Frames of f0 [Hz], loudness [dB] and time since a note began to die away [s] to as many hops of sound, `spec.latency_samples` late. */
  async play(f0Hz, loudnessDb, decayS) {
    const noise = whiteNoise(f0Hz.length, this.spec.n_noise);
    const frames = { f0_hz: row(f0Hz), loudness_db: row(loudnessDb), decay_s: row(decayS) };
    const found = await this.session.run({ ...frames, noise, follow: this.follow, state: this.state });
    this.state = found.next_state;
    return found.audio.data;
  }
}

/** What is done to a whole sound: loudness as it was asked, the level at which it is played, the instrument's room tone. */
export class Finish {
  constructor(session, { context_frames, noise_frames }, hopLength) {
    Object.assign(this, { session, hopLength, context: context_frames, noiseFrames: noise_frames });
  }

  /** Frames `first` to `last`, finished, of a piece of sound that begins `before` frames sooner and ends up to `context` frames later. */
  async part(piece, before, { loudnessDb, notes, silent, gainDb }, spec, first, last) {
    const hop = this.hopLength, n = piece.length / hop, begin = first - before;
    const toneDb = spec.room_tone ? spec.loudness_quantiles_db.at(-1) : -300;
    const found = await this.session.run({
      audio: new ort.Tensor("float32", piece, [n, hop]),
      loudness_db: row(loudnessDb.slice(begin, begin + n)),
      notes: row(notes.slice(begin, begin + n).map((note, t) => (note ? 1 : silent[begin + t] ? -1 : 0))),
      gain_db: new ort.Tensor("float32", [gainDb], [1]),
      tone_level_db: new ort.Tensor("float32", [toneDb], [1]),
      noise: noiseOfFrames(begin - this.noiseFrames, begin + n, hop),
    });
    return found.finished.data.subarray(before * hop, (before + last - first) * hop);
  }
}

const NOISE_WIDTH = 2 * Math.sqrt(3); // of uniform noise of unit variance

function whiteNoise(rows, columns) {
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < values.length; i++) values[i] = (Math.random() - 0.5) * NOISE_WIDTH;
  return new ort.Tensor("float32", values, [rows, columns]);
}

/** Noise that is the same for a frame in every piece that the frame occurs in (mulberry32, seeded with its number). */
function noiseOfFrames(first, end, hop) {
  const values = new Float32Array((end - first) * hop);
  for (let frame = first, i = 0; frame < end; frame++) {
    let seed = Math.imul(frame + 1000, 0x9e3779b1);
    for (const stop = i + hop; i < stop; i++) {
      seed = (seed + 0x6d2b79f5) | 0;
      let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      values[i] = (((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296 - 0.5) * NOISE_WIDTH;
    }
  }
  return new ort.Tensor("float32", values, [end - first, hop]);
}

/** All graphs of a site; instruments are fetched when they are first asked for. */
export class Site {
  constructor(base, manifest, { pitch, loudness }) {
    Object.assign(this, { base, manifest, sessions: new Map(), held: null, finishes: new Map() });
    this.pitch = new Pitch(pitch, manifest.pitch);
    this.loudness = new Loudness(loudness, manifest.loudness, manifest.hop_length);
  }

  static async open(base, threads) {
    configure(base, threads);
    const manifest = JSON.parse(new TextDecoder().decode(await fetched(new URL("tonetransfer.json", base))));
    if (manifest.format !== FORMAT) throw new Error("the page and its instruments are of different versions: export them again, together");
    const graphs = await Promise.all(["pitch", "loudness"].map(async (name) => [name, await open(new URL(manifest[name].file, base))]));
    return new Site(base, manifest, Object.fromEntries(graphs));
  }

  /** An instrument at the beginning of a performance; `held` names one that is never forgotten. */
  async player(name, options) {
    const spec = this.manifest.instruments.find((one) => one.name === name);
    const opening = this.sessions.get(name) ?? open(new URL(spec.file, this.base));
    this.sessions.delete(name);
    this.sessions.set(name, opening); // the last is the one used last
    opening.catch(() => this.sessions.delete(name));
    this.forget();
    return new Player(await opening, spec, options);
  }

  /** What is done to the sound of an instrument in the end; instruments of one weights file share it. */
  async finish({ finish }) {
    if (!this.finishes.has(finish)) this.finishes.set(finish, await open(new URL(finish, this.base)));
    return new Finish(this.finishes.get(finish), this.manifest.finish, this.manifest.hop_length);
  }

  forget() {
    for (const [name, opened] of [...this.sessions]) {
      if (this.sessions.size <= KEPT_INSTRUMENTS) break;
      if (name === this.held) continue;
      this.sessions.delete(name);
      opened.then((session) => session.release(), () => {});
    }
  }
}
