// In the audio thread: blocks of 20 ms to the worker and back (live), or to the page (recording). It stands alone: worklets import nothing.

const BLOCK = 960; // samples
const TOLD_FRAMES = 12000; // how often the page is told how it goes
const FIRST_MARGIN = 960, MOST_MARGIN = 2880, MARGIN_STEP = 384; // samples between a block's end and the first of its answer
const LATE_IN_A_ROW = 3; // late blocks within two seconds, after which the margin grows
const WINDOW_BLOCKS = 100;

class Recorder extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel) this.port.postMessage(channel.slice());
    return true;
  }
}

class LiveProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    Object.assign(this, { worker: null, ended: false, sound: new Float32Array(BLOCK), low: new Float32Array(BLOCK / 3), filled: 0, third: 0, index: 0 });
    Object.assign(this, { answers: new Map(), played: 0, margin: FIRST_MARGIN, wait: FIRST_MARGIN, late: 0, recentLate: [], at: 0, current: null, peak: 0, peakOut: 0, told: 0 });
    this.port.onmessage = ({ data }) => {
      if (data.end) { this.ended = true; this.worker?.close(); return; }
      this.worker = data.worker;
      this.worker.onmessage = ({ data: answer }) => {
        if (answer.failed) this.port.postMessage(answer);
        else if (answer.index >= this.played) this.answers.set(answer.index, answer.audio);
      };
    };
  }

  process([input], [output]) {
    if (this.ended) return false;
    if (!this.worker) return true;
    const [sound, low] = input, out = output[0];
    for (let i = 0; i < out.length; i++) out[i] = this.step(sound ? sound[i] : 0, low ? low[i] : 0);
    for (let c = 1; c < output.length; c++) output[c].set(out);
    this.told += out.length;
    if (this.told >= TOLD_FRAMES) this.tell();
    return true;
  }

  /** One sample in, one out. */
  step(sound, low) {
    this.peak = Math.max(this.peak, Math.abs(sound));
    this.sound[this.filled] = sound;
    if (this.filled % 3 === 0) this.low[this.filled / 3] = low; // filtered before it came here
    this.filled += 1;
    const value = this.next();
    this.peakOut = Math.max(this.peakOut, Math.abs(value));
    if (this.filled === BLOCK) {
      this.worker.postMessage({ sound: this.sound, low: this.low, index: this.index });
      this.index += 1;
      this.filled = 0;
    }
    return value;
  }

  next() {
    if (this.index === 0) return 0; // nothing was asked yet
    if (this.wait > 0) { this.wait -= 1; return 0; }
    if (this.at === 0) this.begin();
    const value = this.current ? this.current[this.at] : 0;
    this.at += 1;
    if (this.at === BLOCK) { this.at = 0; this.played += 1; }
    return value;
  }

  /** Take up the next answer; where it is late, a block of silence stands for it. */
  begin() {
    this.current = this.answers.get(this.played) ?? null;
    this.answers.delete(this.played);
    if (this.current) return;
    this.late += 1;
    this.recentLate = [...this.recentLate.filter((index) => index > this.played - WINDOW_BLOCKS), this.played];
    if (this.recentLate.length >= LATE_IN_A_ROW && this.margin < MOST_MARGIN) {
      this.margin += MARGIN_STEP;
      this.wait = MARGIN_STEP;
      this.recentLate = [];
    }
  }

  tell() {
    this.port.postMessage({ blocks: this.played, late: this.late, margin: this.margin, peak: this.peak, peakOut: this.peakOut });
    this.told = this.peak = this.peakOut = 0;
  }
}

registerProcessor("tonetransfer-recorder", Recorder);
registerProcessor("tonetransfer-live", LiveProcessor);
