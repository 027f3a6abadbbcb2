/* <tt-roll>: what is played, as a piano roll over loudness, and the tools to correct it before it is heard.
 *
 *   roll.scene = { seconds, step_s, source: { midi, held, db }, result?, notes, source_name, result_name?, lowest_midi?, highest_midi? };
 *   roll.edits = [{ start_s, end_s, semitones | db | fix_octave | pitch | loudness }];   // what the server is given
 *   roll.reach = [lowest, highest];   // MIDI; notes beyond are red
 *   roll.time = 1.5;                  // playhead
 * Event `tt-edits` (detail: the edits) when the visitor has changed something.
 */

const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const LEFT = 44,
  RIGHT = 8,
  GAP = 10,
  TOP = 22;
const FLOOR_DB = -120,
  REACH_SLACK = 0.6; // semitones by which a note may be out of tune
const CHANGES = [
  ["octave_up", "8va ↑", "Selection up by an octave", { semitones: 12 }],
  ["octave_down", "8va ↓", "Selection down by an octave", { semitones: -12 }],
  ["semitone_up", "½ ↑", "Selection up by a semitone", { semitones: 1 }],
  ["semitone_down", "½ ↓", "Selection down by a semitone", { semitones: -1 }],
  ["fix_octave", "Fix octave", "Put the selection into the octave of the notes around it", { fix_octave: true }],
  ["louder", "Louder", "Selection 3 dB louder", { db: 3 }],
  ["softer", "Softer", "Selection 3 dB softer", { db: -3 }],
  ["undo", "Undo", "Take the last edit back", null],
  ["clear", "Reset", "Take all edits back", null],
];
const TOOLS = [
  ["select", "Select", "Drag over the picture to select a span of time"],
  ["pitch", "Draw pitch", "Draw a new pitch into the roll"],
  ["loudness", "Draw loudness", "Draw a new loudness into the panel below the roll"],
];

export const noteName = (midi) => NAMES[((Math.round(midi) % 12) + 12) % 12] + (Math.floor(Math.round(midi) / 12) - 1);

