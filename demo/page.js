// The page: what was recorded, who plays it and how, and the takes that were made of it. Parts of it are components of their own
// (ab_player.js, recorder.js, roll.js); the server is asked through Gradio's queue.
import "./ab_player.js";
import "./recorder.js";
import "./roll.js";
import { keep } from "./kept.js";
import { drawMap } from "./map.js";
import { LARGEST, Stopped, ask, readable, upload } from "./server.js";

const $ = (id) => document.getElementById(id);
const newId = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`; // crypto.randomUUID is not there without https
const FIRST = { instrument: "violin", second: "flute" };
const STANDARD = {
  octave: "auto",
  semitones: 0,
  loudness_db: 0,
  dynamic: null,
  autotune: 0,
  scale: "chromatic",
  dynamics: 1,
  noise_db: 0,
  hall: 0,
  fit: true,
  tracker: "joint",
};
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
const HOVER_MS = 500;

// ---- state

const state = {
  source: null, // { id, name, blob | example, path, look }
  how: "named",
  slots: [FIRST.instrument, FIRST.second],
  slot: 0,
  share: 0.5,
  instrument: FIRST.instrument,
  reference: null,
  settings: { ...STANDARD },
  ab: 0,
  others: [null, null],
  edits: [],
  takes: [],
  shown: null,
  settingTakes: [null, null],
};
let facts = {}; // of instruments
let job = null,
  saving = 0;

const label = (name) =>
  facts[name] ? facts[name].label : (name || "").replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
const small = (text) => text.replace(/^./, (letter) => letter.toLowerCase());
const chosen = () => (state.how === "blend" ? state.slots : [state.instrument]);

function playerName() {
  if (state.how === "like") return state.reference ? `the sound of ${state.reference.name}` : "a recording";
  return chosen()
    .map((name) => small(label(name)))
    .join(" and ");
}

/** What is wanted, in the words of the server; what is as it always is is left out. */
function wish() {
  const given = Object.fromEntries(Object.entries(state.settings).filter(([key, value]) => value !== STANDARD[key]));
  if (!state.settings.fit) delete given.dynamic;
  if (!state.settings.autotune) delete given.scale;
  if (state.how === "blend" && state.slots[0] !== state.slots[1])
    given.mix = { [state.slots[0]]: 1 - state.share, [state.slots[1]]: state.share };
  else if (state.how === "like") given.like = state.reference ? { path: state.reference.path } : null;
  else given.to = chosen()[0];
  if (state.edits.length) given.edits = state.edits;
  return given;
}

const keyOf = (given) => JSON.stringify([state.source && state.source.id, { ...given, like: given.like && state.reference.id }]);

function save() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    const { source, how, slots, slot, share, instrument, reference, settings, ab, others, edits, shown } = state;
    const session = {
      source,
      how,
      slots,
      slot,
      share,
      instrument,
      reference,
      settings,
      ab,
      others,
      edits,
      shown: shown && shown.id,
      auto: $("tt-auto").checked,
    };
    keep("session", (store) => store.put(session, "now"));
  }, 300);
}

// ---- messages

function show(element, text) {
  $(element).textContent = text;
  $(element).hidden = !text;
}

function fail(element, error) {
  if (error instanceof Stopped) return;
  show(element, error.message || String(error));
}

/** A progress line that hears what a function of the server yields. */
function worker(element) {
  const line = $(element),
    bar = line.querySelector("progress"),
    told = line.querySelector("span");
  return {
    begin(text) {
      line.hidden = false;
      bar.removeAttribute("value");
      told.textContent = text;
    },
    told(step) {
      if (step.progress !== undefined) bar.value = step.progress;
      const left = step.left_s > 1.5 ? `, ${Math.round(step.left_s)} s left` : "";
      if (step.doing) told.textContent = `${step.doing}${left}`;
    },
    end() {
      line.hidden = true;
    },
  };
}

/** One job of a kind at a time: a new one ends the one before, and Stop ends it, too. */
function stoppable(button, work, error) {
  let control = null;
  $(button).addEventListener("click", () => control && control.abort());
  return async (doing, run) => {
    control?.abort();
    const own = (control = new AbortController()),
      line = worker(work);
    show(error, "");
    $(button).disabled = false;
    line.begin(doing);
    try {
      return await run((step) => {
        if (!own.signal.aborted) line.told(step);
      }, own.signal);
    } catch (problem) {
      if (!own.signal.aborted) fail(error, problem);
      return null;
    } finally {
      if (control === own) {
        control = null;
        $(button).disabled = true;
        line.end();
      }
    }
  };
}

const playing = stoppable("tt-stop", "tt-work", "tt-error");
const comparing = stoppable("tt-compare-stop", "tt-compare-work", "tt-compare-error");
const measuring = stoppable("tt-analyze-stop", "tt-analyze-work", "tt-analyze-error");
const batching = stoppable("tt-batch-stop", "tt-batch-work", "tt-batch-error");

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

const partUrl = (name) => new URL(name, import.meta.url).href;

/** What the server has to be given of the recording: where it lies, or that it is an example. */
async function sourceGiven(told, signal) {
  if (state.source.blob && !state.source.path) state.source.path = await upload(state.source.blob, told, signal);
  const { path, name, example, look } = state.source;
  return { path, name, example: path ? null : example, seconds: look ? look.scene.seconds : undefined };
}

/** Ask with the recording; if the server has removed it meanwhile, it is given once more. */
async function askWithSource(name, given, told, signal) {
  const again = async () => ask(name, { ...(await sourceGiven(told, signal)), ...given }, told, signal);
  try {
    return await again();
  } catch (error) {
    if (!/not here \(any more\)/.test(error.message)) throw error;
    state.source.path = null;
    if (state.reference && given.wish && given.wish.like) {
      state.reference.path = await upload(state.reference.blob);
      given.wish.like.path = state.reference.path;
    }
    return again();
  }
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
  $("tt-roll").reach = reachOf(state.instrument);
  showPlayer();
  showGo();
}

const reachOf = (name) => (state.how === "named" && facts[name] ? [facts[name].lowest, facts[name].highest] : null);
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

function movedWords(moved) {
  if (!moved) return "at your pitch";
  return moved % 12
    ? `${moved > 0 ? "+" : "−"}${Math.abs(moved)} semitones`
    : `${Math.abs(moved / 12)} octave${Math.abs(moved) > 12 ? "s" : ""} ${moved > 0 ? "up" : "down"}`;
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

function saveAs(address, name = "") {
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
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
  const { to, mix, like, edits, ...settings } = take.wish;
  Object.assign(state.settings, STANDARD, settings);
  state.edits = edits || [];
  if (mix) {
    state.how = "blend";
    state.slots = Object.keys(mix);
    state.share = mix[state.slots[1]];
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
    job = null;
    $("tt-stop").click();
    await showTake(known, aloud, at);
    return;
  }
  const automatic = forced || $("tt-auto").checked,
    own = (job = { key, at });
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
  if (job !== own) return;
  job = null;
  if (done && done.take) await finishTake(done.take, given, key, own, aloud);
}

/** The first seconds of a result, until the whole is there. */
function showBeginning(step, own, aloud) {
  if (job !== own) return;
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

// ---- cards

function buildCards(html) {
  $("tt-picker").innerHTML = html;
  $("tt-picker").addEventListener("change", (event) => {
    if (event.target.name === "tt-instrument") choose(event.target.value);
  });
  $("tt-picker").addEventListener("click", (event) => {
    const chip = event.target.closest(".tt-chip");
    if (!chip) return;
    const family = $("tt-picker").querySelector(`fieldset[data-family="${chip.dataset.family}"]`),
      box = family.closest(".tt-picker");
    box.scrollTo({ top: family.offsetTop - box.offsetTop, left: family.offsetLeft - box.offsetLeft, behavior: "smooth" });
    (family.querySelector("input:checked") || family.querySelector("input")).focus({ preventScroll: true });
  });
  connectPreviews($("tt-picker"));
}

function choose(name) {
  if (state.how === "blend") state.slots[state.slot] = name;
  else state.instrument = name;
  showForm();
  transfer();
}

/** Which players of a group are seen, and what is checked. */
function showCards() {
  const now = state.how === "blend" ? state.slots[state.slot] : state.instrument,
    card = document.querySelector(`.tt-card input[value="${CSS.escape(now)}"]`);
  if (!card) return;
  card.checked = true;
  const group = card.closest(".tt-card").dataset.of || now,
    seeking = $("tt-search").value.trim() !== "";
  document.querySelectorAll(".tt-card[data-of]").forEach((one) => {
    one.hidden = one.dataset.of !== group && !(seeking && one.dataset.found);
  });
  const box = card.closest(".tt-picker"),
    seen = box.getBoundingClientRect(),
    own = card.getBoundingClientRect();
  if (own.top < seen.top || own.bottom > seen.bottom) box.scrollTop += own.top - seen.top - seen.height / 3;
  if (own.left < seen.left || own.right > seen.right) box.scrollLeft += own.left - seen.left - seen.width / 3;
}

function search() {
  const words = $("tt-search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  document.querySelectorAll(".tt-card").forEach((card) => {
    const text =
      `${card.innerText || card.textContent} ${card.querySelector("input").value.replaceAll("_", " ")} ${card.closest("fieldset").querySelector("legend").textContent}`.toLowerCase();
    const hit = words.every((word) => text.includes(word));
    card.classList.toggle("tt-away", words.length > 0 && !hit);
    card.dataset.found = words.length && hit ? "yes" : "";
  });
  document
    .querySelectorAll(".tt-family")
    .forEach((family) => family.classList.toggle("tt-away", ![...family.querySelectorAll(".tt-card:not(.tt-away)")].length));
  let none = document.querySelector(".tt-none");
  if (!none && document.querySelector("#tt-picker .tt-picker")) {
    none = Object.assign(document.createElement("p"), { className: "tt-none tt-hint", textContent: "No instrument of that name." });
    $("tt-picker").querySelector(".tt-picker").append(none);
  }
  if (none) none.hidden = Boolean(document.querySelector(".tt-family:not(.tt-away)"));
  showCards();
}

/** How many of the song's notes each instrument has at the octave that the server would choose. */
function showFits() {
  const notes = state.source && state.source.look ? state.source.look.scene.notes.map((note) => note.midi) : [];
  document.querySelectorAll(".tt-card").forEach((card) => {
    const one = facts[card.querySelector("input").value],
      told = card.querySelector(".tt-fit");
    if (!one || !notes.length) {
      told.textContent = "";
      return;
    }
    const held = (shift) => notes.filter((midi) => midi + shift >= one.lowest - 0.6 && midi + shift <= one.highest + 0.6).length;
    const at = held(0),
      best = Math.max(...[-36, -24, -12, 0, 12, 24, 36].map(held));
    told.textContent = at === notes.length ? "all notes" : best === notes.length ? "all, moved" : `${best} of ${notes.length} notes`;
    card.classList.toggle("tt-unfit", best < 0.8 * notes.length);
  });
}

/** Two seconds of the recording on the instrument that is pointed at, or pressed and held. */
function connectPreviews(picker) {
  const sound = new Audio(),
    known = new Map();
  let timer = 0,
    held = false,
    control = null,
    pointed = null;
  const quiet = () => {
    clearTimeout(timer);
    control?.abort();
    sound.pause();
    document.querySelector(".tt-card.tt-heard")?.classList.remove("tt-heard");
  };
  const hear = async (card) => {
    const name = card.querySelector("input").value,
      key = `${state.source && state.source.id} ${name}`;
    if (!state.source || job || !$("tt-player").paused || navigator.userActivation?.hasBeenActive === false) return;
    control = new AbortController();
    try {
      if (!known.has(key)) known.set(key, (await askWithSource("preview", { wish: { to: name } }, undefined, control.signal)).sound);
      sound.src = known.get(key);
      card.classList.add("tt-heard");
      await sound.play();
    } catch {
      card.classList.remove("tt-heard");
    } // a preview that does not come is none
  };
  sound.addEventListener("ended", quiet);
  picker.addEventListener("pointermove", (event) => {
    // not pointerover: cards that move under a resting pointer are not pointed at
    const card = event.target.closest(".tt-card");
    if (event.pointerType !== "mouse" || card === pointed) return;
    quiet();
    pointed = card;
    if (card) timer = setTimeout(() => hear(card), HOVER_MS);
  });
  picker.addEventListener("pointerleave", () => {
    pointed = null;
    quiet();
  });
  picker.addEventListener("pointerdown", (event) => {
    const card = event.target.closest(".tt-card");
    held = false;
    quiet();
    if (card && event.pointerType !== "mouse")
      timer = setTimeout(() => {
        held = true;
        hear(card);
      }, HOVER_MS);
  });
  for (const kind of ["pointerup", "pointercancel", "scroll"])
    picker.addEventListener(
      kind,
      () => {
        if (held || kind !== "pointerup") quiet();
        else clearTimeout(timer);
      },
      true,
    );
  picker.addEventListener(
    "click",
    (event) => {
      if (held) {
        event.preventDefault();
        held = false;
      }
    },
    true,
  );
  picker.addEventListener("contextmenu", (event) => {
    if (event.target.closest(".tt-card") && held) event.preventDefault();
  });
}

// ---- the form

function showForm() {
  const { settings } = state;
  document.querySelector(`[name=tt-how][value=${state.how}]`).checked = true;
  $("tt-blend").hidden = state.how !== "blend";
  $("tt-like").hidden = state.how !== "like";
  $("tt-cards").hidden = state.how === "like";
  $("tt-reference-name").textContent = state.reference ? state.reference.name : "";
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

function pictureOf(name) {
  const drawing = document.querySelector(`.tt-card input[value="${CSS.escape(name)}"]`)?.parentElement.querySelector("svg");
  return drawing ? drawing.cloneNode(true) : document.createElement("span");
}

function showGo() {
  const name = playerName(),
    done = state.shown && state.source && state.shown.key === keyOf(wish());
  $("tt-go").textContent = done ? `Play ${name}` : `Transfer to ${name}`;
  $("tt-bar-who").replaceChildren(
    state.how === "like" ? document.createElement("span") : pictureOf(chosen()[0]),
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

// ---- the other tabs

/** What was found of another recording is no longer shown. */
function clearTabs() {
  for (const one of ["compare", "analyze"]) {
    $(`tt-${one}-stop`).click();
    fileButton(`tt-${one}-files`, null);
    show(`tt-${one}-error`, "");
  }
  $("tt-compare-player").pause();
  $("tt-compare-player").hidden = true;
  $("tt-cells").replaceChildren();
  $("tt-analysis").replaceChildren();
}

function connectTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const open = (tab) => {
    for (const one of tabs) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      $(one.getAttribute("aria-controls")).hidden = one !== tab;
    }
    document.body.dataset.tab = tab.id;
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      open(next);
      next.focus();
    });
  });
  open(tabs[0]);
}

function fileButton(element, address, text) {
  $(element).replaceChildren();
  if (!address) return;
  const button = Object.assign(document.createElement("button"), {
    type: "button",
    className: "tt-pill",
    textContent: text,
    id: `${element}-get`,
  });
  button.addEventListener("click", () => saveAs(address));
  $(element).append(button);
}

function connectCompare() {
  const player = $("tt-compare-player"),
    cells = $("tt-cells");
  const hear = async (cell, item) => {
    cells.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", String(one === item)));
    await player.replace(1, { name: cell.title, role: "result", note: cell.note, src: cell.sound });
    player.select(1);
    await player.play();
  };
  const add = (cell, index) => {
    if (cell.name === "source") {
      player.hidden = false;
      player.takes = [{ name: cell.title, role: "source", note: cell.note, src: cell.sound }];
      return;
    }
    const item = document.createElement("li"),
      button = Object.assign(document.createElement("button"), { type: "button", className: "tt-cell" });
    button.innerHTML = `${cell.drawing}<span><b></b><small></small></span>`;
    button.querySelector("b").textContent = cell.title;
    button.querySelector("small").textContent = cell.note = movedWords(cell.moved);
    button.addEventListener("click", () => hear(cell, button));
    item.append(button);
    cells.append(item);
    if (index === 1)
      player.takes = [
        ...(player.takes.length ? [{ name: "Your recording", role: "source", note: state.source.name, src: player.dataset.source }] : []),
        { name: cell.title, role: "result", note: cell.note, src: cell.sound },
      ];
  };
  $("tt-compare-go").addEventListener("click", async () => {
    cells.replaceChildren();
    fileButton("tt-compare-files", null);
    player.hidden = true;
    let count = 0;
    const done = await comparing("Comparing", (told, signal) =>
      askWithSource(
        "compare",
        { wish: wish(), which: $("tt-which").value },
        (step) => {
          told(step);
          if (step.cell) {
            if (step.cell.name === "source") player.dataset.source = step.cell.sound;
            add(step.cell, count++);
          }
        },
        signal,
      ),
    );
    if (done && done.archive) fileButton("tt-compare-files", done.archive, "All of them, as MP3");
  });
}

function connectAnalyze() {
  $("tt-analyze-go").addEventListener("click", async () => {
    $("tt-analysis").replaceChildren();
    fileButton("tt-analyze-files", null);
    const done = await measuring("Listening", (told, signal) =>
      askWithSource("analyze", { tracker: state.settings.tracker }, told, signal),
    );
    if (!done || !done.html) return;
    $("tt-analysis").innerHTML = done.html;
    document.querySelectorAll("#tt-analysis .tt-map").forEach(drawMap);
    fileButton("tt-analyze-files", done.file, "Descriptors, as JSON");
  });
}

function connectBatch() {
  let files = [];
  $("tt-files").addEventListener("change", () => {
    files = [...$("tt-files").files];
    $("tt-files-told").textContent = files.length ? `${files.length} recording${files.length > 1 ? "s" : ""}` : "none yet";
  });
  $("tt-batch-go").addEventListener("click", async () => {
    const body = $("tt-rows").querySelector("tbody");
    body.replaceChildren();
    fileButton("tt-batch-files", null);
    $("tt-rows").hidden = true;
    const done = await batching("Uploading", async (told, signal) => {
      if (!files.length) throw new Error("There are no recordings yet; add some.");
      const ready = await Promise.all(files.map(readable)),
        paths = [];
      for (const file of ready) paths.push(await upload(file, told, signal));
      return ask(
        "batch",
        { paths, names: ready.map((file) => file.name), wish: wish() },
        (step) => {
          told(step);
          if (step.row) {
            $("tt-rows").hidden = false;
            body.append(row(step.row));
          }
        },
        signal,
      );
    });
    if (done && done.archive) fileButton("tt-batch-files", done.archive, "All results, as WAV");
  });
}

function row([name, result, command]) {
  const made = document.createElement("tr");
  made.append(
    Object.assign(document.createElement("th"), { scope: "row", textContent: name }),
    Object.assign(document.createElement("td"), { textContent: result }),
    document.createElement("td"),
  );
  made.lastChild.append(Object.assign(document.createElement("code"), { textContent: command }));
  return made;
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
    facts = found.instruments;
    if (!facts[state.instrument]) state.instrument = found.first;
    state.slots = state.slots.map((name) => (facts[name] ? name : found.first));
    buildCards(found.picker);
    showForm();
    showFits();
    if (state.source) $("tt-roll").reach = reachOf(state.instrument);
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
open().finally(start);
