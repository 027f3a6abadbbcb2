// The page: what was recorded, who plays it and how, and the takes that were made of it. Parts of it are components of their own
// (ab_player.js, recorder.js, roll.js); the server is asked through Gradio's queue.
import "./ab_player.js";
import "./recorder.js";
import "./roll.js";
import { buildCards, pictureOf, search, showCards, showFits } from "./cards.js";
import { keep } from "./kept.js";
import { drawMap } from "./map.js";
import { LARGEST, Stopped, ask, readable, upload } from "./server.js";
import { askWithSource, partUrl } from "./source.js";
import {
  $,
  STANDARD,
  chosen,
  facts,
  fail,
  keyOf,
  label,
  movedWords,
  newId,
  playerName,
  reach,
  save,
  show,
  small,
  state,
  stoppable,
  wish,
} from "./state.js";
import { clearTabs, connectAnalyze, connectBatch, connectCompare, connectTabs, saveAs } from "./tabs.js";

const EFFORTS = [null, "pp", "p", "mp", "mf", "f", "ff"];
const TONICS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const SCALES = [
  "chromatic",
  "major",
  "minor",
  "harmonic minor",
  "dorian",
  "phrygian",
  "lydian",
  "mixolydian",
  "major pentatonic",
  "minor pentatonic",
  "blues",
  "whole tone",
];
const PRESETS = [
  { name: "As I play", instrument: null, settings: {} },
  { name: "Intimate cello", instrument: "cello", settings: { dynamic: "p", dynamics: 0.8, noise_db: 4, hall: 0.15 } },
  { name: "Marching trumpet", instrument: "trumpet", settings: { dynamic: "ff", dynamics: 0.5, autotune: 0.7, hall: 0.1 } },
  { name: "Old radio", instrument: "clarinet", settings: { dynamic: "mf", dynamics: 0.3, noise_db: 12, autotune: 0.4 } },
  { name: "Church organ", instrument: "organ", settings: { dynamics: 0, autotune: 1, hall: 0.8 } },
  { name: "Whispered flute", instrument: "flute", settings: { dynamic: "pp", noise_db: 14, hall: 0.3 } },
];
const FILES = {
  WAV: "The sound, 24 bits",
  FLAC: "The sound, smaller, without loss",
  MIDI: "The notes, with bends and swells",
  Controls: "Pitch and loudness, for tonetransfer synthesize",
  Page: "Both sounds, the notes and the settings in one file, to be sent to somebody",
};
const MOST_TAKES = 12;

const playing = stoppable("tt-stop", "tt-work", "tt-error");

// ---- the recording

async function setSource(file, { example = null } = {}) {
  show("tt-source-error", "");
  const blob = file && (await readable(file)),
    id = example ? `example ${example}` : newId();
  if (blob && blob.size > LARGEST) {
    fail("tt-source-error", new Error(`${file.name} is larger than 50 MB; cut out the part that matters, or save it as FLAC.`));
    return;
  }
  const name = blob ? blob.name : `${example}.mp3`;
  state.source = { id, name, blob, example, path: null, look: null };
  state.edits = [];
  state.settingTakes = [null, null];
  showSource();
  clearTake();
  clearTabs();
  $("tt-recorder").offer(blob || (await (await fetch(partUrl(`${example}.mp3`))).blob()), name);
  save();
  await transfer();
}

function showSource() {
  const { source } = state;
  $("tt-source-name").textContent = source.name;
  $("tt-source-told").textContent = source.look ? `· ${source.look.scene.seconds.toFixed(1)} s` : "";
  showNotes("tt-source-notes", source.look ? source.look.warnings : []);
  document
    .querySelectorAll("[data-example]")
    .forEach((one) => one.setAttribute("aria-pressed", String(source.example === one.dataset.example)));
  $("tt-roll").scene = source.look ? source.look.scene : null;
  $("tt-roll").edits = state.edits;
  showFits();
}

