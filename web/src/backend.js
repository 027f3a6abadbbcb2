// The page's end of the worker: a question, a promise of the answer.

export class Stopped extends Error {}
/** What the recording lacks; the message is for the page. */
export class Refused extends Error {}

export class Backend {
  constructor() {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.questions = new Map();
    this.last = 0;
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => { for (const { reject } of this.questions.values()) reject(new Error(event.message || "the worker did not start")); };
  }

  /** `progress(share, secondsLeft)` while it goes on. */
  ask(what, given = {}, transfer = [], progress = null) {
    const id = ++this.last;
    this.worker.postMessage({ ...given, do: what, id }, transfer);
    return new Promise((resolve, reject) => this.questions.set(id, { resolve, reject, progress }));
  }

  hear({ id, done, failed, refused, progress, left_s }) {
    const question = this.questions.get(id);
    if (progress !== undefined) return question?.progress?.(progress, left_s);
    this.questions.delete(id);
    if (done) return question.resolve(done);
    return question.reject(failed === null ? new Stopped("stopped") : new (refused ? Refused : Error)(failed));
  }
}
