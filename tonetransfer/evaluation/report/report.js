"use strict";
// The contours of an example go along with its player, and a click into them goes to that place.
for (const example of document.querySelectorAll(".example")) {
  const player = example.querySelector("ab-player"), seconds = Number(example.dataset.seconds), plots = example.querySelectorAll(".plot");
  player.addEventListener("ab-time", ({ detail }) => {
    example.classList.toggle("begun", detail.time > 0);
    for (const plot of plots) plot.querySelector(".head").style.left = `${100 * Math.min(detail.time / seconds, 1)}%`;
  });
  for (const plot of plots) {
    plot.addEventListener("click", async (event) => {
      const box = plot.getBoundingClientRect();
      await player.load();
      player.currentTime = (event.clientX - box.left) / box.width * seconds;
    });
  }
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