function showNotes(element, texts) {
  $(element).replaceChildren(
    ...texts.map((text) =>
      Object.assign(document.createElement("p"), {
        className: "tt-note",
        textContent: text.replace(/^./, (letter) => letter.toUpperCase()),
      }),
    ),
  );
}

async function look(told, signal) {
  if (state.source.look) return;
  const source = state.source,
    found = await askWithSource("look", { tracker: state.settings.tracker }, told, signal);
  source.look = found.look;
  source.path = found.look.path;
  if (source === state.source) {
    showSource();
    showTakes();
    save();
  }
}

// ---- takes

function clearTake() {
  state.shown = null;
  $("tt-told").textContent = "";
  $("tt-downloads").replaceChildren();
  $("tt-command").textContent = "";
  $("tt-map").replaceChildren();
  showNotes("tt-notes", []);
  $("tt-roll").reach = reach();
  showPlayer();
  showGo();
}

const sourceTake = () => ({
  name: "Your recording",
  role: "source",
  note: state.source.name,
  blob: state.source.blob || undefined,
  src: sourceAddress(),
});
const sourceAddress = () => (state.source.blob ? undefined : partUrl(`${state.source.example}.mp3`));

function resultTake(take, role = "result") {
  return {
    name: take.who.replace(/^./, (letter) => letter.toUpperCase()),
    role,
    note: movedWords(take.moved),
    blob: take.blob,
    src: take.blob ? undefined : take.sound,
  };
}

/** Recording and result in the one player; with two settings, both results. */
function showPlayer(more = []) {
  const player = $("tt-player"),
    takes = state.source ? [sourceTake()] : [],
    [a, b] = state.settingTakes;
  const both = a && b && a !== b && [a, b].includes(state.shown);
  if (both) takes.push({ ...resultTake(a), name: `A: ${a.who}` }, { ...resultTake(b, "reference"), name: `B: ${b.who}` });
  else if (state.shown) takes.push(resultTake(state.shown));
  takes.push(...more);
  const loop = player.loop,
    same = player.takes[0]?.note === takes[0]?.note;
  player.takes = takes;
  if (loop && same)
    player.load().then(
      () => {
        player.loop = loop;
      },
      () => {},
    );
  player.select(both && state.shown === b ? 2 : Math.min(1, takes.length - 1));
}

let touched = false; // whether the last thing used was a pointer
for (const kind of ["pointerdown", "keydown"])
  document.addEventListener(
    kind,
    () => {
      touched = kind === "pointerdown";
    },
    true,
  );

/** Play; after a click the space bar then swaps, where it would press the same button again. */
async function play() {
  const button = document.activeElement?.closest("button");
  if (touched && button && button.getAttribute("role") !== "tab") $("tt-player").focus();
  try {
    await $("tt-player").play();
  } catch {
    /* the player says what is wrong */
  }
}

/** Show a take, and play it if it was asked for. */
async function showTake(take, aloud, at = 0) {
  state.shown = take;
  state.settingTakes[state.ab] = take;
  $("tt-roll").scene = take.scene;
  $("tt-roll").edits = state.edits;
  $("tt-told").textContent =
    `${take.who.replace(/^./, (letter) => letter.toUpperCase())} · ${take.scene.seconds.toFixed(1)} s · ${movedWords(take.moved)}`;
  $("tt-command").textContent = take.command;
  $("tt-map").innerHTML = take.map || "";
  document.querySelectorAll("#tt-map .tt-map").forEach(drawMap);
  showNotes(
    "tt-notes",
    take.warnings.filter((text) => !state.source.look || !state.source.look.warnings.includes(text)),
  );
  showDownloads(take);
  showPlayer();
  showTakes();
  showGo();
  $("tt-live").textContent = `${take.who.replace(/^./, (letter) => letter.toUpperCase())} is ready.`;
  save();
  if (at) {
    await $("tt-player").load();
    $("tt-player").currentTime = at;
  }
  if (aloud) await play();
}

