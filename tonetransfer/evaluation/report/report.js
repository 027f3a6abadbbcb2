"use strict";
// One sound at a time; within an example the next one goes on where the last one was.
const sounds = [...document.querySelectorAll("audio")];
let last = null;
for (const sound of sounds) {
  const example = sound.closest(".example"), seconds = Number(example.dataset.seconds);
  const own = sound.closest("figure").querySelector(".head"), common = [...example.querySelectorAll(".plot .head")];
  const show = () => {
    const place = `${100 * Math.min(sound.currentTime / seconds, 1)}%`;
    for (const head of [own, ...common]) head.style.left = place;
    if (!sound.paused) requestAnimationFrame(show);
  };
  sound.addEventListener("play", () => {
    const from = last && last !== sound && last.closest(".example") === example && !last.ended ? last.currentTime : null;
    for (const other of sounds) if (other !== sound) other.pause();
    for (const figure of document.querySelectorAll(".playing")) figure.classList.remove("playing");
    sound.closest("figure").classList.add("playing");
    example.querySelector(".contours").classList.add("playing");
    if (from !== null && from < (sound.duration || seconds) - 0.05) sound.currentTime = from;
    last = sound;
    show();
  });
  sound.addEventListener("seeked", show);
  sound.closest("figure").querySelector(".picture").addEventListener("click", (event) => {
    const box = event.currentTarget.getBoundingClientRect(), place = (event.clientX - box.left) / box.width * seconds;
    if (last !== sound && last) last.pause();
    last = sound;
    sound.currentTime = Math.min(place, sound.duration || seconds);
    sound.play();
  });
}
// Tables are sorted by a click on a heading: numbers by their value, words by the alphabet.
for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const one of table.querySelectorAll("thead th")) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => {
      const cell = row.cells[column];
      return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent.trim();
    };
    const empty = (one) => one === "";
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (empty(x) || empty(y)) return empty(x) - empty(y);
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  });
}
// Light or dark as the computer is set, or as the button says.
const theme = document.getElementById("theme"), root = document.documentElement;
const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
const label = () => { theme.textContent = dark() ? "Light" : "Dark"; };
theme.hidden = false;
theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
label();
