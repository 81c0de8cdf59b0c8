// A table that remembers its own order, for pages that don't keep it in the address.

import {createTable} from './table.js';

/** Like `createTable`, but sorts by itself; `update(rows)` fills it. */
export function localTable(options, initial) {
  let sort = initial, last = [];
  const table = createTable({...options, onSort: next => {
    sort = next;
    update(last);
  }});
  function update(rows) {
    last = rows;
    table.update({rows, sort, totals: null});
  }
  return {el: table.el, update};
}

/** A column of text. */
export const textColumn = (id, label, value = row => row[id]) => ({id, label, value, text: row => String(value(row) ?? '–')});

/** A column of numbers: `text` writes them, `exact` says them in full. */
export const numberColumn = (id, label, text, {exact = text, bar = false, value = row => row[id] ?? null} = {}) =>
  ({id, label, numeric: true, bar, value, text: row => text(value(row)), title: row => exact(value(row))});
