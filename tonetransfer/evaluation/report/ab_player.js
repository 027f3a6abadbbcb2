/* <ab-player>: several takes of one performance under one playhead. A module without dependencies, that can also stand inside a page.
 *
 *   <ab-player label="Hum and violin">
 *     <audio controls preload="none" src="hum.mp3" data-name="Hum" data-role="source"></audio>
 *     <audio controls preload="none" src="violin.mp3" data-name="Violin" data-role="result"></audio>
 *   </ab-player>
 *
 * All takes run together, and only one is let through: to swap them is to cross two gains within 12 ms at the same sample. The <audio>
 * elements are what a reader without JavaScript sees, and what is shown again where files cannot be fetched.
 */

const RATE = 48000; // Hz; all takes are decoded to it
const FADE_S = 0.012; // of a swap: too short to hear, long enough not to click
const LEAD_S = 0.03; // between the decision to play and the first sample, so that all takes begin at the same one
const HEADROOM_DB = 1; // left where levels are matched
const N_FFT = 4096,
  COLUMNS = 480,
  ROWS = 96; // of a spectrogram
const LOWEST_HZ = 50,
  HIGHEST_HZ = 16000,
  RANGE_DB = 75;
const MOST_DECODED = 12; // players that keep their sound decoded; others decode again when they are played
const SHORTEST_LOOP_S = 0.05;
const WAITING =
  "input:not([type=radio]:checked), textarea, select, button, summary, a, audio, video, [contenteditable], " +
  "[role=slider], [role=button], [role=tab], [role=option], [role=switch], [role=menuitem]"; // what has a use of its own for the space bar
const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5];

let context = null; // the page's one AudioContext
let active = null; // the player that was played last
const decoded = new Set();

function output() {
  context ??= new AudioContext();
  return context;
}

/** Bytes behind an address (a data URI is read without asking the network, which a page may forbid), a Blob or an ArrayBuffer. */
async function bytesOf(source) {
  if (source instanceof ArrayBuffer) return source.slice(0);
  if (source instanceof Blob) return source.arrayBuffer();
  const head = /^data:[^,]*;base64,/.exec(source);
  if (head) return Uint8Array.from(atob(source.slice(head[0].length)), (letter) => letter.charCodeAt(0)).buffer;
  const answer = await fetch(source);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.arrayBuffer();
}

async function decode(take) {
  if (take.buffer) return take.buffer;
  if (take.samples) {
    const buffer = new AudioBuffer({ length: Math.max(take.samples.length, 1), numberOfChannels: 1, sampleRate: take.sampleRate || RATE });
    buffer.copyToChannel(take.samples, 0);
    return buffer;
  }
  return new OfflineAudioContext(1, 1, RATE).decodeAudioData(await bytesOf(take.blob || take.src));
}

/** The same sound with silence after it, so that takes of different lengths loop together. */
function padded(buffer, length) {
  if (buffer.length >= length) return buffer;
  const longer = new AudioBuffer({ length, numberOfChannels: buffer.numberOfChannels, sampleRate: buffer.sampleRate });
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) longer.copyToChannel(buffer.getChannelData(channel), channel);
  return longer;
}

/** K-weighted samples (ITU-R BS.1770-4, both filters; coefficients for 48 kHz). */
function weighted(samples) {
  const stages = [
    [1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585],
    [1, -2, 1, -1.99004745483398, 0.99007225036621],
  ];
  let values = samples;
  for (const [b0, b1, b2, a1, a2] of stages) {
    const next = new Float32Array(values.length);
    let x1 = 0,
      x2 = 0,
      y1 = 0,
      y2 = 0;
    for (let n = 0; n < values.length; n++) {
      const x = values[n],
        y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2;
      x2 = x1;
      x1 = x;
      y2 = y1;
      y1 = y;
      next[n] = y;
    }
    values = next;
  }
  return values;
}

/** Integrated loudness [LUFS] with both gates of ITU-R BS.1770-4; -Infinity for silence. */
export function loudness(buffer) {
  const step = Math.round(0.1 * buffer.sampleRate),
    tenths = new Float64Array(Math.max(Math.ceil(buffer.length / step), 1));
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    weighted(buffer.getChannelData(channel)).forEach((value, n) => {
      tenths[Math.floor(n / step)] += value * value;
    });
  }
  const blocks = [];
  for (let k = 0; k + 4 <= tenths.length || k === 0; k++) {
    const sum = tenths.slice(k, k + 4).reduce((a, b) => a + b, 0);
    blocks.push(sum / Math.min(4 * step, buffer.length));
  }
  const level = (mean) => -0.691 + 10 * Math.log10(mean),
    mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const loud = blocks.filter((one) => level(one) > -70);
  if (!loud.length) return -Infinity;
  const gate = level(mean(loud)) - 10;
  return level(mean(loud.filter((one) => level(one) > gate)));
}

function peakOf(buffer) {
  let peak = 1e-9;
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    for (const value of buffer.getChannelData(channel)) peak = Math.max(peak, Math.abs(value));
  }
  return peak;
}

