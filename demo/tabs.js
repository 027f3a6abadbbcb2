// The tabs beside Play: many instruments, figures of the recording, and many recordings.
import { drawMap } from "./map.js";
import { ask, readable, upload } from "./server.js";
import { askWithSource } from "./source.js";
import { $, movedWords, show, state, stoppable, wish } from "./state.js";

const comparing = stoppable("tt-compare-stop", "tt-compare-work", "tt-compare-error");
const measuring = stoppable("tt-analyze-stop", "tt-analyze-work", "tt-analyze-error");
const batching = stoppable("tt-batch-stop", "tt-batch-work", "tt-batch-error");

export function saveAs(address, name = "") {
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

/** What was found of another recording is no longer shown. */
export function clearTabs() {
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

export function connectTabs() {
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

export function fileButton(element, address, text) {
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

export function connectCompare() {
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

export function connectAnalyze() {
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

export function connectBatch() {
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
