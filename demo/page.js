// Draws the pictures, and keeps two hidden fields of the form: which card is chosen, and what was edited.
() => {
  if (window.ttReady) return;
  window.ttReady = true;
  const colour = (name) => getComputedStyle(document.querySelector(".gradio-container") || document.body).getPropertyValue(name).trim();
  const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
  const noteName = (midi) => NAMES[((midi % 12) + 12) % 12] + (Math.floor(midi / 12) - 1);
  const LEFT = 44, RIGHT = 8, GAP = 10;

  const setField = (id, value) => {
    const field = document.querySelector(`#${id} textarea, #${id} input`);
    if (!field || field.value === value) return;
    const set = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set;
    set.call(field, value);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

  // ---- cards of instruments
  document.addEventListener("change", (event) => {
    if (event.target.name === "tt-instrument") setField("tt-instrument", event.target.value);
  });
  document.addEventListener("click", (event) => {
    const chip = event.target.closest(".tt-chip");
    if (chip) {
      event.preventDefault();
      const family = document.getElementById(`tt-family-${chip.dataset.family}`);
      const box = family.closest(".tt-picker");
      box.scrollTo({ top: family.offsetTop - box.offsetTop, behavior: "smooth" });
      (family.querySelector("input:checked") || family.querySelector("input")).focus({ preventScroll: true });
    }
  });

  // ---- edits of the contours, as the server makes them
  const median = (values) => { const sorted = [...values].sort((a, b) => a - b); return sorted[Math.floor(sorted.length / 2)]; };
  const line = (points, t) => {
    if (t <= points[0][0]) return points[0][1];
    for (let i = 1; i < points.length; i++) {
      const [t0, v0] = points[i - 1], [t1, v1] = points[i];
      if (t <= t1) return v0 + (v1 - v0) * (t - t0) / Math.max(t1 - t0, 1e-9);
    }
    return points[points.length - 1][1];
  };
  const edited = (data, edits) => {
    const midi = [...data.source.midi], held = [...data.source.held], db = [...data.source.db];
    for (const edit of edits) {
      const inside = (i) => i * data.step_s >= edit.start_s && i * data.step_s < edit.end_s;
      let shift = edit.semitones || 0;
      if (edit.fix_octave) {
        const near = midi.filter((m, i) => m !== null && !inside(i) && i * data.step_s >= edit.start_s - 2 && i * data.step_s < edit.end_s + 2);
        const own = held.filter((_, i) => inside(i));
        if (near.length && own.length) shift += 12 * Math.round((median(near) - median(own)) / 12);
      }
      for (let i = 0; i < midi.length; i++) {
        if (!inside(i)) continue;
        if (edit.pitch) midi[i] = held[i] = line(edit.pitch, i * data.step_s);
        if (edit.loudness) db[i] = line(edit.loudness, i * data.step_s);
        held[i] += shift;
        if (midi[i] !== null) midi[i] += shift;
        if (db[i] > -120) db[i] = Math.max(db[i] + (edit.db || 0), -120);
      }
    }
    return { midi, held, db };
  };

  // ---- the roll
  const layout = (data, width) => {
    const phone = width < 520, roll = phone ? 200 : 250, loud = phone ? 56 : 70, spectrum = phone ? 80 : 100;
    const panels = { roll: [22, roll], loud: [22 + roll + GAP, loud] };
    let y = 22 + roll + loud + 2 * GAP;
    for (const name of ["source_picture", "result_picture"]) if (data[name]) { panels[name] = [y, spectrum]; y += spectrum + GAP; }
    return { panels, height: y + 14 };
  };
  const rollOf = (section) => {
    const data = JSON.parse(section.querySelector(".tt-data").dataset.json);
    const canvas = section.querySelector("canvas"), pen = canvas.getContext("2d");
    const state = { edits: [], tool: "select", from: 0, to: data.seconds, selected: false, stroke: null, playhead: null };
    const pictures = {};
    for (const name of ["source_picture", "result_picture"]) if (data[name]) {
      pictures[name] = new Image();
      pictures[name].onload = () => draw();
      pictures[name].src = data[name];
    }
    const pitched = [...data.source.midi, ...(data.result ? data.result.midi : [])].filter((m) => m !== null);
    const middle = pitched.length ? pitched.reduce((a, b) => a + b, 0) / pitched.length : 66;
    const lowest = Math.floor(Math.min(...(pitched.length ? pitched : [middle]), middle - 7)) - 2;
    const highest = Math.ceil(Math.max(...(pitched.length ? pitched : [middle]), middle + 7)) + 2;
    let place = null;
    const x = (t) => LEFT + (place.width - LEFT - RIGHT) * t / data.seconds;
    const time = (px) => Math.min(Math.max((px - LEFT) / (place.width - LEFT - RIGHT), 0), 1) * data.seconds;
    const yMidi = (m) => place.panels.roll[0] + place.panels.roll[1] * (highest + 0.5 - m) / (highest - lowest + 1);
    const midiAt = (py) => highest + 0.5 - (py - place.panels.roll[0]) / place.panels.roll[1] * (highest - lowest + 1);
    const yDb = (db) => place.panels.loud[0] + place.panels.loud[1] * Math.min(Math.max(-db / 60, 0), 1);
    const dbAt = (py) => -60 * Math.min(Math.max((py - place.panels.loud[0]) / place.panels.loud[1], 0), 1);
    const path = (values, y, thickness, ink, alpha = 1) => {
      pen.save(); pen.beginPath(); pen.lineWidth = thickness; pen.strokeStyle = ink; pen.globalAlpha = alpha; pen.lineJoin = pen.lineCap = "round";
      let open = false;
      values.forEach((value, i) => {
        const jump = open && value !== null && i && values[i - 1] !== null && y === yMidi && Math.abs(value - values[i - 1]) > 3;
        if (value === null) { open = false; return; }
        if (open && !jump) pen.lineTo(x(i * data.step_s), y(value)); else pen.moveTo(x(i * data.step_s), y(value));
        open = true;
      });
      pen.stroke(); pen.restore();
    };
    const draw = () => {
      const width = canvas.parentElement.clientWidth;
      if (!width) return;
      const { panels, height } = layout(data, width), ratio = window.devicePixelRatio || 1;
      place = { width, panels };
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      const ink = colour("--tt-ink"), faint = colour("--tt-faint"), rule = colour("--tt-rule"), black = colour("--tt-black-row");
      const sourceInk = colour("--tt-source"), resultInk = colour("--tt-result"), font = getComputedStyle(document.body).fontFamily;
      pen.clearRect(0, 0, width, height);
      pen.font = `11px ${font}`; pen.textBaseline = "middle";
      const inner = width - LEFT - RIGHT, [rollTop, rollHeight] = panels.roll;
      const rowHeight = rollHeight / (highest - lowest + 1);
      for (let m = lowest; m <= highest; m++) {
        const top = yMidi(m + 0.5);
        if ([1, 3, 6, 8, 10].includes(((m % 12) + 12) % 12)) { pen.fillStyle = black; pen.fillRect(LEFT, top, inner, rowHeight); }
        pen.fillStyle = [1, 3, 6, 8, 10].includes(((m % 12) + 12) % 12) ? colour("--tt-key-black") : colour("--tt-key-white");
        pen.fillRect(LEFT - 12, top + 0.5, 10, Math.max(rowHeight - 1, 1));
        if (((m % 12) + 12) % 12 === 0) {
          pen.strokeStyle = rule; pen.lineWidth = 1; pen.beginPath(); pen.moveTo(LEFT, top + rowHeight); pen.lineTo(width - RIGHT, top + rowHeight); pen.stroke();
          pen.fillStyle = faint; pen.textAlign = "right"; pen.fillText(noteName(m), LEFT - 16, top + rowHeight / 2);
        }
      }
      const rough = data.seconds / Math.max(inner / 90, 1);
      const every = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60].find((s) => s >= rough) || 60;
      pen.textAlign = "center"; pen.fillStyle = faint; pen.strokeStyle = rule; pen.lineWidth = 1;
      for (let t = 0; t <= data.seconds; t += every) {
        pen.beginPath(); pen.moveTo(x(t), rollTop); pen.lineTo(x(t), height - 18); pen.stroke();
        if (x(t) < width - 16) pen.fillText(`${+t.toFixed(1)} s`, Math.max(x(t), LEFT + 8), height - 8);
      }
      const [loudTop, loudHeight] = panels.loud;
      pen.strokeStyle = rule; pen.strokeRect(LEFT + 0.5, loudTop + 0.5, inner - 1, loudHeight - 1);
      pen.fillStyle = faint; pen.textAlign = "right"; pen.fillText("0", LEFT - 6, loudTop + 6); pen.fillText("−60 dB", LEFT - 4, loudTop + loudHeight - 6);
      for (const name of ["source_picture", "result_picture"]) if (panels[name]) {
        const [top, tall] = panels[name];
        if (pictures[name].complete) pen.drawImage(pictures[name], LEFT, top, inner, tall);
        pen.fillStyle = faint; pen.textAlign = "right";
        for (const [hz, text] of [[100, "100"], [1000, "1k"], [10000, "10k"]]) {
          pen.fillText(text, LEFT - 6, top + tall * (1 - Math.log(hz / data.lowest_hz) / Math.log(data.highest_hz / data.lowest_hz)));
        }
        pen.fillStyle = name === "source_picture" ? sourceInk : resultInk;
        pen.fillRect(LEFT, top, 3, tall);
      }
      const changed = edited(data, state.edits);
      if (state.edits.length) path(data.source.midi, yMidi, 2, sourceInk, 0.3);
      path(changed.midi, yMidi, data.result ? 5 : 2.5, sourceInk, data.result ? 0.45 : 1);
      path(changed.db, yDb, 1.5, sourceInk, data.result ? 0.7 : 1);
      if (data.result) {
        path(data.result.midi, yMidi, 2.2, resultInk);
        path(data.result.db, yDb, 1.5, resultInk);
      }
      pen.textAlign = "left"; pen.font = `600 11px ${font}`; pen.fillStyle = ink;
      let right = -1e9;
      for (const note of data.notes) {
        const px = x(note.start_s) + 2;
        if (px < right + 4) continue;
        const around = (data.result || data.source).midi.slice(Math.round(note.start_s / data.step_s), Math.round(note.end_s / data.step_s));
        const peak = Math.max(note.midi, ...around.filter((m) => m !== null));
        pen.fillText(note.name, px, Math.max(yMidi(peak) - 9, rollTop - 8));
        right = px + pen.measureText(note.name).width;
      }
      if (state.selected) {
        pen.fillStyle = colour("--tt-selection");
        pen.fillRect(x(state.from), rollTop, x(state.to) - x(state.from), loudTop + loudHeight - rollTop);
      }
      if (state.stroke) {
        pen.beginPath(); pen.strokeStyle = ink; pen.lineWidth = 2; pen.setLineDash([4, 3]);
        state.stroke.points.forEach(([t, v], i) => { const y = state.stroke.kind === "pitch" ? yMidi(v) : yDb(v); i ? pen.lineTo(x(t), y) : pen.moveTo(x(t), y); });
        pen.stroke(); pen.setLineDash([]);
      }
      if (state.playhead !== null) {
        pen.fillStyle = ink; pen.fillRect(x(Math.min(state.playhead, data.seconds)), rollTop, 1.5, height - 18 - rollTop);
      }
    };
    const from = section.querySelector(".tt-from"), to = section.querySelector(".tt-to"), told = section.querySelector(".tt-edited");
    const select = (a, b) => {
      state.from = Math.min(a, b); state.to = Math.max(a, b); state.selected = state.to - state.from > 0.02;
      if (!state.selected) { state.from = 0; state.to = data.seconds; }
      from.value = state.from.toFixed(2); to.value = state.to.toFixed(2);
      draw();
    };
    const publish = () => {
      setField("tt-edits", state.edits.length ? JSON.stringify(state.edits) : "");
      told.textContent = state.edits.length ? `${state.edits.length} edit${state.edits.length > 1 ? "s" : ""}: play again to hear` : "";
      draw();
    };
    const add = (change) => {
      const span = { start_s: +state.from.toFixed(3), end_s: +state.to.toFixed(3) };
      if (span.end_s > span.start_s) { state.edits.push({ ...span, ...change }); publish(); }
    };
    const changes = {
      octave_up: { semitones: 12 }, octave_down: { semitones: -12 }, semitone_up: { semitones: 1 }, semitone_down: { semitones: -1 },
      fix_octave: { fix_octave: true }, louder: { db: 3 }, softer: { db: -3 },
    };
    section.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.tool) {
        state.tool = button.dataset.tool;
        section.querySelectorAll("[data-tool]").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
        canvas.style.touchAction = state.tool === "select" ? "pan-y" : "none";
        canvas.style.cursor = state.tool === "select" ? "col-resize" : "crosshair";
      } else if (button.dataset.edit === "undo") { state.edits.pop(); publish(); }
      else if (button.dataset.edit === "clear") { state.edits = []; publish(); }
      else if (changes[button.dataset.edit]) add(changes[button.dataset.edit]);
    });
    for (const field of [from, to]) field.addEventListener("change", () => select(+from.value, Math.min(+to.value, data.seconds)));
    const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    let start = null;
    canvas.style.touchAction = "pan-y";
    canvas.addEventListener("pointerdown", (event) => {
      const [px, py] = at(event);
      if (px < LEFT) return;
      canvas.setPointerCapture(event.pointerId);
      if (state.tool === "select") start = time(px);
      else state.stroke = { kind: state.tool, points: [[time(px), state.tool === "pitch" ? midiAt(py) : dbAt(py)]] };
    });
    canvas.addEventListener("pointermove", (event) => {
      const [px, py] = at(event);
      if (start !== null) select(start, time(px));
      if (state.stroke) { state.stroke.points.push([time(px), state.stroke.kind === "pitch" ? midiAt(py) : dbAt(py)]); draw(); }
    });
    const finish = () => {
      start = null;
      if (!state.stroke) return;
      const { kind } = state.stroke;
      const points = state.stroke.points.sort((a, b) => a[0] - b[0]).map(([t, v]) => [+t.toFixed(3), +v.toFixed(2)]);
      state.stroke = null;
      if (points.length > 1 && points[points.length - 1][0] > points[0][0]) {
        select(points[0][0], points[points.length - 1][0]);
        state.from = points[0][0]; state.to = points[points.length - 1][0];
        add({ [kind]: points });
      } else draw();
    };
    canvas.addEventListener("pointerup", finish);
    canvas.addEventListener("pointercancel", finish);
    new ResizeObserver(() => draw()).observe(canvas.parentElement);
    section.ttDraw = draw;
    section.ttPlayhead = (t, seconds) => { if (Math.abs(seconds - data.seconds) < 0.1) { state.playhead = t; draw(); } };
    const kept = document.querySelector("#tt-edits textarea, #tt-edits input");
    if (kept && kept.value) { try { state.edits = JSON.parse(kept.value); } catch { state.edits = []; } }
    if (state.edits.length) told.textContent = `${state.edits.length} edit${state.edits.length > 1 ? "s" : ""}`;
    if (state.edits.length) section.querySelector(".tt-tools").open = true;
    draw();
  };

  // ---- the map of timbres
  const FAMILY = { strings: 0, flute: 1, reed: 2, sax: 3, brass: 4, "free reed": 5, free_reed: 5, organ: 5, voice: 6, plucked: 7 };
  const mapOf = (section) => {
    const data = JSON.parse(section.querySelector(".tt-data").dataset.json), canvas = section.querySelector("canvas"), pen = canvas.getContext("2d");
    const all = [...data.named, ...Object.values(data.points)];
    const [x0, x1, y0, y1] = ["x", "y"].flatMap((k) => [Math.min(...all.map((p) => p[k])), Math.max(...all.map((p) => p[k]))]);
    let hover = null;
    const draw = () => {
      const width = section.clientWidth, height = Math.min(380, Math.max(260, width * 0.6)), ratio = window.devicePixelRatio || 1;
      if (!width) return;
      canvas.style.height = `${height}px`; canvas.width = width * ratio; canvas.height = height * ratio; pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      const x = (p) => 26 + (width - 52) * (p.x - x0) / (x1 - x0 || 1), y = (p) => 20 + (height - 40) * (1 - (p.y - y0) / (y1 - y0 || 1));
      pen.clearRect(0, 0, width, height);
      const font = getComputedStyle(document.body).fontFamily, ink = colour("--tt-ink"), taken = [], named = new Set();
      const write = (p, text, weight, always) => {
        pen.font = `${weight} 11px ${font}`;
        if (named.has(text)) return;
        const wide = pen.measureText(text).width, px = x(p), py = y(p);
        const free = ([left, top]) => left > 2 && left + wide < width - 2 && top > 6 && top < height - 6
          && !taken.some(([l, t, w]) => Math.abs(t - top) < 12 && left < l + w + 4 && l < left + wide + 4)
          && !data.named.some((o) => o !== p && Math.abs(y(o) - top) < 9 && x(o) > left - 4 && x(o) < left + wide + 4);
        const places = [[px + 7, py], [px - 7 - wide, py], [px - wide / 2, py - 12], [px - wide / 2, py + 12]];
        const place = places.find(free) || (always && places.find(([left]) => left > 2 && left + wide < width - 2));
        if (!place) return;
        taken.push([...place, wide]); named.add(text);
        pen.textBaseline = "middle"; pen.lineWidth = 3; pen.lineJoin = "round"; pen.strokeStyle = colour("--tt-paper"); pen.strokeText(text, ...place);
        pen.fillStyle = ink; pen.fillText(text, ...place);
      };
      for (const p of data.named) {
        pen.beginPath(); pen.arc(x(p), y(p), 4, 0, 7); pen.fillStyle = colour(`--tt-c${FAMILY[p.family] ?? 7}`); pen.globalAlpha = 0.85; pen.fill(); pen.globalAlpha = 1;
      }
      for (const [key, p] of Object.entries(data.points)) {
        const mine = colour(key === "Your recording" ? "--tt-source" : "--tt-result");
        pen.beginPath(); pen.arc(x(p), y(p), 9, 0, 7); pen.strokeStyle = mine; pen.lineWidth = 3; pen.stroke();
        taken.push([x(p) - 9, y(p), 18]);
        write({ ...p, x: p.x + (x(p) < width / 2 ? 8 : -8) * (x1 - x0) / (width - 52), y: p.y + 13 * (y1 - y0) / (height - 40) }, key, "700", true);
      }
      if (hover) write(hover, hover.name, "700", true);
      for (const p of data.named) if (data.nearest.includes(p.name)) write(p, p.name, "600");
      if (width > 420) for (const p of data.named) if (!/ .* /.test(p.name)) write(p, p.name, "400");
      section.ttNear = (px, py) => data.named.map((p) => [Math.hypot(x(p) - px, y(p) - py), p]).sort((a, b) => a[0] - b[0])[0];
    };
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect(), [far, p] = section.ttNear(event.clientX - box.left, event.clientY - box.top);
      const next = far < 16 ? p : null;
      if (next !== hover) { hover = next; draw(); }
    });
    new ResizeObserver(() => draw()).observe(section);
    section.ttDraw = draw;
    draw();
  };

  const begin = () => {
    document.querySelectorAll(".tt-roll:not([data-drawn])").forEach((one) => { one.dataset.drawn = "yes"; rollOf(one); });
    document.querySelectorAll(".tt-map:not([data-drawn])").forEach((one) => { one.dataset.drawn = "yes"; mapOf(one); });
  };
  new MutationObserver(begin).observe(document.body, { childList: true, subtree: true });
  new MutationObserver(() => document.querySelectorAll(".tt-roll, .tt-map").forEach((one) => one.ttDraw && one.ttDraw()))
    .observe(document.body, { attributes: true, attributeFilter: ["class"] });
  // Gradio's players are outside the document, where no event is heard: they are watched from the moment they are made
  const sounds = (window.ttSounds = []);
  const watch = (sound) => {
    sounds.push(sound);
    sound.addEventListener("play", () => {  // one sound at a time
      [...sounds, ...document.querySelectorAll("audio")].forEach((one) => { if (one !== sound && !one.paused) one.pause(); });
    });
    sound.addEventListener("timeupdate", () => {
      document.querySelectorAll("#tt-roll .tt-roll").forEach((one) => one.ttPlayhead && one.ttPlayhead(sound.currentTime, sound.duration));
    });
  };
  const make = document.createElement.bind(document);
  document.createElement = (name, ...more) => {
    const made = make(name, ...more);
    if (String(name).toLowerCase() === "audio") watch(made);
    return made;
  };
  document.addEventListener("play", (event) => {
    [...sounds, ...document.querySelectorAll("audio")].forEach((one) => { if (one !== event.target && !one.paused) one.pause(); });
  }, true);

  // ---- what a phone or a browser records is decoded here: the server need not know its format
  const FOREIGN = /\.(m4a|m4b|mp4|aac|3gp|webm|mka|mkv|mov|amr|wma)$/i;
  const LARGEST = 50e6;
  const zoneOf = (target) => target.closest && target.closest("#tt-source, #tt-reference, #tt-files");
  const asWav = async (file) => {
    if (!FOREIGN.test(file.name) || file.size > LARGEST) return file;
    const context = new AudioContext();
    try {
      const sound = await context.decodeAudioData(await file.arrayBuffer());
      const view = new DataView(new ArrayBuffer(44 + 2 * sound.length)), rate = sound.sampleRate;
      const word = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
      word(0, "RIFF"); view.setUint32(4, 36 + 2 * sound.length, true); word(8, "WAVEfmt "); view.setUint32(16, 16, true);
      view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
      view.setUint16(32, 2, true); view.setUint16(34, 16, true); word(36, "data"); view.setUint32(40, 2 * sound.length, true);
      const channels = Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i));
      for (let i = 0; i < sound.length; i++) {
        const mean = channels.reduce((sum, one) => sum + one[i], 0) / channels.length;
        view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, mean))), true);
      }
      return new File([view.buffer], file.name.replace(/\.[^.]*$/, "") + ".wav", { type: "audio/wav" });
    } catch {
      return file;  // the server says what is wrong with it
    } finally {
      context.close();
    }
  };
  const decodeFirst = async (event, files, input) => {
    if (event.ttDecoded || !input || ![...files].some((file) => FOREIGN.test(file.name))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const given = new DataTransfer();
    for (const file of [...files]) given.items.add(await asWav(file));
    input.files = given.files;
    const again = new Event("change", { bubbles: true });
    again.ttDecoded = true;
    input.dispatchEvent(again);
  };
  window.addEventListener("change", (event) => {
    if (event.target.type === "file" && zoneOf(event.target)) decodeFirst(event, event.target.files, event.target);
  }, true);
  window.addEventListener("drop", (event) => {
    const zone = zoneOf(event.target);
    if (zone && event.dataTransfer) decodeFirst(event, event.dataTransfer.files, zone.querySelector("input[type=file]"));
  }, true);
  begin();
}
