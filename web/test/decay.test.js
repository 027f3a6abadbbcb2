import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { DecayClock, freeDecay } from "../src/decay.js";

const { decay, decays } = JSON.parse(readFileSync(new URL("table.json", import.meta.url)));
const near = (found, wanted, what) => {
  assert.equal(found.length, wanted.length, what);
  found.forEach((value, t) => assert.ok(Math.abs(value - wanted[t]) < 1e-3, `${what}, frame ${t}: ${value} for ${wanted[t]}`));
};

for (const [k, one] of decays.entries()) {
  test(`notes die away since when Python says: ${k}`, () => {
    assert.ok(one.expected.known_s.some((value) => value > 0.1));
    near(freeDecay(one.loudness_db, decay), one.expected.known_s, "known");
    const clock = new DecayClock(decay);
    near(one.loudness_db.map((level) => clock.next(level)), one.expected.live_s, "live");
  });
}

test("a fall counts if it is deep and steep, to the last frame", () => {
  const fall = (step, n) => Array.from({ length: n }, (_, t) => -20 - step * Math.max(t - 9, 0));
  assert.deepEqual(Array.from(freeDecay(fall(0.75, 60), decay).subarray(9, 13)), [0, 0.01, 0.02, 0.03]);
  assert.ok(freeDecay(fall(0.75, 28), decay).every((value) => value === 0)); // 13.5 dB
  assert.ok(freeDecay(fall(0.25, 200), decay).every((value) => value === 0));
});
