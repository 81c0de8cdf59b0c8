// The rows of one query of the stream: a snapshot, patched by changes, keyed by window and group columns.

/** Builds an empty store; `version` grows with each change, so that views can skip what did not change. */
export function createStore() {
  return {rows: new Map(), sums: {}, total: 0, groupBy: [], step: 'all', frontier: null, version: 0};
}

/** The key of a row of this store. */
export const keyOf = (store, row) => JSON.stringify([row.time ?? null, ...store.groupBy.map(column => row[column])]);

/** Replaces all that the store has. */
export function applySnapshot(store, snapshot) {
  store.groupBy = snapshot.group_by;
  store.step = snapshot.step;
  store.frontier = snapshot.frontier;
  store.rows = new Map(snapshot.rows.map(row => [keyOf(store, row), row]));
  finish(store, snapshot);
}

/** Applies new, changed and gone rows. */
export function applyChange(store, change) {
  for (const row of change.gone ?? []) store.rows.delete(keyOf(store, row));
  for (const row of change.rows ?? []) store.rows.set(keyOf(store, row), row);
  finish(store, change);
}

function finish(store, message) {
  store.sums = message.sums;
  store.total = message.total;
  store.version += 1;
}

/** The row of a store without windows that is grouped by one column. */
export const rowOf = (store, value) => store.rows.get(JSON.stringify([null, value]));
