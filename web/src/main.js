// The page: what is recorded, who plays it and how, what is heard.

import "../../tonetransfer/evaluation/report/ab_player.js";
import flute from "../../demo/examples/flute.mp3?url";
import hum from "../../demo/examples/hum.mp3?url";
import whistle from "../../demo/examples/whistle.mp3?url";
import { DYNAMICS_DB } from "./adaptation.js";
import { Backend, Refused, Stopped } from "./backend.js";
import { drawing, element, fillPicker } from "./cards.js";
import { LiveSession, Problem, Recorder, SAMPLE_RATE, decodeFile, toLowRate } from "./sound.js";
import { peakOf, wavOf } from "./wav.js";

const EXAMPLES = { Hum: hum, Whistle: whistle, Flute: flute };
const OCTAVES = [["Auto", "auto"], ["−1", "-12"], ["As played", "0"], ["+1", "12"]];
const EFFORTS = [["Auto", ""], ...Object.keys(DYNAMICS_DB).map((marking) => [marking, marking])];
const LONGEST_S = 1200, SHORTEST_S = 0.2, AT_ONCE_S = 60; // recordings up to the last are played as soon as anything is chosen
const MOST_THREADS = 4;
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]; // a module that uses it

const $ = (id) => document.getElementById(id);
const state = { backend: null, manifest: null, recorder: null, source: null, shown: null, working: false, turn: 0, live: null, downloads: null };

const say = (text) => { $("status").textContent = text; };
function trouble(error) {
  if (!error || error instanceof Stopped) { $("trouble").hidden = true; return; }
  const plain = error instanceof Problem || error instanceof Refused;
  $("trouble").textContent = plain ? error.message : `Something went wrong: ${error.message}. Reload the page to begin again.`;
  $("trouble").hidden = false;
  if (!plain) console.error(error);
}

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value ?? "";
function choices() {
  const octave = chosen("octave");
  return { instrument: chosen("instrument"), transpose: octave === "auto" ? "auto" : Number(octave), dynamic: chosen("effort") || null };
}
const instrumentOf = (name) => state.manifest.instruments.find((one) => one.name === name);
const spoken = (seconds) => (seconds < 60 ? `${Math.max(Math.ceil(seconds), 1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`);

function segments(id, options) {
  $(id).replaceChildren(...options.map(([text, value], i) => element("label", {}, element("input", { type: "radio", name: id, value, checked: i === 0 }), text)));
}

function refresh() {
  $("go").disabled = !state.manifest || !state.source || state.working || Boolean(state.recorder);
  $("live").disabled = !state.manifest;
  $("stop").hidden = $("working").hidden = !state.working;
  if (state.manifest) $("go").textContent = `Transfer to ${chosen("instrument").replaceAll("_", " ")}`;
}

// ---- the recording

async function take(audio, name, blob) {
  const seconds = audio.length / SAMPLE_RATE;
  if (seconds < SHORTEST_S) throw new Problem(`${name} is too short: a second or more is wanted.`);
  if (seconds > LONGEST_S) throw new Problem(`${name} lasts ${spoken(seconds)}: up to ${LONGEST_S / 60} minutes fit into a page. Cut it, and play the parts.`);
  if (peakOf(audio) === 0) throw new Problem(`${name} is silent. Check the microphone's level, or take another file.`);
  const audio16k = await toLowRate(audio), buffers = [audio.buffer, audio16k.buffer];
  state.source = { name, blob, seconds };
  await state.backend.ask("recording", { audio, audio16k }, buffers);
  $("source").textContent = `${name}, ${seconds < 60 ? `${seconds.toFixed(1)} s` : spoken(seconds)}`;
  $("drop").classList.add("full");
  say(`${name} is ready to be played.`);
}

const isShort = () => state.source && state.source.seconds <= AT_ONCE_S;

/** Takes a recording; whatever is wrong with it is told in words. */
async function receive(reading) {
  trouble(null);
  try {
    await backendReady;
    await take(...(await reading()));
    if (isShort()) play();
  } catch (error) {
    trouble(error);
  }
  refresh();
}

