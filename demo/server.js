// The server, asked through Gradio's queue, and what is given to it.
import { decoded, wav } from "./recorder.js";

const FOREIGN = /\.(m4a|m4b|mp4|aac|3gp|webm|mka|mkv|mov|amr|wma|caf)$/i; // what the server may not read is decoded here
export const LARGEST = 50e6;

export class Stopped extends Error {}

/** Call a function of the server; `told` hears what it yields, and what it yielded last is given back. */
export async function ask(name, given, told = () => {}, signal = undefined) {
  const failed = (text) => {
    throw new Error(text || "The server did not answer. Is it still running?");
  };
  let answer;
  try {
    answer = await fetch(`gradio_api/call/page_${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ data: given === undefined ? [] : [given] }),
      signal,
    });
    if (!answer.ok)
      failed(
        (await answer.json().catch(() => ({}))).detail ||
          (answer.status === 503 ? "Too many visitors are waiting; try again in a minute." : ""),
      );
    const { event_id: event } = await answer.json();
    answer = await fetch(`gradio_api/call/page_${name}/${event}`, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw new Stopped();
    if (error instanceof TypeError) failed("");
    throw error;
  }
  return readStream(answer.body.getReader(), told, failed);
}

async function readStream(reader, told, failed) {
  const text = new TextDecoder();
  let rest = "",
    last = null;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return last;
      rest += text.decode(value, { stream: true });
      const messages = rest.split("\n\n");
      rest = messages.pop();
      for (const message of messages) {
        const [, kind, data] = /^event: (\w+)\ndata: (.*)$/s.exec(message) || [];
        if (kind === "error") {
          const error = JSON.parse(data);
          failed(plain(error && (error.error || error)) || "Something went wrong here, and not with you. Try again.");
        }
        if ((kind === "generating" || kind === "complete") && data !== "null") {
          const step = (JSON.parse(data) || [])[0];
          if (step && JSON.stringify(step) !== JSON.stringify(last)) {
            last = step;
            told(step);
          }
        }
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw new Stopped();
    if (error instanceof TypeError) failed("The connection broke off. Is the server still running?");
    throw error;
  }
}

/** Words of the server, which come as HTML. */
function plain(text) {
  return typeof text === "string" ? new DOMParser().parseFromString(text, "text/html").body.textContent : "";
}

/** Give a file to the server, telling how far it is; gives back where it lies there. */
export function upload(file, told = () => {}, signal = undefined) {
  return new Promise((resolve, reject) => {
    const form = new FormData(),
      sending = new XMLHttpRequest();
    form.append("files", file, file.name);
    sending.open("POST", "gradio_api/upload");
    sending.upload.onprogress = (event) => told({ doing: `Uploading ${file.name}`, progress: event.loaded / event.total });
    sending.onload = () => {
      if (sending.status === 200) resolve(JSON.parse(sending.responseText)[0]);
      else reject(new Error(sending.status === 413 ? `${file.name} is larger than 50 MB.` : `${file.name} was not taken by the server.`));
    };
    sending.onerror = () => reject(new Error("The server did not answer. Is it still running?"));
    sending.onabort = () => reject(new Stopped());
    signal?.addEventListener("abort", () => sending.abort());
    if (file.size > LARGEST) reject(new Error(`${file.name} is larger than 50 MB; cut out the part that matters, or save it as FLAC.`));
    else sending.send(form);
  });
}

/** A recording of a phone or a browser as WAV: the server need not know its format. */
export async function readable(file) {
  if (!FOREIGN.test(file.name) || file.size > LARGEST) return file;
  try {
    return wav(await decoded(file), 48000, `${file.name.replace(/\.[^.]*$/, "")}.wav`);
  } catch {
    return file;
  } // the server says what is wrong with it
}