/** Colours of the page (--tt-ink as `ink` ...) as they are now, by day or by night, for drawing. */
export function inks(element, names) {
  const probe = document.createElement("i"),
    found = {};
  element.append(probe);
  for (const name of names) {
    probe.style.color = `var(--tt-${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

function onLine(points, t) {
  if (t <= points[0][0]) return points[0][1];
  for (let i = 1; i < points.length; i++) {
    const [t0, v0] = points[i - 1],
      [t1, v1] = points[i];
    if (t <= t1) return v0 + ((v1 - v0) * (t - t0)) / Math.max(t1 - t0, 1e-9);
  }
  return points[points.length - 1][1];
}

/** Contours as the server corrects them; a pitch that is drawn where nothing is played stays unheard. */
export function edited(scene, edits) {
  const midi = [...scene.source.midi],
    held = [...scene.source.held],
    db = [...scene.source.db];
  for (const edit of edits) {
    const inside = (i) => i * scene.step_s >= edit.start_s && i * scene.step_s < edit.end_s;
    let shift = edit.semitones || 0;
    if (edit.fix_octave) {
      const near = midi.filter(
        (m, i) => m !== null && !inside(i) && i * scene.step_s >= edit.start_s - 2 && i * scene.step_s < edit.end_s + 2,
      );
      const own = held.filter((_, i) => inside(i));
      if (near.length && own.length) shift += 12 * Math.round((median(near) - median(own)) / 12);
    }
    for (let i = 0; i < midi.length; i++) {
      if (!inside(i)) continue;
      if (edit.pitch) {
        held[i] = onLine(edit.pitch, i * scene.step_s);
        if (midi[i] !== null) midi[i] = held[i];
      }
      if (edit.loudness) db[i] = onLine(edit.loudness, i * scene.step_s);
      held[i] += shift;
      if (midi[i] !== null) midi[i] += shift;
      if (db[i] > FLOOR_DB) db[i] = Math.max(db[i] + (edit.db || 0), FLOOR_DB);
    }
  }
  return { midi, held, db };
}

/** Share of a drawn span in which nothing is played. */
export function restShare(scene, edit) {
  const inside = scene.source.midi.filter((_, i) => i * scene.step_s >= edit.start_s && i * scene.step_s < edit.end_s);
  return inside.length ? inside.filter((m) => m === null).length / inside.length : 1;
}

export class Roll extends HTMLElement {
  #scene = null;
  #edits = [];
  #reach = null;
  #time = null;
  #tool = "select";
  #from = 0;
  #to = 0;
  #selected = false;
  #stroke = null;
  #place = null;
  #shown = null;
  #observers = [];

  connectedCallback() {
    if (!this.firstChild) this.#build();
    const resized = new ResizeObserver(() => this.#draw());
    resized.observe(this);
    const themed = new MutationObserver(() => this.#draw());
    themed.observe(document.documentElement, { attributes: true });
    const system = matchMedia("(prefers-color-scheme: dark)"),
      redraw = () => this.#draw();
    system.addEventListener("change", redraw);
    this.#observers = [resized, themed, { disconnect: () => system.removeEventListener("change", redraw) }];
  }

  disconnectedCallback() {
    this.#observers.forEach((one) => one.disconnect());
  }

  get scene() {
    return this.#scene;
  }
  set scene(scene) {
    this.#scene = scene;
    this.hidden = !scene;
    if (!scene) return;
    this.#select(0, 0);
    this.querySelector(".tt-legend").innerHTML = "";
    for (const [kind, name] of [
      ["tt-source-key", scene.source_name],
      ["tt-result-key", scene.result_name],
    ])
      if (name) {
        const key = Object.assign(document.createElement("span"), { className: `tt-key ${kind}`, textContent: name });
        this.querySelector(".tt-legend").append(key);
      }
    this.#tell();
    this.#draw();
  }

  get edits() {
    return this.#edits;
  }
  set edits(edits) {
    this.#edits = [...edits];
    if (this.#scene) {
      this.#tell();
      this.#draw();
    }
  }
  set reach(reach) {
    this.#reach = reach;
    if (this.#scene) {
      this.#tell();
      this.#draw();
    }
  }
  set time(time) {
    this.#time = time;
    this.#moveHead();
  }

  /** Notes that the instrument cannot play. */
  get unplayable() {
    const reach = this.#limits();
    return reach ? this.#scene.notes.filter((note) => note.midi < reach[0] - REACH_SLACK || note.midi > reach[1] + REACH_SLACK) : [];
  }

  #limits() {
    const own = this.#scene && this.#scene.lowest_midi !== undefined ? [this.#scene.lowest_midi, this.#scene.highest_midi] : null;
    return this.#scene && this.#scene.result ? own : this.#reach;
  }

  #build() {
    const button = (kind, key, text, title) =>
      `<button type="button" data-${kind}="${key}" title="${title}" aria-label="${title}">${text}</button>`;
    this.innerHTML = `<div class="tt-legend"></div><div class="tt-roll-picture"><canvas role="img" tabindex="0"></canvas><i class="tt-roll-head" hidden></i></div>
      <p class="tt-beyond" hidden></p><p class="tt-edited" role="status"></p>
      <details class="tt-tools"><summary>Correct what was heard</summary><p class="tt-hint">Select a span by dragging or by its times, and change it.</p>
      <div class="tt-row" role="toolbar" aria-label="Tools">${TOOLS.map(([key, text, title]) => button("tool", key, text, title)).join("")}</div>
      <div class="tt-row"><label>From <input type="number" min="0" step="0.01" class="tt-from" value="0"> s</label><label>to <input type="number" min="0" step="0.01" class="tt-to" value="0"> s</label></div>
      <div class="tt-row" role="toolbar" aria-label="Changes">${CHANGES.map(([key, text, title]) => button("edit", key, text, title)).join("")}</div></details>
      <details class="tt-notes"><summary></summary><p></p></details>`;
    this.hidden = !this.#scene;
    this.querySelectorAll("[data-tool]").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.tool === "select")));
    this.addEventListener("click", (event) => this.#click(event.target.closest("button")));
    const from = this.querySelector(".tt-from"),
      to = this.querySelector(".tt-to");
    for (const field of [from, to])
      field.addEventListener("change", () => this.#select(+from.value, Math.min(+to.value, this.#scene.seconds)));
    this.#connectCanvas(this.querySelector("canvas"));
  }

  #tell() {
    const names = this.#scene.notes.map((note) => note.name),
      melody = names.slice(0, 60).join(", ") + (names.length > 60 ? " …" : "") || "no note";
    this.querySelector("canvas").setAttribute("aria-label", `Piano roll. Notes: ${melody}`);
    this.querySelector(".tt-notes summary").textContent = `${names.length} ${names.length === 1 ? "note" : "notes"}`;
    this.querySelector(".tt-notes p").textContent = melody;
    const beyond = this.unplayable,
      told = this.querySelector(".tt-beyond");
    told.hidden = !beyond.length;
    told.textContent = `${beyond.length} of ${names.length} notes ${beyond.length === 1 ? "is" : "are"} beyond this instrument (red): ${[...new Set(beyond.map((note) => note.name))].slice(0, 12).join(", ")}. Another octave may help.`;
    const last = this.#edits[this.#edits.length - 1],
      count = this.#edits.length;
    const rest =
      last && last.pitch && restShare(this.#scene, last) > 0.5 ? " The pitch that was drawn lies over a rest: there it is not heard." : "";
    this.querySelector(".tt-edited").textContent = count ? `${count} ${count === 1 ? "correction" : "corrections"}.${rest}` : "";
    if (count) this.querySelector(".tt-tools").open = true;
  }

  #click(button) {
    if (!button) return;
    const { tool, edit } = button.dataset,
      canvas = this.querySelector("canvas");
    if (tool) {
      this.#tool = tool;
      this.querySelectorAll("[data-tool]").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      canvas.style.touchAction = tool === "select" ? "pan-y" : "none";
      canvas.style.cursor = tool === "select" ? "col-resize" : "crosshair";
    } else if (edit === "undo") this.#publish(this.#edits.slice(0, -1));
    else if (edit === "clear") this.#publish([]);
    else if (edit) this.#add(CHANGES.find(([key]) => key === edit)[3]);
  }

  #add(change) {
    const span = { start_s: +this.#from.toFixed(3), end_s: +this.#to.toFixed(3) };
    if (span.end_s > span.start_s) this.#publish([...this.#edits, { ...span, ...change }]);
  }

  #publish(edits) {
    this.#edits = edits;
    this.#tell();
    this.#draw();
    this.dispatchEvent(new CustomEvent("tt-edits", { bubbles: true, detail: edits }));
  }

  #select(a, b) {
    this.#from = Math.min(a, b);
    this.#to = Math.max(a, b);
    this.#selected = this.#to - this.#from > 0.02;
    if (!this.#selected) {
      this.#from = 0;
      this.#to = this.#scene.seconds;
    }
    this.querySelector(".tt-from").value = this.#from.toFixed(2);
    this.querySelector(".tt-to").value = this.#to.toFixed(2);
    this.#draw();
  }

  #connectCanvas(canvas) {
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const value = (py) => (this.#tool === "pitch" ? this.#midiAt(py) : this.#dbAt(py));
    let start = null;
    canvas.style.touchAction = "pan-y";
    canvas.addEventListener("pointerdown", (event) => {
      const [px, py] = at(event);
      if (px < LEFT || !this.#place) return;
      canvas.setPointerCapture(event.pointerId);
      if (this.#tool === "select") start = this.#timeAt(px);
      else this.#stroke = { kind: this.#tool, points: [[this.#timeAt(px), value(py)]] };
    });
    canvas.addEventListener("pointermove", (event) => {
      const [px, py] = at(event);
      if (start !== null) this.#select(start, this.#timeAt(px));
      if (this.#stroke) {
        this.#stroke.points.push([this.#timeAt(px), value(py)]);
        this.#draw();
      }
    });
    const finish = () => {
      start = null;
      this.#finishStroke();
    };
    canvas.addEventListener("pointerup", finish);
    canvas.addEventListener("pointercancel", finish);
  }

  #finishStroke() {
    if (!this.#stroke) return;
    const { kind } = this.#stroke,
      points = this.#stroke.points.sort((a, b) => a[0] - b[0]).map(([t, v]) => [+t.toFixed(3), +v.toFixed(2)]);
    this.#stroke = null;
    if (points.length < 2 || points[points.length - 1][0] <= points[0][0]) {
      this.#draw();
      return;
    }
    this.#select(points[0][0], points[points.length - 1][0]);
    this.#from = points[0][0];
    this.#to = points[points.length - 1][0];
    this.#add({ [kind]: points });
  }

  // ---- the picture

  #x(t) {
    return LEFT + ((this.#place.width - LEFT - RIGHT) * t) / this.#scene.seconds;
  }
  #timeAt(px) {
    return Math.min(Math.max((px - LEFT) / (this.#place.width - LEFT - RIGHT), 0), 1) * this.#scene.seconds;
  }
  #yMidi(m) {
    const { roll, low, high } = this.#place;
    return TOP + (roll * (high + 0.5 - m)) / (high - low + 1);
  }
  #midiAt(py) {
    const { roll, low, high } = this.#place;
    return high + 0.5 - ((py - TOP) / roll) * (high - low + 1);
  }
  #yDb(db) {
    const { loudTop, loud } = this.#place;
    return loudTop + loud * Math.min(Math.max(-db / 60, 0), 1);
  }
  #dbAt(py) {
    const { loudTop, loud } = this.#place;
    return -60 * Math.min(Math.max((py - loudTop) / loud, 0), 1);
  }

  /** The axis of pitch holds all that is shown, also what edits and strokes have moved. */
  #span() {
    const drawn = this.#stroke && this.#stroke.kind === "pitch" ? this.#stroke.points.map((one) => one[1]) : [];
    const drawnEdits = this.#edits.flatMap((edit) => (edit.pitch || []).map((one) => one[1]));
    const all = [...this.#shown.midi, ...this.#scene.source.midi, ...(this.#scene.result ? this.#scene.result.midi : [])].filter(
      (m) => m !== null,
    );
    const values = [...all, ...drawn, ...drawnEdits],
      middle = values.length ? values.reduce((a, b) => a + b, 0) / values.length : 66;
    return [
      Math.floor(values.reduce((a, b) => Math.min(a, b), middle - 7)) - 2,
      Math.ceil(values.reduce((a, b) => Math.max(a, b), middle + 7)) + 2,
    ];
  }

  #draw() {
    const canvas = this.querySelector("canvas"),
      width = canvas && canvas.parentElement.clientWidth;
    if (!width || !this.#scene) return;
    this.#shown = edited(this.#scene, this.#edits);
    const phone = width < 520,
      [low, high] = this.#span(),
      roll = Math.max(phone ? 190 : 240, 6 * (high - low + 1)),
      loud = phone ? 56 : 70;
    this.#place = { width, low, high, roll, loud, loudTop: TOP + roll + GAP };
    const height = TOP + roll + GAP + loud + 24,
      ratio = window.devicePixelRatio || 1,
      pen = canvas.getContext("2d");
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = inks(this, ["ink", "soft", "rule", "black-row", "key-black", "key-white", "source", "result", "bad", "selection"]);
    pen.font = `11px ${getComputedStyle(this).fontFamily}`;
    pen.textBaseline = "middle";
    this.#drawKeys(pen, colours);
    this.#drawTimes(pen, colours, height);
    this.#drawContours(pen, colours);
    this.#drawNames(pen, colours);
    this.#drawTouch(pen, colours);
    this.#moveHead();
  }

  #drawKeys(pen, colours) {
    const { low, high, roll, width, loudTop, loud } = this.#place,
      row = roll / (high - low + 1),
      inner = width - LEFT - RIGHT;
    for (let m = low; m <= high; m++) {
      const top = this.#yMidi(m + 0.5),
        black = [1, 3, 6, 8, 10].includes(((m % 12) + 12) % 12);
      if (black) {
        pen.fillStyle = colours["black-row"];
        pen.fillRect(LEFT, top, inner, row);
      }
      pen.fillStyle = black ? colours["key-black"] : colours["key-white"];
      pen.fillRect(LEFT - 12, top + 0.5, 10, Math.max(row - 1, 1));
      if (((m % 12) + 12) % 12) continue;
      pen.strokeStyle = colours.rule;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(LEFT, top + row);
      pen.lineTo(width - RIGHT, top + row);
      pen.stroke();
      pen.fillStyle = colours.soft;
      pen.textAlign = "right";
      pen.fillText(noteName(m), LEFT - 16, top + row / 2);
    }
    pen.strokeStyle = colours.rule;
    pen.strokeRect(LEFT + 0.5, loudTop + 0.5, inner - 1, loud - 1);
    pen.fillStyle = colours.soft;
    pen.textAlign = "right";
    pen.fillText("0", LEFT - 6, loudTop + 6);
    pen.fillText("−60 dB", LEFT - 4, loudTop + loud - 6);
  }

  #drawTimes(pen, colours, height) {
    const inner = this.#place.width - LEFT - RIGHT,
      rough = this.#scene.seconds / Math.max(inner / 90, 1);
    const every = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60].find((s) => s >= rough) || 60;
    pen.textAlign = "center";
    pen.fillStyle = colours.soft;
    pen.strokeStyle = colours.rule;
    pen.lineWidth = 1;
    for (let t = 0; t <= this.#scene.seconds; t += every) {
      pen.beginPath();
      pen.moveTo(this.#x(t), TOP);
      pen.lineTo(this.#x(t), height - 18);
      pen.stroke();
      if (this.#x(t) < this.#place.width - 16) pen.fillText(`${+t.toFixed(1)} s`, Math.max(this.#x(t), LEFT + 8), height - 8);
    }
  }

  #line(pen, values, isPitch, thickness, ink, alpha = 1) {
    const step = this.#scene.step_s,
      y = (value) => (isPitch ? this.#yMidi(value) : this.#yDb(value));
    pen.save();
    pen.beginPath();
    pen.lineWidth = thickness;
    pen.strokeStyle = ink;
    pen.globalAlpha = alpha;
    pen.lineJoin = pen.lineCap = "round";
    let open = false;
    values.forEach((value, i) => {
      if (value === null) {
        open = false;
        return;
      }
      const jump = open && isPitch && Math.abs(value - values[i - 1]) > 3;
      if (open && !jump) pen.lineTo(this.#x(i * step), y(value));
      else pen.moveTo(this.#x(i * step), y(value));
      open = true;
    });
    pen.stroke();
    pen.restore();
  }

  #drawContours(pen, colours) {
    const { result, source } = this.#scene,
      reach = this.#limits();
    if (this.#edits.length) this.#line(pen, source.midi, true, 2, colours.source, 0.3);
    this.#line(pen, this.#shown.midi, true, result ? 5 : 2.5, colours.source, result ? 0.45 : 1);
    this.#line(pen, this.#shown.db, false, 1.5, colours.source, result ? 0.7 : 1);
    if (result) {
      this.#line(pen, result.midi, true, 2.2, colours.result);
      this.#line(pen, result.db, false, 1.5, colours.result);
    }
    if (!reach) return;
    const beyond = (result || this.#shown).midi.map((m) =>
      m !== null && (m < reach[0] - REACH_SLACK || m > reach[1] + REACH_SLACK) ? m : null,
    );
    this.#line(pen, beyond, true, 4, colours.bad);
  }

  #drawNames(pen, colours) {
    const { notes, result, step_s } = this.#scene,
      beyond = new Set(this.unplayable);
    pen.textAlign = "left";
    pen.font = pen.font.replace("11px", "600 11px");
    let right = -1e9;
    for (const note of notes) {
      const px = this.#x(note.start_s) + 2;
      if (px < right + 4) continue;
      const around = (result || this.#shown).midi
        .slice(Math.round(note.start_s / step_s), Math.round(note.end_s / step_s))
        .filter((m) => m !== null);
      pen.fillStyle = beyond.has(note) ? colours.bad : colours.ink;
      pen.fillText(note.name, px, Math.max(this.#yMidi(Math.max(note.midi, ...around)) - 9, TOP - 8));
      right = px + pen.measureText(note.name).width;
    }
  }

  #drawTouch(pen, colours) {
    const { loudTop, loud } = this.#place;
    if (this.#selected) {
      pen.fillStyle = colours.selection;
      pen.fillRect(this.#x(this.#from), TOP, this.#x(this.#to) - this.#x(this.#from), loudTop + loud - TOP);
    }
    if (!this.#stroke) return;
    pen.beginPath();
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 2;
    pen.setLineDash([4, 3]);
    this.#stroke.points.forEach(([t, v]) => pen.lineTo(this.#x(t), this.#stroke.kind === "pitch" ? this.#yMidi(v) : this.#yDb(v)));
    pen.stroke();
    pen.setLineDash([]);
  }

  #moveHead() {
    const head = this.querySelector(".tt-roll-head");
    if (!head || !this.#place || !this.#scene) return;
    head.hidden = this.#time === null;
    head.style.left = `${this.#x(Math.min(this.#time || 0, this.#scene.seconds))}px`;
  }
}

customElements.define("tt-roll", Roll);