function showDownloads(take) {
  $("tt-downloads").replaceChildren(
    ...Object.entries(FILES).map(([kind, title]) => {
      const button = Object.assign(document.createElement("button"), {
        type: "button",
        className: "tt-pill",
        textContent: kind === "Page" ? "Share" : kind,
        title,
        id: `tt-${kind.toLowerCase()}`,
      });
      button.addEventListener("click", () => download(take, kind));
      return button;
    }),
  );
}

/** Save a file of a take; one that the server has removed is made again. */
async function download(take, kind) {
  const there = take.files && take.files[kind] && (await fetch(take.files[kind], { method: "HEAD" }).catch(() => null));
  if (!there || !there.ok) {
    const given = { wish: { ...take.wish }, page: kind === "Page" };
    const made = await playing(`Making the files of ${take.who}`, (told, signal) => askWithSource("play", given, told, signal));
    if (!made || !made.take) return;
    take.files = made.take.files;
    keepTake(take);
  }
  saveAs(take.files[kind]);
}

function keepTake(take) {
  keep("takes", (store) => store.put(take));
  while (state.takes.length > MOST_TAKES) {
    const gone = state.takes.shift();
    keep("takes", (store) => store.delete(gone.id));
  }
}

function showTakes() {
  const list = state.takes.filter((take) => state.source && take.source === state.source.id);
  $("tt-takes").hidden = list.length < 2;
  $("tt-take-list").replaceChildren(
    ...[...list].reverse().map((take) => {
      const item = document.createElement("li"),
        button = Object.assign(document.createElement("button"), { type: "button" });
      button.setAttribute("aria-pressed", String(take === state.shown));
      button.append(
        Object.assign(document.createElement("b"), { textContent: take.who.replace(/^./, (letter) => letter.toUpperCase()) }),
        ` ${take.told || "as you play"}`,
      );
      button.addEventListener("click", () => {
        restore(take);
        showTake(take, true);
      });
      item.append(button);
      return item;
    }),
  );
}

/** Put the fields to what a take was made with. */
function restore(take) {
  const { to, mix, like, match, edits, ...settings } = take.wish;
  Object.assign(state.settings, STANDARD, settings);
  state.edits = edits || [];
  if (mix) {
    state.how = "blend";
    state.slots = Object.keys(mix);
    state.share = mix[state.slots[1]];
  } else if (like || match) {
    state.how = "like"; // as the recording that is there now
    state.kind = match ? to : "";
  } else if (to) {
    state.how = "named";
    state.instrument = to;
  }
  showForm();
}

function words(given) {
  const told = {
    octave: (v) => `octave ${v > 0 ? "+" : ""}${v}`,
    semitones: (v) => `${v > 0 ? "+" : ""}${v} semitones`,
    loudness_db: (v) => `${v} dB`,
    dynamic: (v) => v,
    autotune: (v) => `autotune ${v}`,
    scale: (v) => v,
    dynamics: (v) => `dynamics ${v}`,
    noise_db: (v) => `breath ${v} dB`,
    hall: (v) => `room ${v}`,
    fit: () => "not adapted",
    tracker: (v) => v,
    edits: (v) => `${v.length} corrections`,
  };
  return Object.entries(given)
    .filter(([key]) => told[key])
    .map(([key, value]) => told[key](value))
    .join(", ");
}