/** Gains that make takes equally loud: as loud as the loudest, or as loud as none of them clips. Silence is left as it is. */
function matchingGains(takes) {
  const heard = takes.filter((take) => take.decoded && Number.isFinite(take.loudness_db));
  if (!heard.length) return takes.map(() => 1);
  const room = heard.map((take) => take.loudness_db - 20 * Math.log10(take.peak) - HEADROOM_DB);
  const goal = Math.min(Math.max(...heard.map((take) => take.loudness_db)), ...room);
  return takes.map((take) => (heard.includes(take) ? 10 ** ((goal - take.loudness_db) / 20) : 1));
}

/** Lowest and highest sample of each of `columns` spans of `seconds`. */
function envelope(buffer, seconds, columns = 900) {
  const samples = buffer.getChannelData(0),
    step = (seconds * buffer.sampleRate) / columns,
    ends = new Float32Array(2 * columns);
  for (let column = 0; column < columns; column++) {
    let low = 0,
      high = 0;
    for (let n = Math.floor(column * step); n < Math.min((column + 1) * step, samples.length); n++) {
      if (samples[n] < low) low = samples[n];
      else if (samples[n] > high) high = samples[n];
    }
    ends[2 * column] = low;
    ends[2 * column + 1] = high;
  }
  return ends;
}

const TWIDDLES = Array.from({ length: N_FFT / 2 }, (_, k) => [Math.cos((2 * Math.PI * k) / N_FFT), -Math.sin((2 * Math.PI * k) / N_FFT)]);
const COSINES = Float64Array.from(TWIDDLES, (one) => one[0]),
  SINES = Float64Array.from(TWIDDLES, (one) => one[1]);
const HANN = Float64Array.from({ length: N_FFT }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / N_FFT));
const REVERSED = Uint16Array.from({ length: N_FFT }, (_, n) => {
  let reversed = 0;
  for (let bit = 0, bits = Math.log2(N_FFT); bit < bits; bit++) reversed |= ((n >> bit) & 1) << (bits - 1 - bit);
  return reversed;
});

/** Fast Fourier transform of N_FFT values that lie in bit-reversed order, in place. */
function transform(real, imaginary) {
  for (let half = 1; half < N_FFT; half *= 2) {
    const stride = N_FFT / (2 * half);
    for (let start = 0; start < N_FFT; start += 2 * half) {
      for (let k = 0; k < half; k++) {
        const c = COSINES[k * stride],
          s = SINES[k * stride],
          low = start + k,
          high = low + half;
        const re = real[high] * c - imaginary[high] * s,
          im = real[high] * s + imaginary[high] * c;
        real[high] = real[low] - re;
        imaginary[high] = imaginary[low] - im;
        real[low] += re;
        imaginary[low] += im;
      }
    }
  }
}

