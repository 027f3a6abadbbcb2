/* <tt-recorder>: a round button that records, with level, count-in and trim. What it gives is a WAV file: no format of a browser's is needed.
 *
 * Event `tt-recorded` (detail: { file, blob }) when something was recorded or cut; `recorder.offer(blob, name)` gives it a recording to cut.
 */

import { inks } from "./roll.js";

const RATE = 48000;
const LONGEST_S = 300;
const COUNTS = 3,
  BEAT_S = 0.6;
const PROCESSOR = `registerProcessor("tt-keep", class extends AudioWorkletProcessor {
  process([input]) { if (input.length) this.port.postMessage(input[0].slice()); return true; } });`;
const SHAPE =
  '<svg viewBox="0 0 24 24" aria-hidden="true"><path class="tt-mic" d="M12 2.500a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0v-6a3 3 0 0 1 3-3zM6 11.500a6 6 0 0 0 12 0M12 17.500v4M8.500 21.500h7"/><rect class="tt-square" x="7" y="7" width="10" height="10" rx="1.5"/></svg>';

/** Samples (mono) as a WAV file of 16 bits. */
export function wav(samples, rate, name) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const word = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, value))), true));
  return new File([view.buffer], name, { type: "audio/wav" });
}

/** Mono samples of a file, at 48 kHz. */
export async function decoded(blob) {
  const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer()),
    mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, i) => {
      mono[i] += value / sound.numberOfChannels;
    });
  }
  return mono;
}

export class Recorder extends HTMLElement {
  #context = null;
  #stream = null;
  #chunks = [];
  #state = "idle";
  #level = 0;
  #count = 0;
  #samples = null;
  #name = "";
  #playing = null;

