// What the browser keeps: the session as it is, and the takes with their sound.

const kept = new Promise((resolve) => {
  const opening = indexedDB.open("tonetransfer", 1);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore("session");
    opening.result.createObjectStore("takes", { keyPath: "id" });
  };
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => resolve(null); // a private window: nothing is kept
});

/** Change a store, or read it; null where nothing can be kept. */
export async function keep(store, act) {
  const base = await kept;
  if (!base) return null;
  return new Promise((resolve) => {
    const change = base.transaction(store, "readwrite"),
      asked = act(change.objectStore(store));
    change.oncomplete = () => resolve(asked && asked.result);
    change.onerror = change.onabort = () => resolve(null); // full: the page works without
  });
}
