import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { controlsOf, detectInWindows, fillUnvoiced, periodicityOf, readAt } from "../src/pitch.js";
import { wavOf } from "../src/wav.js";

const table = JSON.parse(readFileSync(new URL("table.json", import.meta.url)));

const SPEC = { sample_rate: 16000, hop_length: 256, confidence: [0, 0.2, 0.5, 1], periodicity: [0, 0.55, 0.75, 1] };

for (const [k, one] of table.readings.entries()) {
  test(`what Python makes of the network's values: ${k}`, () => {
    const found = controlsOf({ f0Hz: one.pitch_hz, confidence: one.confidence }, one.loudness_db, SPEC);
    assert.equal(found.f0Hz.length, one.n_frames);
    found.f0Hz.forEach((f0, t) => assert.ok(Math.abs(1200 * Math.log2(f0 / one.expected.f0_hz[t])) < 0.1, `frame ${t}: ${f0} for ${one.expected.f0_hz[t]}`));
    found.periodicity.forEach((value, t) => assert.ok(Math.abs(value - one.expected.periodicity[t]) < 1e-3, `frame ${t}: ${value} for ${one.expected.periodicity[t]}`));
  });
}

test("a glide is read off between values, a leap is not glided through", () => {
  const { f0Hz } = readAt({ f0Hz: [400, 401, 800], confidence: [1, 1, 0] }, [0.5, 1.25, 1.75]);
  assert.ok(Math.abs(f0Hz[0] - 400.5) < 0.01);
  assert.equal(f0Hz[1], 401);
  assert.equal(f0Hz[2], 800);
});

test("windows together give what the whole gives", async () => {
  const hop = 256, audio = Float32Array.from({ length: 700 * hop + 40 }, (_, i) => i);
  const detect = async (part) => { // a value a hop, that hears the samples up to 11 hops before and after it
    const n = Math.floor(part.length / hop), f0Hz = new Float32Array(n), confidence = new Float32Array(n);
    for (let k = 0; k < n; k++) {
      f0Hz[k] = part[k * hop];
      confidence[k] = (part[Math.max(k - 11, 0) * hop] + part[Math.min(k + 11, n - 1) * hop]) / 1e6;
    }
    return { f0Hz, confidence };
  };
  const shares = [], whole = await detect(audio), pieces = await detectInWindows(audio, hop, detect, async (share) => shares.push(share));
  assert.deepEqual(pieces.f0Hz, whole.f0Hz);
  assert.deepEqual(pieces.confidence, whole.confidence);
  assert.ok(shares.length === 3 && shares.at(-1) === 1);
});

test("confidence is read on the scale of periodicity", () => {
  assert.equal(periodicityOf(0.5, SPEC), 0.75);
  assert.ok(Math.abs(periodicityOf(0.35, SPEC) - 0.65) < 1e-9);
  assert.equal(periodicityOf(-0.1, SPEC), 0);
  assert.equal(periodicityOf(1, SPEC), 1);
});

test("f0 is positive everywhere: held through rests until the sound is weakest, glided through short gaps", () => {
  const voiced = Array.from({ length: 60 }, (_, t) => (t >= 5 && t < 20) || (t >= 40 && t < 50) || (t >= 54 && t < 60));
  const f0Hz = Array.from({ length: 60 }, (_, t) => (!voiced[t] ? 50 : t < 20 ? 220 : t < 50 ? 440 : 450));
  const level = Array.from({ length: 60 }, (_, t) => (t === 30 ? -90 : -40));
  const filled = fillUnvoiced(f0Hz, voiced, level);
  assert.equal(filled[0], 220);
  assert.equal(filled[29], 220);
  assert.equal(filled[31], 440);
  assert.ok(filled[52] > 440 && filled[52] < 450);
});

test("a speck of pitch is no note", () => {
  const confidence = Float32Array.from({ length: 100 }, (_, k) => (k === 50 ? 0.9 : 0)), f0Hz = new Float32Array(100).fill(300);
  const heard = controlsOf({ f0Hz, confidence }, new Float32Array(160).fill(-30), SPEC);
  assert.ok(Math.max(...heard.periodicity) <= 0.55);
});

test("a WAV file: 24 bits, turned down where it peaks above full scale, odd sizes padded", async () => {
  const view = new DataView(await wavOf(Float32Array.from([0, 2, -1]), 48000).arrayBuffer());
  assert.equal(view.byteLength, 44 + 9 + 1);
  assert.equal(view.getUint32(24, true), 48000);
  assert.equal(view.getUint32(4, true), view.byteLength - 8);
  const sample = (i) => view.getUint8(44 + 3 * i) | (view.getUint8(45 + 3 * i) << 8) | (view.getInt8(46 + 3 * i) << 16);
  assert.deepEqual([sample(0), sample(1), sample(2)], [0, 8388607, -4194303]);
});
