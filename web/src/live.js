// Live playing, in the worker: blocks of 20 ms from the audio worklet, and as many back to it.
//
// The last frame of a block lies 50 ms before the block's end: the pitch network looks ahead, and with 50 of the 176 ms that it would like to
// hear its f0 is within 2 cents of what it says of a recording.

import { FLOOR_DB } from "./adaptation.js";
import { DecayClock } from "./decay.js";
import { LiveAdapter } from "./live_adaptation.js";
import { periodicityOf, readAt } from "./pitch.js";
import { TRACKER_PEAK } from "./transfer.js";
import { turn } from "./turn.js";
import { peakOf } from "./wav.js";

export const BLOCK = 960; // 20 ms at 48 kHz
const FRAME = 480, FRAMES = BLOCK / FRAME, LOW_FRAME = 160; // 10 ms, at 48 and at 16 kHz
const LOOK_AHEAD = 4, LOUDNESS_PAST = 4, PITCH_PAST_HOPS = 6; // heard after the last frame of a block, and before its first
const MOST_AT_ONCE = 3; // blocks: where they wait, several together cost little more than one; older ones get no answer
const WARM_UP_RUNS = 30; // the first runs of WebAssembly are slow
const QUIETEST_PEAK = 0.02, PEAK_KEPT = 0.999; // of the level that the network is given, a block

export class Live {
  constructor(site, port) {
    Object.assign(this, { site, port, waiting: [], working: false, adapter: null, player: null, decay: null, gain: 0, peak: QUIETEST_PEAK });
    this.sound = new Float32Array((LOUDNESS_PAST + MOST_AT_ONCE * FRAMES + LOOK_AHEAD) * FRAME);
    this.low = new Float32Array((MOST_AT_ONCE * FRAMES + LOOK_AHEAD) * LOW_FRAME + PITCH_PAST_HOPS * site.pitch.hopLength);
    port.onmessage = ({ data }) => {
      this.waiting.push(data);
      if (!this.working) this.work().catch((error) => this.fail(error));
    };
  }

  /** Another instrument, octave or effort, from the next block on. */
  async choose(choices) {
    this.site.held = choices.instrument;
    const player = await this.site.player(choices.instrument, { live: true });
    const silence = [440, FLOOR_DB, 0].map((value) => new Array(FRAMES).fill(value));
    for (let run = 0; run < WARM_UP_RUNS; run++) {
      await player.play(...silence);
      if (!this.player) await this.hear(FRAMES); // else it is being done all the time
    }
    Object.assign(this, { player, adapter: new LiveAdapter(player.spec, choices), decay: new DecayClock(this.site.manifest.decay) });
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
      const blocks = this.waiting.splice(0);
      for (const { sound, low } of blocks) {
        shift(this.sound, sound);
        shift(this.low, low);
      }
      if (this.player) await this.answer(blocks.slice(-MOST_AT_ONCE).map(({ index }) => index));
      await turn(); // lets what has come in meanwhile in
    }
    this.working = false;
  }

  /** The answers to the last blocks, by their numbers. */
  async answer(indices) {
    const asked = (await this.hear(indices.length * FRAMES)).map((frame) => this.adapter.frame(frame));
    const loudnessDb = asked.map((one) => one.loudnessDb), decayS = loudnessDb.map((level) => this.decay.next(level));
    const audio = await this.player.play(asked.map((one) => one.f0Hz), loudnessDb, decayS);
    const gain = 10 ** (asked.at(-1).gainDb / 20), step = (gain - (this.gain ||= gain)) / audio.length;
    indices.forEach((index, k) => {
      const part = audio.slice(k * BLOCK, (k + 1) * BLOCK).map((value, i) => value * (this.gain + step * (k * BLOCK + i)));
      this.port.postMessage({ audio: part, index }, [part.buffer]);
    });
    this.gain = gain;
  }

  /** The frames that the last blocks complete. */
  async hear(n) {
    const heard = this.sound.subarray(-(LOUDNESS_PAST + n + LOOK_AHEAD) * FRAME), hop = this.site.pitch.hopLength;
    const loudness = (await this.site.loudness.measure(heard)).subarray(LOUDNESS_PAST, LOUDNESS_PAST + n);
    const recent = (n + LOOK_AHEAD) * LOW_FRAME, low = this.low.subarray(-recent - PITCH_PAST_HOPS * hop);
    this.peak = Math.max(this.peak * PEAK_KEPT, QUIETEST_PEAK, peakOf(low.subarray(-n * LOW_FRAME)));
    const values = await this.site.pitch.detect(low.map((value) => (value * TRACKER_PEAK) / this.peak));
    const { f0Hz, confidence } = readAt(values, Array.from({ length: n }, (_, k) => PITCH_PAST_HOPS + (k * LOW_FRAME) / hop));
    return Array.from(f0Hz, (f0, k) => ({ f0Hz: f0, periodicity: periodicityOf(confidence[k], this.site.manifest.pitch), loudnessDb: loudness[k] }));
  }
}

/** Put new samples behind those that are kept. */
function shift(kept, fresh) {
  kept.copyWithin(0, fresh.length);
  kept.set(fresh, kept.length - fresh.length);
}
