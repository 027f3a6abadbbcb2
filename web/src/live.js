// Live playing, in the worker: blocks of 20 ms from the audio worklet, and as many back to it.
//
// A frame is told 50 ms after its instant: the pitch network looks ahead, and with 50 ms of the 176 ms that it would like to hear its f0 is
// within 2 cents of what it says of a recording.

import { LiveAdapter } from "./live_adaptation.js";
import { periodicityOf, readAt } from "./pitch.js";
import { turn } from "./turn.js";

export const BLOCK = 960, FRAMES = 2; // 20 ms at 48 kHz; frames of 10 ms in it
const LOOK_AHEAD_FRAMES = 5, LOUDNESS_FRAMES = 4; // heard after a frame's instant, and before it
const LOW_RATE_STEP = 160, PITCH_HOPS = 11; // 16 kHz samples in a frame; 16 ms each
const MOST_WAITING = 2; // blocks; older ones are heard, and not answered any more
const QUIETEST_PEAK = 0.02, PEAK_KEPT = 0.999; // of the level that the network is given, a block

export class Live {
  constructor(site, port) {
    Object.assign(this, { site, port, waiting: [], working: false, adapter: null, player: null, gain: 0, peak: QUIETEST_PEAK });
    this.sound = new Float32Array((LOUDNESS_FRAMES + FRAMES + LOOK_AHEAD_FRAMES - 1) * (BLOCK / FRAMES));
    this.low = new Float32Array(PITCH_HOPS * site.pitch.hopLength);
    port.onmessage = ({ data }) => {
      this.waiting.push(data);
      if (!this.working) this.work().catch((error) => this.fail(error));
    };
  }

  /** Another instrument, octave or effort, from the next block on. */
  async choose(choices) {
    this.site.held = choices.instrument;
    const player = await this.site.player(choices.instrument, { live: true });
    await player.play(new Array(FRAMES).fill(440), new Array(FRAMES).fill(-120)); // the first run of a graph is slow
    await this.hear();
    Object.assign(this, { player, adapter: new LiveAdapter(player.spec, choices) });
  }

  end() {
    this.port.onmessage = null;
    this.port.close();
    this.player = this.site.held = null;
  }

  fail(error) {
    console.error(error);
    this.port.postMessage({ failed: error.message || String(error) });
  }

  async work() {
    this.working = true;
    while (this.waiting.length) {
      const { sound, low, index } = this.waiting.shift();
      shift(this.sound, sound);
      shift(this.low, low);
      if (this.player && this.waiting.length < MOST_WAITING) await this.answer(index);
      await turn(); // lets what has come in meanwhile in
    }
    this.working = false;
  }

  async answer(index) {
    const asked = (await this.hear()).map((frame) => this.adapter.frame(frame));
    const audio = Float32Array.from(await this.player.play(asked.map((one) => one.f0Hz), asked.map((one) => one.loudnessDb)));
    const gain = 10 ** (asked.at(-1).gainDb / 20), step = (gain - (this.gain ||= gain)) / audio.length;
    for (let i = 0; i < audio.length; i++) audio[i] *= this.gain + step * i;
    this.gain = gain;
    this.port.postMessage({ audio, index }, [audio.buffer]);
  }

  /** The frames that this block completes. */
  async hear() {
    const loudness = (await this.site.loudness.measure(this.sound)).subarray(LOUDNESS_FRAMES, LOUDNESS_FRAMES + FRAMES);
    this.peak = Math.max(this.peak * PEAK_KEPT, QUIETEST_PEAK, ...this.low.subarray(-(BLOCK / 3)).map(Math.abs));
    const level = 0.5 / this.peak, hop = this.site.pitch.hopLength;
    const values = await this.site.pitch.detect(this.low.map((value) => value * level));
    const first = this.low.length - (FRAMES + LOOK_AHEAD_FRAMES - 1) * LOW_RATE_STEP;
    const { f0Hz, confidence } = readAt(values, Array.from({ length: FRAMES }, (_, k) => (first + k * LOW_RATE_STEP) / hop));
    return Array.from(f0Hz, (f0, k) => ({ f0Hz: f0, periodicity: periodicityOf(confidence[k], this.site.manifest.pitch), loudnessDb: loudness[k] }));
  }
}

/** Put new samples behind those that are kept. */
function shift(kept, fresh) {
  kept.copyWithin(0, fresh.length);
  kept.set(fresh, kept.length - fresh.length);
}
