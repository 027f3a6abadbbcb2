// What the page knows: recording, player, settings and takes; what is asked of the server for it; and how it is told of work and errors.
import { keep } from "./kept.js";
import { Stopped } from "./server.js";

export const $ = (id) => document.getElementById(id);
export const newId = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`; // crypto.randomUUID is not there without https
const FIRST = { instrument: "violin", second: "flute" };
export const STANDARD = {
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

export const state = {
  source: null, // { id, name, blob | example, path, look }
  how: "named",
  slots: [FIRST.instrument, FIRST.second],
  slot: 0,
  share: 0.5,
  instrument: FIRST.instrument,
  reference: null,
  kind: "", // name of the reference's instrument, if it is told
  settings: { ...STANDARD },
  ab: 0,
  others: [null, null],
  edits: [],
  takes: [],
  shown: null,
  settingTakes: [null, null],
  job: null, // what is being played: { key, at }
};
export const facts = {}; // of instruments
let saving = 0;

export const label = (name) =>
  facts[name] ? facts[name].label : (name || "").replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
export const small = (text) => text.replace(/^./, (letter) => letter.toLowerCase());
export const chosen = () => (state.how === "blend" ? state.slots : [state.how === "like" ? state.kind : state.instrument]);

export function playerName() {
  if (state.how === "like" && !state.reference) return "a recording";
  if (state.how === "like" && !state.kind) return `the sound of ${state.reference.name}`;
  const names = chosen()
    .map((name) => small(label(name)))
    .join(" and ");
  return state.how === "like" ? `${names} in the colour of ${state.reference.name}` : names;
}

/** What is wanted, in the words of the server; what is as it always is is left out. */
export function wish() {
  const given = Object.fromEntries(Object.entries(state.settings).filter(([key, value]) => value !== STANDARD[key]));
  if (!state.settings.fit) delete given.dynamic;
  if (!state.settings.autotune) delete given.scale;
  if (state.how === "blend" && state.slots[0] !== state.slots[1])
    given.mix = { [state.slots[0]]: 1 - state.share, [state.slots[1]]: state.share };
  else if (state.how === "like") {
    given[state.kind ? "match" : "like"] = state.reference ? { path: state.reference.path } : null;
    if (state.kind) given.to = state.kind;
  } else given.to = chosen()[0];
  if (state.edits.length) given.edits = state.edits;
  return given;
}

export function keyOf(given) {
  const { like, match, ...rest } = given;
  if (like || match) rest[like ? "like" : "match"] = state.reference.id;
  return JSON.stringify([state.source && state.source.id, rest]);
}

export function save() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    const { source, how, slots, slot, share, instrument, reference, kind, settings, ab, others, edits, shown } = state;
    const session = {
      source,
      how,
      slots,
      slot,
      share,
      instrument,
      reference,
      kind,
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

/** Range of the one instrument that plays, or null. */
export function reach() {
  const one = facts[state.how === "blend" ? "" : chosen()[0]];
  return one ? [one.lowest, one.highest] : null;
}
export function movedWords(moved) {
  if (!moved) return "at your pitch";
  return moved % 12
    ? `${moved > 0 ? "+" : "−"}${Math.abs(moved)} semitones`
    : `${Math.abs(moved / 12)} octave${Math.abs(moved) > 12 ? "s" : ""} ${moved > 0 ? "up" : "down"}`;
}

export function show(element, text) {
  $(element).textContent = text;
  $(element).hidden = !text;
}

export function fail(element, error) {
  if (error instanceof Stopped) return;
  show(element, error.message || String(error));
}

/** A progress line that hears what a function of the server yields. */
export function worker(element) {
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
export function stoppable(button, work, error) {
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