/** Play the recording as it is wished: at once if that was done before; else its beginning as soon as it is there, then the whole. */
async function transfer({ aloud = true, forced = false } = {}) {
  if (!state.source) {
    fail("tt-error", new Error("There is no recording yet; record or upload one, or take an example."));
    return;
  }
  if (state.how === "like" && !state.reference) {
    if (forced) fail("tt-error", new Error("There is no reference yet; choose a few seconds of the instrument, or record it."));
    clearTake();
    return;
  }
  const given = wish(),
    key = keyOf(given),
    known = state.takes.find((take) => take.key === key);
  const player = $("tt-player"),
    at = state.shown && !player.paused ? player.currentTime : 0; // what sounds goes on, on the other instrument
  show("tt-error", "");
  if (known) {
    state.job = null;
    $("tt-stop").click();
    await showTake(known, aloud, at);
    return;
  }
  const automatic = forced || $("tt-auto").checked,
    own = (state.job = { key, at });
  if (state.shown) clearTake();
  if (!automatic) $("tt-roll").scene = state.source.look ? state.source.look.scene : null;
  const done = await playing(automatic ? `Transferring to ${playerName()}` : "Listening", async (told, signal) => {
    const atSource = show.bind(null, "tt-source-error");
    try {
      await look(told, signal);
    } catch (error) {
      if (error instanceof Stopped) throw error;
      atSource(error.message);
      return null;
    }
    if (!automatic) return null;
    return askWithSource(
      "play",
      { wish: given },
      (step) => {
        told(step);
        if (step.beginning) showBeginning(step, own, aloud);
      },
      signal,
    );
  });
  if (state.job !== own) return;
  state.job = null;
  if (done && done.take) await finishTake(done.take, given, key, own, aloud);
}

/** The first seconds of a result, until the whole is there. */
function showBeginning(step, own, aloud) {
  if (state.job !== own) return;
  own.begun = true;
  showPlayer([
    {
      name: `${playerName()} …`.replace(/^./, (letter) => letter.toUpperCase()),
      role: "result",
      note: "the rest follows",
      src: step.beginning,
    },
  ]);
  if (aloud) play();
}

async function finishTake(found, given, key, own, aloud) {
  const take = {
    id: newId(),
    key,
    wish: given,
    source: state.source.id,
    told: words(given),
    ...found,
    sound: found.files.FLAC,
    made: Date.now(),
  };
  try {
    take.blob = await (await fetch(take.sound)).blob();
  } catch {
    take.blob = undefined;
  }
  state.takes.push(take);
  keepTake(take);
  const player = $("tt-player"),
    at = player.currentTime,
    went = own.begun && !player.paused,
    ended = own.begun && player.paused;
  await showTake(take, aloud && !own.begun, own.begun ? 0 : own.at);
  if (went || ended) {
    await player.load();
    player.currentTime = ended && at === 0 ? found.scene.seconds && 0 : at;
    if (went) await play();
  }
}

function choose(name) {
  if (state.how === "blend") state.slots[state.slot] = name;
  else state.instrument = name;
  showForm();
  transfer();
}

// ---- the form

function showForm() {
  const { settings } = state;
  document.querySelector(`[name=tt-how][value=${state.how}]`).checked = true;
  $("tt-blend").hidden = state.how !== "blend";
  $("tt-like").hidden = state.how !== "like";
  $("tt-cards").hidden = state.how === "like";
  $("tt-reference-name").textContent = state.reference ? state.reference.name : "";
  $("tt-kind").value = state.kind;
  document.querySelectorAll("[name=tt-slot]").forEach((one) => {
    one.checked = +one.value === state.slot;
  });
  state.slots.forEach((name, slot) => {
    document.querySelector(`[data-slot="${slot}"]`).replaceChildren(pictureOf(name), label(name));
  });
  $("tt-share").value = state.share;
  const share = Math.round(100 * state.share);
  $("tt-share-told").textContent =
    share === 50 ? "half and half" : `${100 - share} % ${small(label(state.slots[0]))}, ${share} % ${small(label(state.slots[1]))}`;
  $("tt-share").setAttribute("aria-valuetext", $("tt-share-told").textContent);
  const near = ["auto", "-1", "0", "1"].includes(String(settings.octave));
  document.querySelectorAll("[name=octave]").forEach((one) => {
    one.checked = near && one.value === String(settings.octave);
  });
  $("tt-far").value = near ? "" : String(settings.octave);
  $("tt-dynamic").value = Math.max(EFFORTS.indexOf(settings.dynamic), 0);
  $("tt-dynamic-told").textContent = settings.dynamic || "as you play";
  $("tt-dynamic").disabled = !settings.fit;
  $("tt-dynamic").setAttribute("aria-valuetext", settings.dynamic || "as you play");
  document.querySelectorAll("[data-setting]").forEach(showSetting);
  const [tonic, ...scale] = settings.scale.split(" ");
  $("tt-scale").value = settings.scale === "chromatic" ? "chromatic" : scale.join(" ");
  if (settings.scale !== "chromatic") $("tt-tonic").value = tonic;
  $("tt-scale").disabled = !settings.autotune;
  $("tt-tonic").disabled = !settings.autotune || settings.scale === "chromatic";
  document.querySelectorAll("[name=tt-ab]").forEach((one) => {
    one.checked = +one.value === state.ab;
  });
  showCards();
  showGo();
  save();
}

