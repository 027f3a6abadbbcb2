// Cards of the instruments, as radio buttons grouped by family: arrow keys walk through them, a screen reader reads them out.

import told from "../../demo/drawings.json";

const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const UNSORTED = 12; // so few cards need no headings
const SVG = "http://www.w3.org/2000/svg";

export const noteName = (midi) => NAMES[((Math.round(midi) % 12) + 12) % 12] + (Math.floor(Math.round(midi) / 12) - 1);

/** An element with its attributes and children; text is never read as HTML. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== false) made.setAttribute(key, value === true ? "" : value);
  made.append(...children);
  return made;
}

/** The picture of an instrument; decoration, so that screen readers pass over it. */
export function drawing(name, family) {
  const known = Object.keys(told.by_name).filter((start) => name === start || name.startsWith(`${start}_`)).sort((a, b) => b.length - a.length);
  const kind = known.length ? told.by_name[known[0]] : (told.by_family[familyOf(family)] ?? "flute");
  const picture = document.createElementNS(SVG, "svg");
  const pen = { viewBox: "0 0 48 48", width: 40, height: 40, fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round" };
  for (const [key, value] of Object.entries({ ...pen, "aria-hidden": true, focusable: false })) picture.setAttribute(key, value);
  picture.innerHTML = told.drawings[kind];
  return picture;
}

const familyOf = (family) => (family || "").replaceAll(" ", "_");
const title = (family) => told.families[family] ?? (family ? family[0].toUpperCase() + family.slice(1).replaceAll("_", " ") : "Others");

function card(one, checked) {
  const input = element("input", { type: "radio", name: "instrument", value: one.name, checked });
  const [lowest, highest] = one.range_midi;
  return element("label", { class: "card" }, input, drawing(one.name, one.family), element("span", { class: "name" }, one.label),
    element("span", { class: "range" }, `${noteName(lowest)} – ${noteName(highest)}`));
}

/** All cards into `box`, and where they are many, chips that lead to the families into `chips`. */
export function fillPicker(box, chips, instruments, chosen) {
  const order = Object.keys(told.families), groups = new Map();
  for (const one of instruments) groups.set(familyOf(one.family), [...(groups.get(familyOf(one.family)) ?? []), one]);
  const place = (family) => (order.indexOf(family) + order.length + 1) % (order.length + 1); // unknown families come last
  const sorted = [...groups].sort(([a], [b]) => place(a) - place(b));
  const grid = (members) => element("div", { class: "cards" }, ...members.map((one) => card(one, one.name === chosen)));
  if (instruments.length <= UNSORTED) {
    box.replaceChildren(grid(sorted.flatMap(([, members]) => members)));
    return;
  }
  box.replaceChildren(...sorted.map(([family, members]) =>
    element("fieldset", { class: "family", id: `family-${family}` }, element("legend", {}, title(family)), grid(members)),
  ));
  chips.hidden = sorted.length < 2;
  chips.replaceChildren(...sorted.map(([family]) => {
    const chip = element("button", { type: "button", class: "pill" }, title(family));
    chip.addEventListener("click", () => {
      const group = box.querySelector(`#family-${CSS.escape(family)}`);
      box.scrollTo({ top: group.offsetTop - box.offsetTop });
      (group.querySelector("input:checked") || group.querySelector("input")).focus({ preventScroll: true });
    });
    return chip;
  }));
}
