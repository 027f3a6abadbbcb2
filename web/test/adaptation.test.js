import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import test from "node:test";

import { arrange, loudEndDb, noteFrames, octaveShift } from "../src/adaptation.js";
import { LiveAdapter } from "../src/live_adaptation.js";

const table = JSON.parse(readFileSync(new URL("table.json", import.meta.url)));
const INSTRUMENT = { range_midi: [55, 96], loudness_quantiles_db: Array.from({ length: 13 }, (_, i) => -40 + 2.5 * i), release_db_per_s: 330 };
const near = (found, wanted, most, what) => {
  assert.equal(found.length, wanted.length, what);
  found.forEach((value, t) => assert.ok(Math.abs(value - wanted[t]) <= most, `${what}, frame ${t}: ${value} for ${wanted[t]}`));
};

for (const one of table.cases) {
  test(`what Python arranges: ${one.name}`, () => {
    const heard = { f0Hz: one.f0_hz, periodicity: one.periodicity, loudnessDb: one.loudness_db };
    const instrument = { range_midi: [one.lowest_midi, one.highest_midi], loudness_quantiles_db: one.loudness_quantiles_db, release_db_per_s: one.release_db_per_s, silent_below_db: one.silent_below_db };
    const found = arrange(heard, instrument, one);
    assert.deepEqual(found.notes.map(Number), one.expected.notes);
    assert.deepEqual(found.silent.map(Number), one.expected.silent);
    assert.equal(found.semitones, one.expected.semitones);
    near(found.f0Hz.map(Math.log2), one.expected.f0_hz.map(Math.log2), 0.2 / 1200, "f0");
    near(found.loudnessDb, one.expected.loudness_db, 0.01, "loudness");
    assert.ok(Math.abs(found.gainDb - one.expected.gain_db) < 0.01);
  });
}

test("a melody in range stays where it is; another goes by the fewest octaves", () => {
  assert.equal(octaveShift([60, 64, 67], [55, 96]), 0);
  assert.equal(octaveShift([40, 44, 47], [55, 96]), 24);
  assert.equal(octaveShift([110], [55, 96]), -24);
  assert.equal(octaveShift([], [55, 96]), 0);
});

test("gain changes neither which frames are notes nor what is asked of the instrument", () => {
  const n = 200, loudnessDb = Array.from({ length: n }, (_, t) => (t % 100 < 60 ? -20 - t / 20 : -70)), periodicity = loudnessDb.map((level) => (level > -60 ? 0.95 : 0.2));
  const heard = { f0Hz: new Array(n).fill(440), periodicity, loudnessDb };
  const softer = { ...heard, loudnessDb: loudnessDb.map((level) => level - 15) };
  assert.deepEqual(noteFrames(periodicity, softer.loudnessDb), noteFrames(periodicity, loudnessDb));
  near(arrange(softer, INSTRUMENT).loudnessDb, arrange(heard, INSTRUMENT).loudnessDb, 1e-9, "loudness");
});

test("effort moves what is asked, and the gain takes it back", () => {
  const heard = { f0Hz: new Array(100).fill(440), periodicity: new Array(100).fill(1), loudnessDb: new Array(100).fill(-30) };
  const [pp, ff] = ["pp", "ff"].map((dynamic) => arrange(heard, INSTRUMENT, { dynamic }));
  assert.ok(Math.abs(ff.loudnessDb[50] - pp.loudnessDb[50] - 25) < 1e-9);
  assert.ok(Math.abs(ff.loudnessDb[50] + ff.gainDb - pp.loudnessDb[50] - pp.gainDb) < 1e-9);
  assert.equal(loudEndDb(0), -11);
});

// ---- live

const playing = (adapter, n, frame) => Array.from({ length: n }, (_, t) => adapter.frame(frame(t)));

test("live: a held note sounds at the asked effort, and after its end nothing sounds", () => {
  const adapter = new LiveAdapter(INSTRUMENT, { dynamic: "f" });
  const during = playing(adapter, 600, () => ({ f0Hz: 440, periodicity: 0.95, loudnessDb: -40 })).at(-1);
  assert.ok(during.isNote && Math.abs(during.f0Hz - 440) < 1e-9);
  assert.ok(Math.abs(during.loudnessDb - (-10 + loudEndDb(4, "f"))) < 2, `${during.loudnessDb}`); // learned: 24 dB softer than the usual microphone
  const after = playing(adapter, 60, () => ({ f0Hz: 97, periodicity: 0.1, loudnessDb: -75 })).at(-1);
  assert.ok(!after.isNote && after.loudnessDb === -120 && Math.abs(after.f0Hz - 440) < 1e-9);
});

test("live: a note begins as it does in Python", () => {
  const begins = (periodicity) => playing(new LiveAdapter(INSTRUMENT), 1, () => ({ f0Hz: 440, periodicity, loudnessDb: -16 })).at(-1).isNote;
  assert.ok(begins(table.starting) && !begins(table.starting - 0.01));
});

test("live: notes end as they are heard, and as the instrument's where nothing is heard between them", () => {
  const fall = (instrument, before, after) => {
    const adapter = new LiveAdapter(instrument);
    playing(adapter, 20, () => before);
    playing(adapter, 100, () => ({ f0Hz: 440, periodicity: 0.95, loudnessDb: -16 }));
    const [one, other] = playing(adapter, 8, after).slice(-2);
    return (one.loudnessDb - other.loudnessDb) * 100;
  };
  const slow = { ...INSTRUMENT, release_db_per_s: 250 }, room = { f0Hz: 97, periodicity: 0.1, loudnessDb: -80 }, nothing = { ...room, loudnessDb: -120 };
  const dying = (t) => ({ f0Hz: 440, periodicity: 0.9, loudnessDb: -16 - 3 * (t + 1) });
  for (const [found, wanted] of [[fall(slow, nothing, () => nothing), 250], [fall(slow, room, dying), 300], [fall(slow, room, () => room), 800]]) {
    assert.ok(Math.abs(found - wanted) < 0.5, `${found}, not ${wanted}`);
  }
});

test("live: a soft microphone is known soon, and turned up slowly", () => {
  const frames = playing(new LiveAdapter(INSTRUMENT), 3500, () => ({ f0Hz: 440, periodicity: 0.95, loudnessDb: -40 }));
  const sound = frames.map(({ loudnessDb, gainDb }) => loudnessDb + gainDb), loudest = INSTRUMENT.loudness_quantiles_db.at(-1);
  assert.ok(Math.abs(frames[250].loudnessDb - (loudest + loudEndDb(4))) < 1, `${frames[250].loudnessDb}`);
  assert.ok(Math.abs(sound[50] - (loudest - 24)) < 1 && Math.abs(sound.at(-1) - loudest) < 1, `${sound[50]} ${sound.at(-1)}`);
  sound.slice(1).forEach((level, t) => assert.ok(Math.abs(level - sound[t]) < 0.05, `${t}: ${sound[t]}, then ${level}`));
});

test("live: octaves are moved into the range, and never within a note", () => {
  const adapter = new LiveAdapter(INSTRUMENT);
  const frames = playing(adapter, 300, (t) => ({ f0Hz: 110 * 2 ** (Math.min(t, 200) / 2400), periodicity: 0.95, loudnessDb: -30 }));
  assert.ok(Math.abs(frames.at(-1).f0Hz / (220 * 2 ** (200 / 2400)) - 1) < 1e-9);
  frames.slice(1).forEach((frame, t) => assert.ok(Math.abs(Math.log2(frame.f0Hz / frames[t].f0Hz)) < 0.01));
});