function showSetting(field) {
  const value = state.settings[field.dataset.setting],
    unit = field.dataset.setting.endsWith("_db") ? " dB" : "";
  if (field.type === "checkbox") {
    field.checked = value;
    return;
  }
  field.value = value;
  const told = field.closest("label").querySelector("output");
  const shownValue =
    field.dataset.setting === "noise_db" && Math.abs(value) > 24
      ? `${value} dB`
      : `${value > 0 && field.min < 0 ? "+" : ""}${value}${unit}`;
  if (told) told.textContent = shownValue.replace("-", "−");
}

function showGo() {
  const name = playerName(),
    done = state.shown && state.source && state.shown.key === keyOf(wish());
  $("tt-go").textContent = done ? `Play ${name}` : `Transfer to ${name}`;
  $("tt-bar-who").replaceChildren(
    chosen()[0] ? pictureOf(chosen()[0]) : document.createElement("span"),
    Object.assign(document.createElement("span"), { textContent: name }),
  );
  $("tt-bar-who").setAttribute("aria-label", `Choose the instrument, now ${name}`);
}

let settling = 0;
function changed() {
  showForm();
  clearTimeout(settling);
  settling = setTimeout(() => transfer(), 250);
}

function set(key, value) {
  state.settings[key] = value;
  changed();
}

function connectForm() {
  for (const one of document.querySelectorAll("[name=tt-how]"))
    one.addEventListener("change", () => {
      state.how = one.value;
      if (one.value === "blend") state.slots[0] = state.instrument;
      showForm();
      transfer();
    });
  for (const one of document.querySelectorAll("[name=tt-slot]"))
    one.addEventListener("change", () => {
      state.slot = +one.value;
      showForm();
    });
  $("tt-share").addEventListener("input", () => {
    state.share = +$("tt-share").value;
    changed();
  });
  $("tt-kind").addEventListener("change", () => {
    state.kind = $("tt-kind").value;
    showForm();
    transfer();
  });
  for (const one of document.querySelectorAll("[name=octave]"))
    one.addEventListener("change", () => set("octave", one.value === "auto" ? "auto" : +one.value));
  $("tt-far").addEventListener("change", () => set("octave", $("tt-far").value === "" ? "auto" : +$("tt-far").value));
  $("tt-dynamic").addEventListener("input", () => set("dynamic", EFFORTS[+$("tt-dynamic").value]));
  for (const field of document.querySelectorAll("[data-setting]")) {
    field.addEventListener(field.type === "range" ? "input" : "change", () => {
      if (field.dataset.setting === "tracker") state.source.look = null;
      set(field.dataset.setting, field.type === "checkbox" ? field.checked : field.type === "range" ? +field.value : field.value);
    });
  }
  $("tt-tonic").append(...TONICS.map((one) => new Option(one)));
  $("tt-scale").append(...SCALES.map((one) => new Option(one)));
  for (const one of ["tt-tonic", "tt-scale"])
    $(one).addEventListener("change", () =>
      set("scale", $("tt-scale").value === "chromatic" ? "chromatic" : `${$("tt-tonic").value} ${$("tt-scale").value}`),
    );
  $("tt-presets").append(
    ...PRESETS.map((preset) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "tt-pill", textContent: preset.name });
      button.addEventListener("click", () => {
        state.settings = { ...STANDARD, tracker: state.settings.tracker, ...preset.settings };
        if (preset.instrument && facts[preset.instrument]) {
          state.how = "named";
          state.instrument = preset.instrument;
        }
        changed();
      });
      return button;
    }),
  );
  for (const one of document.querySelectorAll("[name=tt-ab]")) one.addEventListener("change", () => swapSettings(+one.value));
  $("tt-reset").addEventListener("click", () => {
    state.settings = { ...STANDARD };
    state.edits = [];
    state.others = [null, null];
    state.settingTakes = [null, null];
    changed();
  });
}

