/* What the page knows: one object, changed in one place, watched by whoever shows it. */

const state = {
  accounts: null, // null until the first answer: not the same as none
  alerts: [],
  connection: "connecting", // connecting | live | lost
  heard: null, // when the service was last heard, in milliseconds
};
const watchers = new Set();

export const get = () => state;

/** Changes fields and tells every watcher which. */
export function change(fields) {
  Object.assign(state, fields);
  for (const watcher of [...watchers]) watcher(state, Object.keys(fields));
}

/** Calls back on every change; returns how to stop. */
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}