const receiveFile = (file) => receive(async () => [await decodeFile(file, file.name), file.name, file]);

async function record() {
  trouble(null);
  const button = $("record"), pressed = (on) => { button.setAttribute("aria-pressed", on); button.setAttribute("aria-label", on ? "Stop recording" : "Record"); };
  if (state.recorder) {
    const recorder = state.recorder;
    state.recorder = null;
    pressed(false);
    button.style.setProperty("--level", 0);
    return receive(async () => { const audio = await recorder.stop(); return [audio, "Your recording", wavOf(audio, SAMPLE_RATE)]; });
  }
  try {
    state.recorder = await Recorder.start((peak, seconds) => {
      button.style.setProperty("--level", Math.max(0, 1 + Math.log10(peak + 1e-6) / 2.5).toFixed(2));
      $("source").textContent = `Recording … ${seconds.toFixed(1)} s. Press again to end.`;
    });
    pressed(true);
    say("Recording");
  } catch (error) {
    trouble(error);
  }
  return refresh();
}

// ---- playing

/** Plays the recording with what is chosen; whatever was being played before is given up. */
async function play() {
  trouble(null);
  const turn = ++state.turn, wanted = choices(), { source } = state, label = instrumentOf(wanted.instrument).label;
  state.working = true;
  $("progress").value = 0;
  $("left").textContent = "";
  refresh();
  say(`${label} is playing your recording.`);
  try {
    const done = await state.backend.ask("transfer", { choices: wanted }, [], (share, left) => {
      $("progress").value = share;
      if (share > 0.05) $("left").textContent = `${spoken(left)} left`;
    });
    if (turn === state.turn) await show(done, source, label, wanted);
  } catch (error) {
    if (turn === state.turn) trouble(error);
    if (turn === state.turn) say(error instanceof Stopped ? "Stopped" : "");
  }
  if (turn !== state.turn) return;
  state.working = false;
  refresh();
}

async function show({ wav, semitones, seconds }, source, label, wanted) {
  const octaves = Math.round(semitones / 12), moved = octaves ? `${Math.abs(octaves)} octave${Math.abs(octaves) > 1 ? "s" : ""} ${octaves > 0 ? "up" : "down"}` : "at its pitch";
  const player = $("player"), result = { name: label, role: "result", blob: wav, note: octaves ? moved : "" }, again = state.shown === source;
  $("empty").hidden = true;
  $("result").hidden = false;
  $("facts").textContent = `${label}, ${moved}${wanted.dynamic ? `, played ${wanted.dynamic}` : ""}; made in ${seconds.toFixed(1)} s on this computer.`;
  if (state.downloads) URL.revokeObjectURL(state.downloads);
  state.downloads = URL.createObjectURL(wav);
  Object.assign($("download"), { href: state.downloads, download: `${source.name.replace(/\.[^.]*$/, "").replaceAll(" ", "_")}_${wanted.instrument}.wav` });
  say(`Done: ${label}, ${moved}.`);
  state.shown = source;
  if (again) await player.replace(1, result); // at the same place, playing on
  else player.takes = [{ name: source.name, role: "source", blob: source.blob }, result];
  player.select(1);
  if (!again) $("result").scrollIntoView({ block: "nearest" });
  if (player.paused && isShort()) player.play().catch(() => {}); // a browser may want another click first
}

// ---- live

async function toggleLive() {
  trouble(null);
  const button = $("live");
  button.disabled = true;
  try {
    if (state.live) {
      const session = state.live;
      state.live = null;
      await session.stop();
    } else {
      $("player").pause();
      state.live = await LiveSession.start(state.backend, choices(), told);
    }
  } catch (error) {
    trouble(error);
  }
  button.disabled = false;
  button.textContent = state.live ? "Stop" : "Start";
  button.setAttribute("aria-pressed", Boolean(state.live));
  $("live-told").hidden = !state.live;
  say(state.live ? "Live: play, and hear the instrument." : "Live playing has ended.");
}

