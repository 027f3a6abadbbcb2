// Cards of instruments: found, opened, heard before they are chosen, and told whether they have the notes.
import { askWithSource } from "./source.js";
import { $, facts, state } from "./state.js";

const HOVER_MS = 500;

/** Put the cards where they belong; `choose` is told the name of the one that is chosen. */
export function buildCards(html, choose) {
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

/** Which players of a group are seen, and what is checked. */
export function showCards() {
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

export function search() {
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
export function showFits() {
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
    if (!state.source || state.job || !$("tt-player").paused || navigator.userActivation?.hasBeenActive === false) return;
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

export function pictureOf(name) {
  const drawing = document.querySelector(`.tt-card input[value="${CSS.escape(name)}"]`)?.parentElement.querySelector("svg");
  return drawing ? drawing.cloneNode(true) : document.createElement("span");
}
