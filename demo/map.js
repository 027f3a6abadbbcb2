// The map of timbres: named ones in the plane in which they differ most, and where recording and result lie among them.
import { inks } from "./roll.js";

const FAMILY = { strings: 0, flute: 1, reed: 2, sax: 3, brass: 4, "free reed": 5, free_reed: 5, organ: 5, voice: 6, plucked: 7 };

/** Draw a map that the server has described, and draw it again at other widths and by night (`tt-draw`). */
export function drawMap(section) {
  const data = JSON.parse(section.querySelector(".tt-data").dataset.json),
    canvas = section.querySelector("canvas"),
    pen = canvas.getContext("2d");
  const all = [...data.named, ...Object.values(data.points)];
  const [x0, x1, y0, y1] = ["x", "y"].flatMap((k) => [Math.min(...all.map((p) => p[k])), Math.max(...all.map((p) => p[k]))]);
  let colours = {},
    hover = null,
    near = () => [Infinity, null];
  const draw = () => {
    const width = section.clientWidth - 28,
      height = Math.min(380, Math.max(260, width * 0.6)),
      ratio = window.devicePixelRatio || 1;
    if (width < 50) return;
    canvas.style.height = `${height}px`;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const x = (p) => 26 + ((width - 52) * (p.x - x0)) / (x1 - x0 || 1),
      y = (p) => 20 + (height - 40) * (1 - (p.y - y0) / (y1 - y0 || 1));
    pen.clearRect(0, 0, width, height);
    colours = inks(section, ["ink", "paper", "source", "result", ...Array.from({ length: 8 }, (_, k) => `c${k}`)]);
    const font = getComputedStyle(document.body).fontFamily,
      taken = [],
      named = new Set();
    const write = (p, text, weight, always) => {
      pen.font = `${weight} 11px ${font}`;
      if (named.has(text)) return;
      const wide = pen.measureText(text).width,
        px = x(p),
        py = y(p);
      const free = ([left, top]) =>
        left > 2 &&
        left + wide < width - 2 &&
        top > 6 &&
        top < height - 6 &&
        !taken.some(([l, t, w]) => Math.abs(t - top) < 12 && left < l + w + 4 && l < left + wide + 4) &&
        !data.named.some((o) => o !== p && Math.abs(y(o) - top) < 9 && x(o) > left - 4 && x(o) < left + wide + 4);
      const places = [
        [px + 7, py],
        [px - 7 - wide, py],
        [px - wide / 2, py - 12],
        [px - wide / 2, py + 12],
      ];
      const place = places.find(free) || (always && places.find(([left]) => left > 2 && left + wide < width - 2));
      if (!place) return;
      taken.push([...place, wide]);
      named.add(text);
      pen.textBaseline = "middle";
      pen.lineWidth = 3;
      pen.lineJoin = "round";
      pen.strokeStyle = colours.paper;
      pen.strokeText(text, ...place);
      pen.fillStyle = colours.ink;
      pen.fillText(text, ...place);
    };
    for (const p of data.named) {
      pen.beginPath();
      pen.arc(x(p), y(p), 4, 0, 7);
      pen.fillStyle = colours[`c${FAMILY[p.family] ?? 7}`];
      pen.globalAlpha = 0.85;
      pen.fill();
      pen.globalAlpha = 1;
    }
    for (const [key, p] of Object.entries(data.points)) {
      pen.beginPath();
      pen.arc(x(p), y(p), 9, 0, 7);
      pen.strokeStyle = key === "Your recording" ? colours.source : colours.result;
      pen.lineWidth = 3;
      pen.stroke();
      taken.push([x(p) - 9, y(p), 18]);
      write(
        { ...p, x: p.x + ((x(p) < width / 2 ? 8 : -8) * (x1 - x0)) / (width - 52), y: p.y + (13 * (y1 - y0)) / (height - 40) },
        key,
        "700",
        true,
      );
    }
    if (hover) write(hover, hover.name, "700", true);
    for (const p of data.named) if (data.nearest.includes(p.name)) write(p, p.name, "600");
    if (width > 420) for (const p of data.named) if (!/ .* /.test(p.name)) write(p, p.name, "400");
    near = (px, py) => data.named.map((p) => [Math.hypot(x(p) - px, y(p) - py), p]).sort((a, b) => a[0] - b[0])[0];
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(),
      [far, p] = near(event.clientX - box.left, event.clientY - box.top),
      next = far < 16 ? p : null;
    if (next !== hover) {
      hover = next;
      draw();
    }
  });
  new ResizeObserver(() => draw()).observe(section);
  section.addEventListener("tt-draw", draw);
}
