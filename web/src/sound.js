// Sound on the page's side: files decoded and resampled by Web Audio, the microphone, and live playing through the audio worklet.

import workletUrl from "./worklet.js?url";

export const SAMPLE_RATE = 48000;
const PIECE_S = 30, OVERLAP_S = 0.1; // of long recordings, filtered in pieces
const RUMBLE_HZ = 20, LOW_PASS_HZ = 7000, BUTTERWORTH_Q = [0.5098, 0.6013, 0.9, 2.5629]; // of order 8: what is above 8 kHz would fold down at 16 kHz
const MICROPHONE = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }; // they are made for speech

/** What the page says in plain words. */
export class Problem extends Error {}

/** Mono samples at 48 kHz of a file in any format that the browser reads. */
export async function decodeFile(blob, name) {
  let buffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, SAMPLE_RATE).decodeAudioData(await blob.arrayBuffer());
  } catch {
    throw new Problem(`This browser cannot read ${name}: it is damaged, or of a kind that the browser does not know. WAV, MP3 and M4A are read everywhere.`);
  }
  const audio = buffer.getChannelData(0);
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    const other = buffer.getChannelData(channel);
    for (let i = 0; i < audio.length; i++) audio[i] += other[i];
  }
  if (buffer.numberOfChannels > 1) for (let i = 0; i < audio.length; i++) audio[i] /= buffer.numberOfChannels;
  return audio.slice();
}

/** Rumble and what a rate of 16 kHz cannot hold, filtered away behind `source`. */
function filtered(context, source) {
  const filters = [
    new BiquadFilterNode(context, { type: "highpass", frequency: RUMBLE_HZ, Q: -3 }),
    ...BUTTERWORTH_Q.map((q) => new BiquadFilterNode(context, { type: "lowpass", frequency: LOW_PASS_HZ, Q: 20 * Math.log10(q) })),
  ];
  return filters.reduce((before, filter) => before.connect(filter), source);
}

async function rendered(audio, sampleRate, outputRate, length, between = (_context, source) => source) {
  const context = new OfflineAudioContext(1, length, outputRate), buffer = new AudioBuffer({ length: audio.length, sampleRate });
  buffer.copyToChannel(audio, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  between(context, source).connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/** 48 kHz to 16 kHz: filtered, and every third sample kept. */
export async function toLowRate(audio) {
  const low = new Float32Array(Math.ceil(audio.length / 3)), piece = PIECE_S * SAMPLE_RATE, overlap = OVERLAP_S * SAMPLE_RATE;
  for (let first = 0; first < audio.length; first += piece) {
    const begin = Math.max(first - overlap, 0), part = audio.subarray(begin, first + piece);
    const smooth = await rendered(part, SAMPLE_RATE, SAMPLE_RATE, part.length, filtered);
    for (let i = first - begin; i < smooth.length; i += 3) low[(begin + i) / 3] = smooth[i];
  }
  return low;
}

async function openMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia) throw new Problem("Browsers give the microphone only to pages with an https address. Drop a file instead.");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
  } catch (error) {
    if (error.name === "NotFoundError") throw new Problem("No microphone was found. Connect one, or drop a file.");
    throw new Problem("The microphone was not allowed. Allow it beside the browser's address bar and try again, or drop a file.");
  }
}

/** A context with the microphone in it; at 48 kHz where the browser resamples microphones, else at the device's own rate. */
async function withMicrophone(stream, rate) {
  const context = new AudioContext(rate ? { sampleRate: rate, latencyHint: "interactive" } : { latencyHint: "interactive" });
  try {
    await context.audioWorklet.addModule(workletUrl);
    const source = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
    await context.resume();
    return { context, source };
  } catch (error) {
    await context.close();
    if (rate && error.name === "NotSupportedError") return withMicrophone(stream, null);
    throw error;
  }
}

const close = async ({ context, stream }) => {
  stream.getTracks().forEach((track) => track.stop());
  await context.close();
};

/** Records the microphone; `onLevel(peak, seconds)` is told as it goes. */
export class Recorder {
  static async start(onLevel) {
    const stream = await openMicrophone(), { context, source } = await withMicrophone(stream, SAMPLE_RATE);
    const recorder = Object.assign(new Recorder(), { stream, context, pieces: [], n: 0 });
    const node = new AudioWorkletNode(context, "tonetransfer-recorder", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => {
      recorder.pieces.push(data);
      recorder.n += data.length;
      onLevel(data.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0), recorder.n / context.sampleRate);
    };
    source.connect(node);
    return recorder;
  }

  /** Ends the recording; samples at 48 kHz. */
  async stop() {
    const rate = this.context.sampleRate, audio = new Float32Array(this.n);
    await close(this);
    this.pieces.reduce((at, piece) => { audio.set(piece, at); return at + piece.length; }, 0);
    return rate === SAMPLE_RATE || !audio.length ? audio : rendered(audio, rate, SAMPLE_RATE, Math.ceil((audio.length * SAMPLE_RATE) / rate));
  }
}

/** Microphone to loudspeaker through the worker; `onTold({ blocks, late, margin, peak, peakOut, failed })` several times a second. */
export class LiveSession {
  static async start(backend, choices, onTold) {
    const stream = await openMicrophone(), session = Object.assign(new LiveSession(), { stream, backend });
    Object.assign(session, await withMicrophone(stream, SAMPLE_RATE));
    if (session.context.sampleRate !== SAMPLE_RATE) {
      await close(session);
      throw new Problem("This browser takes the microphone only at the rate of its device. Set the microphone to 48 kHz in the system's sound settings, or use another browser.");
    }
    const { context, source } = session, node = new AudioWorkletNode(context, "tonetransfer-live", { channelCount: 2, channelCountMode: "explicit" });
    const both = new ChannelMergerNode(context, { numberOfInputs: 2 }), mono = new GainNode(context, { channelCount: 1, channelCountMode: "explicit" });
    source.connect(mono).connect(both, 0, 0);
    filtered(context, mono).connect(both, 0, 1);
    both.connect(node).connect(context.destination);
    const { port1, port2 } = new MessageChannel();
    node.port.onmessage = ({ data }) => onTold(data);
    session.node = node;
    await backend.ask("live", { port: port2, choices }, [port2]);
    node.port.postMessage({ worker: port1 }, [port1]); // only now: nothing is late before it can be asked for
    return session;
  }

  /** Between a sound at the microphone and its answer: what this program takes, and what the devices say that they take [s]. */
  latency(margin, instrumentSamples) {
    const own = (LIVE_SAMPLES + margin + instrumentSamples) / SAMPLE_RATE;
    return { own, devices: this.context.baseLatency + (this.context.outputLatency || 0) };
  }

  async stop() {
    this.node.port.postMessage({ end: true });
    await this.backend.ask("hush");
    await close(this);
  }
}

const LIVE_SAMPLES = 2880; // a block of 20 ms to gather, and what is heard ahead: see live.js
