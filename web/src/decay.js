// How long ago a note began to die away by itself, told by its loudness, as tonetransfer's `synthesis/damping.py` does it.
// The thresholds come with the manifest; test/table.json holds Python's values.

import { FRAME_RATE } from "./adaptation.js";

/** Frame by frame, without knowledge of what comes later. spec: { gentle_db_per_s, depth_db, swell_db }, `decay` of the manifest. */
export class DecayClock {
  constructor(spec) {
    Object.assign(this, { spec, topDb: -Infinity, frames: 0, depthDb: 0 });
  }

  /** Time [s] that counts in the next frame; 0 while a note is held. */
  next(loudnessDb) {
    const { gentle_db_per_s, depth_db, swell_db } = this.spec;
    this.frames += 1;
    if (loudnessDb >= this.topDb - (gentle_db_per_s * this.frames) / FRAME_RATE) Object.assign(this, { topDb: loudnessDb, frames: 0 });
    this.depthDb = this.topDb - loudnessDb;
    return (this.frames / FRAME_RATE) * Math.min(Math.max((this.depthDb - swell_db) / (depth_db - swell_db), 0), 1);
  }
}

/** Of a whole recording, (n_frames,) [s]: 0 where a note is held, or does not fall deep. */
export function freeDecay(loudnessDb, spec) {
  const clock = new DecayClock(spec), since = new Float64Array(loudnessDb.length);
  let first = 0, deepest = 0; // of the fall that goes on
  const end = (last) => { if (deepest < spec.depth_db) since.fill(0, first, last); };
  loudnessDb.forEach((level, t) => {
    clock.next(level);
    if (!clock.frames) {
      end(t);
      [first, deepest] = [t, 0];
    }
    deepest = Math.max(deepest, clock.depthDb);
    since[t] = clock.frames / FRAME_RATE;
  });
  end(loudnessDb.length);
  return since;
}