/** Go to the other of two settings; one that was never set begins as a copy. */
function swapSettings(to) {
  state.others[state.ab] = { settings: { ...state.settings }, instrument: state.instrument };
  if (!state.settingTakes[state.ab]) state.settingTakes[state.ab] = state.shown;
  state.ab = to;
  const other = state.others[to];
  if (other) {
    state.settings = { ...other.settings };
    state.instrument = other.instrument;
  }
  changed();
}

// ---- light and dark

function connectTheme() {
  const root = document.documentElement,
    system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const apply = () => {
    $("tt-theme").textContent = dark() ? "Light" : "Dark";
    document.querySelectorAll(".tt-map").forEach((one) => one.dispatchEvent(new Event("tt-draw")));
  };
  if (localStorage.ttTheme) root.dataset.theme = localStorage.ttTheme;
  $("tt-theme").addEventListener("click", () => {
    root.dataset.theme = localStorage.ttTheme = dark() ? "light" : "dark";
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}

// ---- beginning

function connectPlayer() {
  const player = $("tt-player"),
    mini = $("tt-mini");
  const told = () => {
    mini.textContent = player.paused ? "▶" : "❚❚";
    mini.setAttribute("aria-label", player.paused ? "Play" : "Pause");
  };
  for (const kind of ["ab-play", "ab-pause"]) player.addEventListener(kind, told);
  player.addEventListener("ab-time", (event) => {
    $("tt-roll").time = event.detail.time;
  });
  mini.addEventListener("click", () => player.toggle());
  $("tt-go").addEventListener("click", () => {
    const ready = state.shown && state.shown.key === keyOf(wish());
    if (ready) play();
    else transfer({ forced: true });
  });
  $("tt-roll").addEventListener("tt-edits", (event) => {
    state.edits = event.detail;
    if (state.shown) {
      state.shown = null;
      showPlayer();
      $("tt-roll").scene = state.source.look.scene;
      $("tt-roll").edits = state.edits;
    }
    changed();
  });
  $("tt-auto").addEventListener("change", () => {
    save();
    if ($("tt-auto").checked) transfer({ aloud: false });
  });
  $("tt-bar-who").addEventListener("click", () => {
    $("tt-who").scrollIntoView({ behavior: "smooth" });
    $("tt-search").focus({ preventScroll: true });
  });
  $("tt-copy").addEventListener("click", async () => {
    await navigator.clipboard?.writeText($("tt-command").textContent);
    $("tt-copy").textContent = "Copied";
    setTimeout(() => {
      $("tt-copy").textContent = "Copy";
    }, 1500);
  });
  $("tt-forget").addEventListener("click", () => {
    state.takes = [];
    state.settingTakes = [null, null];
    keep("takes", (store) => store.clear());
    clearTake();
    $("tt-roll").scene = state.source.look?.scene || null;
    showTakes();
    showGo();
    save();
  });
}

function connectSource() {
  $("tt-upload").addEventListener("change", () => {
    const [file] = $("tt-upload").files;
    if (file) setSource(file);
    $("tt-upload").value = "";
  });
  for (const one of document.querySelectorAll("[data-example]"))
    one.addEventListener("click", () => setSource(null, { example: one.dataset.example }));
  let forReference = false;
  $("tt-recorder").addEventListener("tt-recorded", (event) => {
    if (forReference) setReference(event.detail.file);
    else setSource(event.detail.file);
    forReference = false;
  });
  $("tt-reference-record").addEventListener("click", () => {
    forReference = true;
    $("tt-recorder").scrollIntoView({ behavior: "smooth", block: "center" });
    $("tt-recorder").toggle();
  });
  $("tt-reference").addEventListener("change", () => {
    const [file] = $("tt-reference").files;
    if (file) setReference(file);
  });
  for (const kind of ["dragover", "drop"])
    document.addEventListener(kind, (event) => {
      if (![...(event.dataTransfer?.types || [])].includes("Files")) return;
      event.preventDefault();
      document.body.classList.toggle("tt-dragged", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) setSource(event.dataTransfer.files[0]);
    });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("tt-dragged");
  });
}

