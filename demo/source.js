// The recording as the server is given it.
import { state } from "./state.js";
import { ask, upload } from "./server.js";

export const partUrl = (name) => new URL(name, import.meta.url).href;

/** What the server has to be given of the recording: where it lies, or that it is an example. */
export async function sourceGiven(told, signal) {
  if (state.source.blob && !state.source.path) state.source.path = await upload(state.source.blob, told, signal);
  const { path, name, example, look } = state.source;
  return { path, name, example: path ? null : example, seconds: look ? look.scene.seconds : undefined };
}

/** Ask with the recording; if the server has removed it meanwhile, it is given once more. */
export async function askWithSource(name, given, told, signal) {
  const again = async () => ask(name, { ...(await sourceGiven(told, signal)), ...given }, told, signal);
  try {
    return await again();
  } catch (error) {
    if (!/not here \(any more\)/.test(error.message)) throw error;
    state.source.path = null;
    const asked = given.wish && (given.wish.like || given.wish.match);
    if (state.reference && asked) {
      state.reference.path = await upload(state.reference.blob);
      asked.path = state.reference.path;
    }
    return again();
  }
}