function told({ blocks, late, margin, peak, peakOut, failed }) {
  if (!state.live) return;
  if (failed) { trouble(new Error(failed)); toggleLive(); return; }
  const { own, devices } = state.live.latency(margin, instrumentOf(chosen("instrument")).latency_samples);
  $("level").value = 20 * Math.log10(Math.max(peak, 1e-3));
  $("level-out").value = 20 * Math.log10(Math.max(peakOut, 1e-3));
  $("latency").textContent = `${Math.round(1000 * own)} ms`;
  $("devices").textContent = `${Math.round(1000 * devices)} ms`;
  $("in-time").textContent = blocks ? `${Math.floor((1000 * (blocks - late)) / blocks) / 10} %` : "–";
  $("missed").textContent = `${late}`;
}

// ---- the page itself

function connect() {
  segments("octave", OCTAVES);
  segments("effort", EFFORTS);
  $("record").addEventListener("click", record);
  $("file").addEventListener("change", ({ target }) => { if (target.files[0]) receiveFile(target.files[0]); target.value = ""; });
  $("examples").replaceChildren(...Object.entries(EXAMPLES).map(([name, address]) => {
    const button = element("button", { type: "button", class: "pill" }, name);
    button.addEventListener("click", () => receive(async () => { const blob = await (await fetch(address)).blob(); return [await decodeFile(blob, name), name, blob]; }));
    return button;
  }));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) addEventListener(kind, dropped);
  $("go").addEventListener("click", play);
  $("stop").addEventListener("click", () => state.backend.ask("stop"));
  $("live").addEventListener("click", toggleLive);
  $("main").addEventListener("change", ({ target }) => {
    if (!["instrument", "octave", "effort"].includes(target.name)) return;
    refresh();
    if (state.live) state.backend.ask("choose", { choices: choices() }).catch(trouble);
    else if (isShort()) play();
    else if (target.name === "instrument") state.backend.ask("instrument", { name: target.value }).catch(trouble);
  });
  connectTabs();
}

function dropped(event) {
  if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
  event.preventDefault();
  $("drop").classList.toggle("over", event.type === "dragover" || event.type === "dragenter");
  if (event.type === "drop" && event.dataTransfer.files[0]) receiveFile(event.dataTransfer.files[0]);
}

function connectTabs() {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const select = (tab) => tabs.forEach((one) => {
    one.setAttribute("aria-selected", one === tab);
    one.tabIndex = one === tab ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = one !== tab;
  });
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step) { const next = tabs[(i + step + tabs.length) % tabs.length]; select(next); next.focus(); }
    });
  });
}

function fill({ manifest }) {
  state.manifest = manifest;
  const first = manifest.instruments[0];
  fillPicker($("picker"), $("chips"), manifest.instruments, first.name);
  $("empty").prepend(drawing(first.name, first.family));
  $("credits").replaceChildren(...manifest.instruments.map((one) => element("li", {}, `${one.label}: ${[one.source, one.licence].filter(Boolean).join("; ")}`)));
  $("version").textContent = `tonetransfer ${manifest.version}; pitch by swift-f0 (MIT), run by ONNX Runtime Web (MIT).`;
  say("The instruments are ready.");
  state.backend.ask("instrument", { name: first.name }).catch(trouble);
}

async function open() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(Uint8Array.from(SIMD))) {
    throw new Problem("This browser cannot run the instruments: it lacks WebAssembly with SIMD, which Chrome, Edge and Firefox have had since 2021 and Safari since 2023. Please update it.");
  }
  if (typeof AudioWorkletNode === "undefined") throw new Problem("Browsers play such pages only from https addresses, or from this computer itself (localhost).");
  state.backend = new Backend();
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  fill(await state.backend.ask("start", { base: document.baseURI, threads }));
}

connect();
const backendReady = open();
backendReady.then(refresh, (error) => { trouble(error); $("picker").replaceChildren(element("p", { class: "tuning" }, "The instruments could not be loaded.")); });
