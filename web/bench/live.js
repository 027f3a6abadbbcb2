// Recordings played live, as blocks from a microphone: node bench/live.js ADDRESS FOLDER, asked by tests/bench/web.py.
// FOLDER holds jobs.json, [[name, instrument], ...], and float32 samples at 48 and 16 kHz, NAME.48k and NAME.16k; results go to NAME.live.

import { readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";
import { Site } from "../src/graphs.js";
import { BLOCK, Live } from "../src/live.js";

const [address, folder] = process.argv.slice(2);
const BEHIND = 2880; // samples from a block's first to the first of its answer: what is heard ahead, and the instrument's latency

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const fetched = async (file) => new Uint8Array(await (await fetch(new URL(file, address))).arrayBuffer());
const manifest = JSON.parse(new TextDecoder().decode(await fetched("tonetransfer.json")));
const open = async (name) => ort.InferenceSession.create(await fetched(manifest[name].file), { executionProviders: ["wasm"] });
const site = new Site(address, manifest, { pitch: await open("pitch"), loudness: await open("loudness") });
const samples = (file) => new Float32Array(Uint8Array.from(readFileSync(`${folder}/${file}`)).buffer);

for (const [name, instrument] of JSON.parse(readFileSync(`${folder}/jobs.json`))) {
  const sound = samples(`${name}.48k`), low = samples(`${name}.16k`), result = new Float32Array(sound.length);
  const port = {
    postMessage({ audio, index, failed }) {
      if (failed) throw new Error(failed);
      result.set(audio, index * BLOCK);
    },
  };
  const live = new Live(site, port);
  await live.choose({ instrument, transpose: 0, dynamic: null });
  for (let index = 0; (index + 1) * BLOCK <= sound.length; index++) {
    live.waiting.push({ sound: sound.slice(index * BLOCK, (index + 1) * BLOCK), low: low.slice((index * BLOCK) / 3, ((index + 1) * BLOCK) / 3), index });
    await live.work();
  }
  writeFileSync(`${folder}/${name}.live`, new Uint8Array(result.buffer, 4 * BEHIND));
  console.log(name);
}
process.exit(0); // the runtime's threads would wait