/** Spectrogram [dB re a full-scale sine], ROWS by COLUMNS, octaves equally high, low frequencies last; gives way to the page in between. */
async function spectrogram(buffer, seconds) {
  const samples = buffer.getChannelData(0),
    levels = new Float32Array(ROWS * COLUMNS).fill(-160);
  const edges = Array.from(
    { length: ROWS + 1 },
    (_, row) => (N_FFT / buffer.sampleRate) * LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (row / ROWS),
  );
  const real = new Float64Array(N_FFT),
    imaginary = new Float64Array(N_FFT);
  let pause = performance.now() + 12;
  for (let column = 0; column < COLUMNS; column++) {
    const first = Math.round(((column + 0.5) / COLUMNS) * seconds * buffer.sampleRate) - N_FFT / 2;
    if (first > samples.length) break;
    for (let n = 0; n < N_FFT; n++) real[REVERSED[n]] = HANN[n] * (samples[first + n] || 0);
    imaginary.fill(0);
    transform(real, imaginary);
    for (let row = 0; row < ROWS; row++) {
      let power = 0;
      for (let bin = Math.round(edges[row]); bin <= Math.max(Math.round(edges[row + 1]) - 1, Math.round(edges[row])); bin++) {
        power = Math.max(power, real[bin] ** 2 + imaginary[bin] ** 2);
      }
      levels[(ROWS - 1 - row) * COLUMNS + column] = 10 * Math.log10(power + 1e-16) - 20 * Math.log10(N_FFT / 4);
    }
    if (performance.now() > pause) {
      await new Promise((resolve) => setTimeout(resolve));
      pause = performance.now() + 12;
    }
  }
  return levels;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${((Math.floor(seconds * 10) / 10) % 60).toFixed(1).padStart(4, "0")}`;
const spoken = (seconds) => `${seconds.toFixed(1)} seconds`;
const numbers = (colour) => (colour.match(/[\d.]+/g) || [0, 0, 0]).slice(0, 3).map(Number);

const STYLE = `
:host { display: block; container-type: inline-size; font: 14px/1.4 var(--ab-font, system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif);
  --ink: var(--ab-ink, light-dark(#1d2228, #e8e6e1)); --soft: var(--ab-soft, light-dark(#565f68, #a9b1b8));
  --paper: var(--ab-paper, light-dark(#ffffff, #1c2024)); --ground: var(--ab-ground, light-dark(#f3f1ed, #14171a));
  --rule: var(--ab-rule, light-dark(#d9d5cd, #3a4047)); --accent: var(--ab-accent, light-dark(#a8431f, #ff9c56));
  --on-accent: var(--ab-on-accent, light-dark(#ffffff, #1c1008));
  --source: var(--ab-source, light-dark(#1b6b66, #6cc5be)); --result: var(--ab-result, light-dark(#b2451f, #ff9068));
  --reference: var(--ab-reference, light-dark(#3d6a1e, #9fce74)); --other: var(--ab-other, light-dark(#5b4b9a, #b5a8ee));
  color: var(--ink); --label: 9rem; }
:host([hidden]) { display: none; }
* { box-sizing: border-box; }
.frame { background: var(--paper); border: 1px solid var(--rule); border-radius: 14px; padding: 12px; }
.bar { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 12px; }
.bar .more { margin-left: auto; display: flex; flex-wrap: wrap; align-items: center; gap: 6px 10px; }
button, select { font: inherit; color: var(--ink); background: var(--ground); border: 1px solid var(--rule); border-radius: 9px; min-height: 36px; padding: 4px 11px; cursor: pointer; }
button:hover:not(:disabled), select:hover { border-color: var(--accent); }
button:disabled { opacity: .5; cursor: default; }
button[aria-pressed="true"] { border-color: currentColor; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.play { width: 52px; height: 52px; flex: none; padding: 0; display: grid; place-items: center; border-radius: 50%; border: 0; background: var(--accent); color: var(--on-accent); }
.play:hover:not(:disabled) { filter: brightness(1.08); }
.play svg { width: 22px; height: 22px; fill: currentColor; display: block; }
.time { font-variant-numeric: tabular-nums; white-space: nowrap; color: var(--soft); }
.time b { color: var(--ink); font-weight: 600; }
kbd { font: 11px/1 ui-monospace, Menlo, monospace; border: 1px solid var(--rule); border-radius: 4px; padding: 2px 4px; color: var(--soft); margin-left: 6px; }
.rows { position: relative; margin-top: 10px; }
.row { display: grid; grid-template-columns: var(--label) 1fr; gap: 10px; align-items: stretch; margin-bottom: 6px; --own: var(--other); }
.row[data-role="source"] { --own: var(--source); } .row[data-role="result"] { --own: var(--result); } .row[data-role="reference"] { --own: var(--reference); }
.take { display: flex; flex-direction: column; justify-content: center; align-items: flex-start; gap: 2px; text-align: left; min-width: 0; overflow-wrap: anywhere; border-left: 4px solid var(--own); background: var(--paper); padding: 6px 9px; color: var(--soft); }
.take b { font-weight: 600; } .take small { font-size: 12px; color: var(--soft); }
.take[aria-pressed="true"] { background: var(--ground); color: var(--ink); border-color: var(--own); }
canvas { display: block; width: 100%; border-radius: 8px; background: var(--ground); }
.row:not([data-heard]) canvas { opacity: .6; }
.stage { position: absolute; inset: 0 0 0 calc(var(--label) + 10px); cursor: text; touch-action: pan-y; border-radius: 8px; }
.head { position: absolute; top: 0; bottom: 0; left: 0; width: 2px; margin-left: -1px; background: var(--ink); box-shadow: 0 0 0 1px var(--paper); pointer-events: none; }
.loop { position: absolute; top: 0; bottom: 0; background: color-mix(in srgb, var(--accent) 16%, transparent); border: solid var(--accent); border-width: 0 2px; pointer-events: none; }
.axis { position: relative; height: 1.4em; margin-left: calc(var(--label) + 10px); font-size: 11.5px; color: var(--soft); font-variant-numeric: tabular-nums; }
.axis span { position: absolute; white-space: nowrap; }
.hint { margin: 6px 0 0; font-size: 12.5px; color: var(--soft); }
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.fault { margin: 8px 0 0; color: var(--accent); font-weight: 500; }
:host([compact]) .frame { padding: 8px; border-radius: 12px; } :host([compact]) .play { width: 40px; height: 40px; }
:host([compact]) .hint, :host([compact]) .more, :host([compact]) .axis { display: none; }
:host([compact]) .rows { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 8px; } :host([compact]) .row { display: contents; }
:host([compact]) .take { flex: 1 1 7rem; flex-direction: row; align-items: baseline; justify-content: flex-start; gap: 8px; }
:host([compact]) canvas { order: 1; flex: 1 0 100%; } :host([compact]) .stage { inset: auto 0 0 0; height: 36px; }
:host([compact]) .row:not([data-heard]) canvas { display: none; }
@container (max-width: 34rem) {
  .row { grid-template-columns: 1fr; gap: 2px; } .row .take { flex-direction: row; align-items: baseline; gap: 8px; min-height: 32px; padding: 2px 8px; justify-content: flex-start; }
  .stage { left: 0; pointer-events: none; } .stage:focus-visible { outline-offset: -2px; } .axis { margin-left: 0; } .bar .more { margin-left: 0; } .hint .keys { display: none; }
  canvas { cursor: text; touch-action: pan-y; } .take { position: relative; z-index: 1; } .swap kbd { display: none; }
  .bar .more { gap: 6px; } .more button, .more select, .more label { font-size: 13px; padding-inline: 8px; } .more label { padding: 0; }
}
@media (prefers-reduced-motion: no-preference) { .row canvas { transition: opacity .12s; } }
@media print { .bar, .hint { display: none; } }
`;
const PLAY = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 3.5v17l15-8.500z"/></svg>';
const PAUSE = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 3h5v18H5zM14 3h5v18h-5z"/></svg>';
const FRAME = `<div class="frame" part="frame"><div class="bar" part="bar">
<button class="play" type="button" aria-label="Play">${PLAY}</button>
<button class="swap" type="button">Swap<kbd aria-hidden="true">space</kbd></button>
<span class="time"><b class="now">0:00.0</b> / <span class="all">0:00.0</span></span>
<span class="more"><button class="unloop" type="button" hidden>Loop off</button>
<label>Speed <select class="speed" title="Pitch follows the speed">${SPEEDS.map((one) => `<option value="${one}"${one === 1 ? " selected" : ""}>${one}×</option>`).join("")}</select></label>
<button class="match" type="button" aria-pressed="true" title="Takes are made equally loud (ITU-R BS.1770)">Equal loudness</button>
<button class="view" type="button" aria-pressed="true">Spectrogram</button></span></div>
<div class="rows"><div class="stage" role="slider" tabindex="0" aria-label="Position" aria-valuemin="0" aria-valuemax="0" aria-valuenow="0"><div class="loop" hidden></div><div class="head"></div></div></div>
<div class="axis" aria-hidden="true"></div>
<p class="hint">Click a picture to go there, drag over it to loop<span class="keys">; <kbd>space</kbd> swaps, <kbd>enter</kbd> plays, <kbd>←</kbd><kbd>→</kbd> move</span>. With the speed the pitch changes, too.</p>
<p class="fault" role="alert" hidden></p><span class="said" role="status" aria-live="polite"></span></div><slot hidden></slot>`;

export class ABPlayer extends HTMLElement {
  static observedAttributes = ["label", "view", "compact"];

  #takes = [];
  #selected = 0;
  #gains = [];
  #sources = [];
  #master = null;
  #offset = 0;
  #began = 0;
  #playing = false;
  #loop = null;
  #rate = 1;
  #matched = true;
  #loading = null;
  #generation = 0;
  #frame = 0;
  #observers = [];
  #colours = null;
  #view = "both";

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    root.innerHTML = FRAME;
    this.#connectControls();
  }

  connectedCallback() {
    if (!this.#takes.length) this.#takesFromChildren();
    const resized = new ResizeObserver(() => this.#draw());
    resized.observe(this);
    const seen = new IntersectionObserver(
      (entries) => {
        if (entries.some((one) => one.isIntersecting)) this.load().catch(() => {});
      },
      { rootMargin: "300px" },
    );
    if (this.getAttribute("preload") !== "none") seen.observe(this);
    const themed = new MutationObserver(() => {
      this.#colours = null;
      this.#draw();
    });
    for (const one of [document.documentElement, document.body])
      themed.observe(one, { attributes: true, attributeFilter: ["class", "style", "data-theme", "data-md-color-scheme"] });
    const dark = matchMedia("(prefers-color-scheme: dark)"),
      changed = () => {
        this.#colours = null;
        this.#draw();
      };
    dark.addEventListener("change", changed);
    this.#observers = [resized, seen, themed, { disconnect: () => dark.removeEventListener("change", changed) }];
    this.#build();
  }

  disconnectedCallback() {
    this.pause();
    this.#observers.forEach((one) => one.disconnect());
    decoded.delete(this);
    if (active === this) active = null;
  }

  attributeChangedCallback(name, _before, value) {
    if (name === "view") this.#view = value || "both";
    if (this.isConnected) this.#build();
  }

  // ---- what stands in the player

  /** Takes: `{ name, role, note, src | blob | samples + sampleRate | buffer }`; `role` is "source", "result", "reference" or "other". */
  get takes() {
    return this.#takes.map(({ name, role, note, loudness_db, gain_db }) => ({ name, role, note, loudness_db, gain_db }));
  }

  set takes(takes) {
    this.pause();
    this.#takes = [...takes].map((take) => ({ role: "other", note: "", ...take }));
    this.#selected = Math.min(this.#selected, Math.max(this.#takes.length - 1, 0));
    this.#offset = 0;
    this.#loop = null;
    this.#forget();
  }

  /** Exchange one take and play on where one is. */
  async replace(index, take) {
    const at = this.currentTime,
      playing = this.#playing;
    await decode(take).then((buffer) => {
      take = { ...take, buffer };
    });
    this.#stop();
    this.#takes[index] = { role: "other", note: "", ...take };
    this.#forget();
    await this.load();
    this.currentTime = at;
    if (playing) await this.play();
  }

  /** Decode all takes; done by itself when the player comes into view or is played. */
  load() {
    const generation = this.#generation;
    this.#loading ??= this.#decodeAll(generation).catch((error) => {
      if (generation === this.#generation) {
        this.#loading = null;
        this.#fail(error);
      }
      throw error;
    });
    return this.#loading;
  }

  // ---- how it is played

  get duration() {
    return Math.max(0, ...this.#takes.map((take) => take.seconds || 0));
  }
  get paused() {
    return !this.#playing;
  }
  get selected() {
    return this.#selected;
  }
  set selected(index) {
    this.select(index);
  }
  /** The node through which all sound goes: connect an analyser to it. */
  get output() {
    if (!this.#master) {
      this.#master = new GainNode(output());
      this.#master.connect(output().destination);
    }
    return this.#master;
  }

  get currentTime() {
    if (!this.#playing) return this.#offset;
    const passed = Math.max(context.currentTime - this.#began, 0) * this.#rate,
      time = this.#offset + passed;
    if (!this.#loop) return Math.min(time, this.duration);
    const [from, to] = this.#loop;
    return time < to ? time : from + ((time - from) % (to - from));
  }

  set currentTime(seconds) {
    this.#offset = Math.min(Math.max(Number(seconds) || 0, 0), this.duration);
    if (this.#loop && (this.#offset < this.#loop[0] || this.#offset >= this.#loop[1])) this.#offset = this.#loop[0];
    if (this.#playing) this.#restart(this.#offset);
    this.#showTime();
  }

  async play() {
    await this.load();
    if (this.#playing || !this.duration) return;
    if (output().state !== "running") await output().resume();
    if (this.#playing) return;
    if (active && active !== this) active.pause();
    for (const one of document.querySelectorAll("audio, video")) one.pause();
    active = this;
    this.#playing = true;
    if (this.#offset >= this.duration - 0.01) this.#offset = 0;
    this.#restart(this.#offset);
    this.#showState();
    this.#emit("ab-play");
    this.#tick();
  }

  pause() {
    if (!this.#playing) return;
    this.#offset = this.currentTime;
    this.#stop();
    this.#showState();
    this.#showTime();
    this.#emit("ab-pause", { ended: false });
  }

  /** Bring the keys to the pictures, where the space bar swaps. */
  focus(options) {
    this.#part("stage").focus({ preventScroll: true, ...options });
  }

  toggle() {
    return this.#playing ? this.pause() : this.play();
  }

  /** Let another take be heard, at the instant where one is. */
  select(index) {
    if (!this.#takes[index] || index === this.#selected) return;
    this.#selected = index;
    this.#setGains(FADE_S);
    this.#showSelected();
    this.shadowRoot.querySelector(".said").textContent = `Now: ${this.#takes[index].name}`;
    this.#emit("ab-select");
  }

  swap() {
    this.select((this.#selected + 1) % Math.max(this.#takes.length, 1));
  }

  get loop() {
    return this.#loop && [...this.#loop];
  }
  /** Span that is repeated, `[from, to]` in seconds, or null. */
  set loop(span) {
    const at = this.currentTime;
    const [from, to] = span ? [Math.max(Math.min(...span), 0), Math.min(Math.max(...span), this.duration)] : [0, 0];
    this.#loop = to - from >= SHORTEST_LOOP_S ? [from, to] : null;
    this.currentTime = at;
    this.#showLoop();
    this.#emit("ab-loop");
  }

  get rate() {
    return this.#rate;
  }
  /** Speed; pitch follows it. */
  set rate(rate) {
    const at = this.currentTime;
    this.#rate = Math.min(Math.max(Number(rate) || 1, 0.25), 4);
    this.shadowRoot.querySelector(".speed").value = String(this.#rate);
    this.currentTime = at;
  }

  get matched() {
    return this.#matched;
  }
  set matched(on) {
    this.#matched = Boolean(on);
    this.#setGains(0.05);
    this.shadowRoot.querySelector(".match").setAttribute("aria-pressed", String(this.#matched));
    this.#draw();
  }

  // ---- sound

  #takesFromChildren() {
    this.#takes = [...this.querySelectorAll(":scope > audio")].map((one) => ({
      name: one.dataset.name || one.getAttribute("aria-label") || "Take",
      role: one.dataset.role || "other",
      note: one.dataset.note || "",
      src: one.getAttribute("src"),
    }));
    this.#forget();
  }

  #forget() {
    this.#generation += 1;
    this.#loading = null;
    decoded.delete(this);
    this.shadowRoot.querySelector(".fault").hidden = true;
    if (this.isConnected) {
      this.#build();
      if (this.getAttribute("preload") !== "none") this.load().catch(() => {});
    }
  }

  async #decodeAll(generation) {
    const takes = this.#takes.filter((take) => take.src || take.blob || take.samples || take.buffer);
    const buffers = await Promise.all(takes.map(decode));
    if (generation !== this.#generation) return;
    const length = Math.max(1, ...buffers.map((one) => one.length));
    takes.forEach((take, k) => {
      take.seconds = buffers[k].duration;
      take.loudness_db ??= loudness(buffers[k]);
      take.peak ??= peakOf(buffers[k]);
      take.decoded = padded(buffers[k], length);
    });
    matchingGains(this.#takes).forEach((gain, k) => {
      this.#takes[k].gain_db = 20 * Math.log10(gain);
    });
    decoded.delete(this);
    decoded.add(this);
    for (const other of decoded) {
      if (decoded.size <= MOST_DECODED) break;
      if (other !== this && other.paused) other.#release();
    }
    this.#showState();
    this.#showTime();
    this.#showAxis();
    this.#draw();
    this.#emit("ab-ready");
    this.#drawSpectrograms(generation);
  }

  /** Forget decoded sound, and keep its pictures. */
  #release() {
    this.#loading = null;
    this.#takes.forEach((take) => {
      take.decoded = null;
    });
    decoded.delete(this);
  }

  async #drawSpectrograms(generation) {
    for (const take of [this.#takes[this.#selected], ...this.#takes]) {
      if (!take?.decoded || take.levels || this.#view === "wave" || this.hasAttribute("compact")) continue;
      const levels = await spectrogram(take.decoded, this.duration);
      if (generation !== this.#generation) return;
      take.levels = levels;
      this.#draw();
    }
  }

  #gainOf(index) {
    const matched = this.#matched ? 10 ** ((this.#takes[index].gain_db || 0) / 20) : 1;
    return index === this.#selected ? matched : 0;
  }

  #setGains(seconds) {
    const now = context ? context.currentTime : 0;
    this.#gains.forEach((gain, index) => {
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(gain.gain.value, now);
      gain.gain.linearRampToValueAtTime(this.#gainOf(index), now + seconds);
    });
  }

  #restart(from) {
    this.#silence();
    const sound = output(),
      when = sound.currentTime + LEAD_S;
    this.#gains = this.#takes.map((_, index) => {
      const gain = new GainNode(sound, { gain: from > 0 ? 0 : this.#gainOf(index) });
      gain.gain.setValueAtTime(gain.gain.value, when);
      gain.gain.linearRampToValueAtTime(this.#gainOf(index), when + FADE_S);
      return gain;
    });
    this.#sources = this.#takes.map((take, index) => {
      const source = new AudioBufferSourceNode(sound, { buffer: take.decoded || null, playbackRate: this.#rate });
      if (this.#loop) Object.assign(source, { loop: true, loopStart: this.#loop[0], loopEnd: this.#loop[1] });
      source.connect(this.#gains[index]).connect(this.output);
      source.start(when, from);
      return source;
    });
    const longest = this.#takes.findIndex((take) => take.decoded);
    if (longest >= 0)
      this.#sources[longest].onended = (event) => {
        if (event.target === this.#sources[longest]) this.#end();
      };
    this.#offset = from;
    this.#began = when + (sound.outputLatency || 0);
  }

  #silence() {
    const now = context ? context.currentTime : 0;
    this.#sources.forEach((source, index) => {
      source.onended = null;
      this.#gains[index].gain.setTargetAtTime(0, now, FADE_S / 4);
      source.stop(now + 2 * FADE_S);
    });
    this.#sources = [];
    this.#gains = [];
  }

  #stop() {
    this.#silence();
    this.#playing = false;
    cancelAnimationFrame(this.#frame);
  }

  #end() {
    this.#stop();
    this.#offset = 0;
    this.#showState();
    this.#showTime();
    this.#emit("ab-pause", { ended: true });
  }

  #tick() {
    this.#showTime();
    if (this.#playing) this.#frame = requestAnimationFrame(() => this.#tick());
  }

  #emit(name, more = {}) {
    const detail = { time: this.currentTime, duration: this.duration, selected: this.#selected, loop: this.loop, ...more };
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail }));
  }

  #fail(error) {
    const note = this.shadowRoot.querySelector(".fault");
    note.textContent = `This cannot be played here: ${error.message || error}.`;
    note.hidden = false;
    this.shadowRoot.querySelector("slot").hidden = false;
    this.#emit("ab-error", { message: note.textContent });
  }

  // ---- what is seen

  #part(name) {
    return this.shadowRoot.querySelector(`.${name}`);
  }

  #build() {
    const rows = this.#part("rows");
    rows.querySelectorAll(".row").forEach((one) => one.remove());
    this.#takes.forEach((take, index) => {
      const row = document.createElement("div");
      row.className = "row";
      row.dataset.role = take.role;
      row.innerHTML = '<button class="take" type="button"><b></b><small></small></button><canvas aria-hidden="true"></canvas>';
      row.querySelector("b").textContent = `${String.fromCharCode(65 + (index % 26))}  ${take.name}`;
      row.querySelector("small").textContent = take.note;
      row.querySelector("button").addEventListener("click", () => this.select(index));
      rows.insertBefore(row, this.#part("stage"));
    });
    this.#part("swap").hidden = this.#takes.length < 2;
    this.#part("match").hidden = this.#takes.length < 2;
    this.#part("view").hidden = this.hasAttribute("view");
    this.#part("stage").setAttribute("aria-label", `Position in ${this.getAttribute("label") || "the recording"}`);
    this.#showState();
    this.#showSelected();
    this.#showLoop();
    this.#showAxis();
  }

  #showState() {
    const play = this.#part("play"),
      told = this.#playing ? "Pause" : "Play";
    play.disabled = !this.#takes.some((take) => take.src || take.blob || take.samples || take.buffer);
    if (play.getAttribute("aria-label") !== told) {
      play.setAttribute("aria-label", told);
      play.innerHTML = this.#playing ? PAUSE : PLAY;
    }
    this.toggleAttribute("playing", this.#playing);
  }

  #showSelected() {
    this.shadowRoot.querySelectorAll(".row").forEach((row, index) => {
      row.toggleAttribute("data-heard", index === this.#selected);
      row.querySelector("button").setAttribute("aria-pressed", String(index === this.#selected));
    });
    this.#draw();
    this.#showTime();
  }

  #showTime() {
    const time = this.currentTime,
      duration = this.duration,
      stage = this.#part("stage");
    this.#part("now").textContent = clock(time);
    this.#part("all").textContent = clock(duration);
    this.#part("head").style.left = `${duration ? (100 * time) / duration : 0}%`;
    stage.setAttribute("aria-valuemax", duration.toFixed(1));
    stage.setAttribute("aria-valuenow", time.toFixed(1));
    stage.setAttribute(
      "aria-valuetext",
      `${spoken(time)} of ${spoken(duration)}, ${this.#takes[this.#selected]?.name || "nothing"} is heard`,
    );
    this.#emit("ab-time");
  }

  #showLoop() {
    const box = this.#part("loop"),
      [from, to] = this.#loop || [0, 0];
    box.hidden = this.#part("unloop").hidden = !this.#loop;
    box.style.left = `${(100 * from) / (this.duration || 1)}%`;
    box.style.width = `${(100 * (to - from)) / (this.duration || 1)}%`;
  }

  #showAxis() {
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120].find((one) => this.duration / one <= 6) || 300,
      marks = [];
    for (let time = 0; time < 0.96 * this.duration; time += step) marks.push(time);
    this.#part("axis").replaceChildren(
      ...marks.map((time) => {
        const mark = document.createElement("span");
        mark.textContent = `${+time.toFixed(1)} s`;
        mark.style.left = `${(100 * time) / this.duration}%`; // not in the markup: a page may forbid styles there
        return mark;
      }),
    );
  }

  #palette() {
    if (this.#colours) return this.#colours;
    const probe = document.createElement("i"),
      colour = (name) => {
        probe.style.color = `var(--${name})`;
        return getComputedStyle(probe).color;
      };
    this.shadowRoot.append(probe);
    this.#colours = Object.fromEntries(["ink", "ground", "source", "result", "reference", "other"].map((name) => [name, colour(name)]));
    probe.remove();
    this.#takes.forEach((take) => {
      take.picture = null;
    });
    return this.#colours;
  }

  #draw() {
    if (!this.isConnected) return;
    this.shadowRoot.querySelectorAll(".row").forEach((row, index) => this.#drawRow(row.querySelector("canvas"), this.#takes[index]));
  }

  #drawRow(canvas, take) {
    const both = this.#view === "both" && !this.hasAttribute("compact"),
      tall = this.hasAttribute("compact") ? 36 : 44;
    const wave = this.#view === "spectrogram" ? 0 : tall,
      height = wave + (both || this.#view === "spectrogram" ? 76 : 0);
    const width = canvas.clientWidth,
      ratio = Math.min(devicePixelRatio || 1, 2),
      colours = this.#palette();
    canvas.style.height = `${height}px`;
    if (!width || !take) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d"),
      own = colours[take.role] || colours.other,
      gain = this.#matched ? 10 ** ((take.gain_db || 0) / 20) : 1;
    pen.scale(ratio, ratio);
    if (take.decoded) take.ends = take.endsOf === this.duration ? take.ends : envelope(take.decoded, this.duration);
    take.endsOf = this.duration;
    if (wave && take.ends) {
      pen.fillStyle = own;
      const columns = take.ends.length / 2,
        middle = wave / 2 - 0.3,
        scale = (0.5 * wave * gain) / Math.max(...this.#takes.map((one) => this.#shownPeak(one)));
      pen.beginPath();
      for (let column = 0; column < columns; column++) pen.lineTo((column * width) / columns, middle - take.ends[2 * column + 1] * scale);
      for (let column = columns - 1; column >= 0; column--)
        pen.lineTo((column * width) / columns, middle + 0.6 - take.ends[2 * column] * scale);
      pen.fill();
    }
    if (height > wave && take.levels) pen.drawImage(this.#picture(take, colours, own, gain), 0, wave, width, height - wave);
  }

  #shownPeak(take) {
    return Math.max((take.peak || 0) * (this.#matched ? 10 ** ((take.gain_db || 0) / 20) : 1), 1e-6);
  }

  /** The spectrogram in the take's own colour: paper where there is nothing, ink where it is loudest. */
  #picture(take, colours, own, gain) {
    const top = Math.max(
      ...this.#takes
        .filter((one) => one.levels)
        .map((one) => {
          one.top ??= one.levels.reduce((a, b) => Math.max(a, b), -160);
          return one.top + (this.#matched ? one.gain_db || 0 : 0);
        }),
    );
    const key = `${top.toFixed(1)} ${gain.toFixed(4)} ${own}`;
    if (take.picture && take.pictureKey === key) return take.picture;
    const stops = [numbers(colours.ground), numbers(own), numbers(colours.ink)],
      picture = new OffscreenCanvas(COLUMNS, ROWS);
    const image = new ImageData(COLUMNS, ROWS),
      floor = top - RANGE_DB - 20 * Math.log10(gain);
    take.levels.forEach((level, n) => {
      const share = Math.min(Math.max((level - floor) / RANGE_DB, 0), 1),
        place = share < 0.7 ? share / 0.7 : 1 + (share - 0.7) / 0.3;
      const from = stops[Math.min(Math.floor(place), 1)],
        to = stops[Math.min(Math.floor(place), 1) + 1],
        part = place - Math.min(Math.floor(place), 1);
      for (let k = 0; k < 3; k++) image.data[4 * n + k] = from[k] + (to[k] - from[k]) * part;
      image.data[4 * n + 3] = 255;
    });
    picture.getContext("2d").putImageData(image, 0, 0);
    take.picture = picture;
    take.pictureKey = key;
    return picture;
  }

  // ---- what is pressed

  #connectControls() {
    const on = (name, kind, act) => this.#part(name).addEventListener(kind, act);
    on("play", "click", (event) => {
      this.toggle();
      if (event.detail) this.#part("stage").focus({ preventScroll: true });
    });
    on("swap", "click", () => this.swap());
    on("unloop", "click", () => {
      this.loop = null;
      this.#part("stage").focus({ preventScroll: true });
    });
    on("match", "click", () => {
      this.matched = !this.matched;
    });
    on("speed", "change", (event) => {
      this.rate = event.target.value;
    });
    on("view", "click", (event) => {
      this.#view = this.#view === "both" ? "wave" : "both";
      event.currentTarget.setAttribute("aria-pressed", String(this.#view === "both"));
      this.#draw();
      this.#drawSpectrograms(this.#generation);
    });
    on("stage", "keydown", (event) => this.#press(event));
    this.#part("rows").addEventListener("pointerdown", (event) => this.#drag(event));
  }

  #press(event) {
    const step = event.shiftKey ? 5 : 1,
      number = Number(event.key);
    const acts = {
      " ": () => this.swap(),
      Enter: () => this.toggle(),
      ArrowRight: () => {
        this.currentTime += step;
      },
      ArrowLeft: () => {
        this.currentTime -= step;
      },
      ArrowUp: () => {
        this.currentTime += step;
      },
      ArrowDown: () => {
        this.currentTime -= step;
      },
      Home: () => {
        this.currentTime = 0;
      },
      End: () => {
        this.currentTime = this.duration;
      },
      Escape: () => {
        this.loop = null;
      },
      "[": () => {
        this.loop = [this.currentTime, this.#loop ? this.#loop[1] : this.duration];
      },
      "]": () => {
        this.loop = [this.#loop ? this.#loop[0] : 0, this.currentTime];
      },
    };
    const act = acts[event.key] || (number >= 1 && number <= this.#takes.length ? () => this.select(number - 1) : null);
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  #drag(event) {
    if (event.target.closest("button") || event.button > 0 || !this.duration) return;
    const stage = this.#part("stage"),
      box = stage.getBoundingClientRect();
    const time = (one) => Math.min(Math.max((one.clientX - box.left) / box.width, 0), 1) * this.duration;
    const begin = time(event),
      near = (8 / box.width) * this.duration;
    const fixed = this.#loop && [1, 0].map((k) => [this.#loop[k], this.#loop[1 - k]]).find(([, end]) => Math.abs(end - begin) < near)?.[0];
    const move = (one) => {
      if (Math.abs(one.clientX - event.clientX) > 5) this.loop = [fixed ?? begin, time(one)];
    };
    const lift = (one) => {
      for (const kind of ["pointermove", "pointerup", "pointercancel"])
        window.removeEventListener(kind, kind === "pointermove" ? move : lift);
      if (one.type === "pointercancel" || Math.abs(one.clientX - event.clientX) > 5) return;
      const rows = [...this.shadowRoot.querySelectorAll(".row")],
        hit = rows.findIndex((row) => one.clientY <= row.getBoundingClientRect().bottom);
      if (hit >= 0) this.select(hit);
      if (this.#loop && (begin < this.#loop[0] || begin > this.#loop[1])) this.loop = null;
      this.currentTime = begin;
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", lift);
    window.addEventListener("pointercancel", lift);
    stage.focus({ preventScroll: true });
  }
}

if (!customElements.get("ab-player")) {
  customElements.define("ab-player", ABPlayer);
  // Where nothing else waits for a key, the space bar swaps what was played last.
  document.addEventListener("keydown", (event) => {
    const waits = event.composedPath()[0]?.closest?.(WAITING);
    if (event.key !== " " || waits || !active || active.paused || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    active.swap();
  });
  document.addEventListener("play", () => active?.pause(), true); // one sound at a time
  // Browsers let a page sound only after a gesture; from the first one on, what comes later may be played by itself.
  for (const kind of ["pointerdown", "keydown"]) {
    document.addEventListener(
      kind,
      () => {
        if (output().state === "suspended") output().resume();
      },
      { once: true, capture: true },
    );
  }
}