async function setReference(file) {
  const blob = await readable(file);
  show("tt-error", "");
  try {
    state.reference = { id: newId(), name: blob.name, blob, path: await upload(blob) };
  } catch (error) {
    fail("tt-error", error);
    return;
  }
  showForm();
  transfer();
}

/** What was here before; else the finished take that comes with the page. */
async function open() {
  const [session, takes] = await Promise.all([keep("session", (store) => store.get("now")), keep("takes", (store) => store.getAll())]);
  state.takes = (takes || []).sort((a, b) => a.made - b.made);
  if (session && session.source) {
    const { shown, auto, ...rest } = session;
    Object.assign(state, rest);
    $("tt-auto").checked = auto;
    showSource();
    showForm();
    const take = state.takes.find((one) => one.id === shown);
    if (take) await showTake(take, false);
    else {
      clearTake();
      transfer({ aloud: false });
    }
    if (state.source.blob || state.source.example)
      $("tt-recorder").offer(state.source.blob || (await (await fetch(sourceAddress())).blob()), state.source.name);
    return;
  }
  const found = await (await fetch(partUrl("hum_violin.json"))).json();
  state.source = { id: "example hum", name: "hum.mp3", example: "hum", path: null, look: { ...found.look, path: null } };
  showSource();
  showForm();
  const given = wish(),
    take = {
      id: "first",
      key: keyOf(given),
      wish: given,
      source: state.source.id,
      told: "",
      ...found.take,
      sound: partUrl("hum_violin.mp3"),
      made: 0,
    };
  state.takes.push(take);
  await showTake(take, false);
  $("tt-recorder").offer(await (await fetch(sourceAddress())).blob(), state.source.name);
}

async function start() {
  try {
    const found = await ask("start");
    Object.assign(facts, found.instruments);
    if (!facts[state.instrument]) state.instrument = found.first;
    if (!facts[state.kind]) state.kind = "";
    state.slots = state.slots.map((name) => (facts[name] ? name : found.first));
    const kinds = Object.keys(facts).map((name) => new Option(label(name), name));
    $("tt-kind").append(...kinds.sort((a, b) => a.text.localeCompare(b.text)));
    buildCards(found.picker, choose);
    showForm();
    showFits();
    if (state.source) $("tt-roll").reach = reach();
  } catch (error) {
    $("tt-picker").replaceChildren(Object.assign(document.createElement("p"), { className: "tt-error", textContent: error.message }));
  }
}

connectTheme();
connectTabs();
connectForm();
connectSource();
connectPlayer();
connectCompare();
connectAnalyze();
connectBatch();
$("tt-search").addEventListener("input", search);
open().finally(() => {
  $("tt-go").disabled = false; // not before there is something to play: a click would be lost
  return start();
});