  connectedCallback() {
    if (this.firstChild) return;
    this.innerHTML = `<div class="tt-record-row"><button type="button" class="tt-record" aria-label="Record">${SHAPE}</button>
      <div class="tt-record-told"><strong class="tt-record-state">Record</strong><span class="tt-hint tt-record-hint">Hum, sing, whistle or play: one note at a time</span>
      <span class="tt-level" hidden><meter min="0" max="1" low="0.02" high="0.95" optimum="0.5" value="0" aria-label="Level"></meter></span>
      <label class="tt-check"><input type="checkbox" class="tt-count" checked> count in</label></div></div>
      <p class="tt-error" role="alert" hidden></p>
      <details class="tt-trim" hidden><summary>Trim</summary><canvas aria-hidden="true"></canvas>
      <label>Begin <input type="range" class="tt-begin" min="0" max="1" step="0.001" value="0"></label><label>End <input type="range" class="tt-end" min="0" max="1" step="0.001" value="1"></label>
      <div class="tt-row"><span class="tt-trim-told"></span><button type="button" data-act="listen">Listen</button><button type="button" data-act="cut">Keep this part</button></div></details>`;
    this.querySelector(".tt-record").addEventListener("click", () => this.toggle());
    this.querySelector(".tt-trim").addEventListener("toggle", () => this.#drawTrim());
    for (const name of [".tt-begin", ".tt-end"]) this.querySelector(name).addEventListener("input", () => this.#drawTrim());
    this.querySelector("[data-act=cut]").addEventListener("click", () => this.#cut());
    this.querySelector("[data-act=listen]").addEventListener("click", () => this.#listen());
  }

  get recording() {
    return this.#state === "recording";
  }

  /** Begin, or end what was begun. */
  async toggle() {
    if (this.#state === "recording") return this.#finish();
    if (this.#state === "counting" || this.#state === "asking") return this.#close("idle");
    this.#fail("");
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      this.#askForFile();
      return undefined;
    }
    this.#setState("asking");
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
      await this.#listenIn();
      if (this.#state === "asking") await this.#countIn();
    } catch (error) {
      this.#close("idle");
      const denied = error.name === "NotAllowedError",
        none = error.name === "NotFoundError";
      this.#fail(
        denied
          ? "The browser was not allowed to use the microphone: allow it beside the address, or upload a file."
          : none
            ? "No microphone was found: connect one, or upload a file."
            : `Recording did not work: ${error.message}.`,
      );
    }
    return undefined;
  }

  /** Without https a browser records nothing itself; a telephone's own recorder may be asked. */
  #askForFile() {
    const field = Object.assign(document.createElement("input"), { type: "file", accept: "audio/*", capture: "user" });
    field.addEventListener("change", () => {
      if (field.files[0]) this.#give(field.files[0]);
    });
    this.#fail("This browser records only on its own computer or over https: choose a recording instead.");
    field.click();
  }

  /** Give it a recording that can be cut. */
  async offer(blob, name) {
    this.#samples = null;
    this.querySelector(".tt-trim").hidden = true;
    let samples = null;
    try {
      samples = await decoded(blob);
    } catch {
      return;
    } // a format that only the server reads is not cut here
    this.#samples = samples;
    this.#name = name;
    this.querySelector(".tt-begin").value = 0;
    this.querySelector(".tt-end").value = 1;
    this.querySelector(".tt-trim").hidden = false;
    this.#drawTrim();
  }

  async #listenIn() {
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(URL.createObjectURL(new Blob([PROCESSOR], { type: "text/javascript" })));
    const keep = new AudioWorkletNode(this.#context, "tt-keep");
    this.#context.createMediaStreamSource(this.#stream).connect(keep);
    keep.port.onmessage = ({ data }) => {
      let peak = 0;
      for (const value of data) peak = Math.max(peak, Math.abs(value));
      this.#level = Math.max(peak, 0.93 * this.#level);
      if (this.#state !== "recording") return;
      this.#chunks.push(data);
      if (this.#seconds() >= LONGEST_S) this.#finish();
    };
    this.#watch();
  }

  async #countIn() {
    if (this.querySelector(".tt-count").checked) {
      this.#setState("counting");
      for (this.#count = COUNTS; this.#count > 0; this.#count--) {
        this.#click();
        this.#showState();
        await new Promise((resolve) => setTimeout(resolve, 1000 * BEAT_S));
        if (this.#state !== "counting") return;
      }
    }
    this.#chunks = [];
    this.#setState("recording");
  }

  #click() {
    const tone = new OscillatorNode(this.#context, { frequency: this.#count === 1 ? 1320 : 880 }),
      gain = new GainNode(this.#context, { gain: 0.15 });
    tone.connect(gain).connect(this.#context.destination);
    gain.gain.setTargetAtTime(0, this.#context.currentTime + 0.03, 0.02);
    tone.start();
    tone.stop(this.#context.currentTime + 0.2);
  }

  #seconds() {
    return this.#chunks.reduce((sum, one) => sum + one.length, 0) / this.#context.sampleRate;
  }

  #finish() {
    const rate = this.#context.sampleRate,
      samples = new Float32Array(this.#chunks.reduce((sum, one) => sum + one.length, 0));
    let at = 0;
    for (const one of this.#chunks) {
      samples.set(one, at);
      at += one.length;
    }
    this.#close("idle");
    if (samples.length < 0.2 * rate) {
      this.#fail("That was too short; press the button again when you have finished.");
      return;
    }
    if (!samples.some((value) => Math.abs(value) > 1e-4)) {
      this.#fail("Nothing came from the microphone: is it muted, or another one chosen?");
      return;
    }
    const time = new Date(),
      name = `recording ${time.getHours()}.${String(time.getMinutes()).padStart(2, "0")}.${String(time.getSeconds()).padStart(2, "0")}.wav`;
    this.#give(wav(samples, rate, name));
  }

  #give(file) {
    this.dispatchEvent(new CustomEvent("tt-recorded", { bubbles: true, detail: { file } }));
  }

  #close(state) {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#context?.close();
    this.#stream = this.#context = null;
    this.#setState(state);
  }

  #watch() {
    if (!this.#context) return;
    this.querySelector("meter").value = Math.min(this.#level, 1);
    this.querySelector(".tt-record").style.setProperty("--level", Math.min(this.#level, 1).toFixed(3));
    if (this.#state === "recording") this.querySelector(".tt-record-state").textContent = `Recording, ${this.#seconds().toFixed(1)} s`;
    requestAnimationFrame(() => this.#watch());
  }

  #setState(state) {
    this.#state = state;
    this.#showState();
  }

  #showState() {
    const told = { idle: "Record", asking: "Allow the microphone …", counting: String(this.#count), recording: "Recording" }[this.#state];
    this.dataset.state = this.#state;
    this.querySelector(".tt-record-state").textContent = told;
    this.querySelector(".tt-record").setAttribute(
      "aria-label",
      { idle: "Record", asking: "Cancel", counting: "Cancel", recording: "Stop recording" }[this.#state],
    );
    this.querySelector(".tt-level").hidden = this.#state === "idle";
    this.querySelector(".tt-record-hint").hidden = this.#state !== "idle";
  }

  #fail(text) {
    const note = this.querySelector(".tt-error");
    note.textContent = text;
    note.hidden = !text;
  }

  // ---- trim

  #span() {
    const [begin, end] = [".tt-begin", ".tt-end"].map((name) => +this.querySelector(name).value);
    return [Math.min(begin, end), Math.max(begin, end)].map((share) => Math.round(share * this.#samples.length));
  }

  #drawTrim() {
    const canvas = this.querySelector("canvas"),
      width = canvas.clientWidth;
    if (!this.#samples || !width) return;
    const [first, last] = this.#span(),
      pen = canvas.getContext("2d"),
      height = 56,
      step = this.#samples.length / width,
      colours = inks(this, ["source", "rule"]);
    canvas.width = width;
    canvas.height = height;
    let top = 1e-4;
    for (const value of this.#samples) top = Math.max(top, Math.abs(value));
    for (let column = 0; column < width; column++) {
      let peak = 0;
      for (let n = Math.floor(column * step); n < (column + 1) * step && n < this.#samples.length; n += 8)
        peak = Math.max(peak, Math.abs(this.#samples[n]));
      const inside = column * step >= first && column * step <= last;
      pen.fillStyle = inside ? colours.source : colours.rule;
      pen.fillRect(column, height / 2 - Math.max(((peak / top) * height) / 2, 0.5), 1, Math.max((peak / top) * height, 1));
    }
    this.querySelector(".tt-trim-told").textContent = `${(first / RATE).toFixed(2)} to ${(last / RATE).toFixed(2)} s`;
  }

  #cut() {
    const [first, last] = this.#span();
    if (last - first < 0.1 * RATE) {
      this.#fail("Less than a tenth of a second would be left; move the ends apart.");
      return;
    }
    this.#playing?.stop();
    this.#fail("");
    this.querySelector(".tt-trim").open = false;
    this.#give(wav(this.#samples.subarray(first, last), RATE, `${this.#name.replace(/\.[^.]*$/, "").replace(/ \(cut\)$/, "")} (cut).wav`));
  }

  #listen() {
    const [first, last] = this.#span(),
      context = new AudioContext(),
      buffer = new AudioBuffer({ length: Math.max(last - first, 1), sampleRate: RATE });
    this.#playing?.stop();
    buffer.copyToChannel(this.#samples.subarray(first, last), 0);
    this.#playing = new AudioBufferSourceNode(context, { buffer });
    this.#playing.connect(context.destination);
    this.#playing.onended = () => context.close();
    this.#playing.start();
  }
}

customElements.define("tt-recorder", Recorder);
