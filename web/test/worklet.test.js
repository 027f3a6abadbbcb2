import assert from "node:assert/strict";
import test from "node:test";

// The audio thread's names, so that its module can be tried here.
const processors = {};
globalThis.AudioWorkletProcessor = class { port = { told: [], postMessage(data) { this.told.push(data); } }; };
globalThis.registerProcessor = (name, made) => { processors[name] = made; };
await import("../src/worklet.js");

/** Runs quanta of 128 samples; `answer(index)` says after how many samples a block's answer comes, or null: never. */
function run(seconds, answer) {
  const live = new processors["tonetransfer-live"](), due = [], out = [];
  let now = 0;
  const worker = { close() {}, postMessage({ sound, index }) { const after = answer(index); if (after !== null) due.push([now + after, { audio: sound.slice(), index }]); } };
  live.port.onmessage({ data: { worker } });
  for (; now < seconds * 48000; now += 128) {
    while (due.length && due[0][0] <= now) worker.onmessage({ data: due.shift()[1] });
    const sound = Float32Array.from({ length: 128 }, (_, i) => now + i + 1), output = [new Float32Array(128)];
    live.process([[sound, sound]], [output]);
    out.push(...output[0]);
  }
  return { live, out };
}

test("what the worker answers is played once, in order, a block and the margin later", () => {
  const { live, out } = run(2, () => 400);
  assert.equal(live.late, 0);
  const first = out.findIndex((value) => value === 1);
  assert.equal(first, 960 + 960);
  for (let i = first; i < out.length; i++) assert.equal(out[i], i - first + 1);
});

test("a late block is silence, is counted, and the next is in its place", () => {
  const { live, out } = run(1, (index) => (index === 10 ? 1200 : 400));
  assert.equal(live.late, 1);
  assert.ok(out.slice(1920 + 9600, 1920 + 10560).every((value) => value === 0));
  assert.equal(out[1920 + 10560], 10561);
});

test("where blocks are late again and again the margin grows until they are not", () => {
  const { live, out } = run(6, () => 1500);
  assert.ok(live.margin > 1500 && live.margin < 2400, `${live.margin}`);
  const late = live.late;
  assert.ok(late <= 12, `${late}`);
  assert.ok(out.slice(-48000).every((value) => value > 0));
  assert.ok(live.port.told.at(-1).blocks > 250 && live.port.told.at(-1).late === late);
});
