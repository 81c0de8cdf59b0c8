// A sortable table that patches its rows by key, so that focus and scroll survive live updates.

import {h, patchKeyed, setAttr, setText, setValue} from './dom.js';

const FIRST = 50, MORE = 200;

/** Sorts rows by `sort` ("-column": descending); rows without a value come last, ties by key. */
export function sortRows(rows, columns, sort, keyOf) {
  const down = sort.startsWith('-');
  const column = columns.find(one => one.id === sort.replace(/^-/, '')) ?? columns[0];
  const compare = (a, b) => (typeof a === 'string' ? a.localeCompare(b) : a - b);
  const tie = (a, b) => (a.key < b.key ? -1 : 1);
  return rows.map(row => ({row, value: column.value(row), key: keyOf(row)})).sort((a, b) => {
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || tie(a, b);
    return (down ? -1 : 1) * compare(a.value, b.value) || tie(a, b);
  }).map(item => item.row);
}

/**
 * Makes a table. A column is `{id, label, hint, numeric, value(row), text(row), title(row), bar, fill(cell, row)}`:
 * `value` sorts and stands in `data-value`; `fill` draws a cell that is more than text; `bar` adds an inline bar.
 * The first column is the header of its row. `onSort(sort)` is called by a click on a header.
 * `update({rows, sort, totals})`: `totals` is a row for the foot, or null.
 */
export function createTable({caption, columns, keyOf, onSort, testid, empty = 'Nothing here in this range.'}) {
  const heads = columns.map(column => head(column, onSort));
  const body = h('tbody'), foot = h('tfoot');
  const table = h('table', {class: 'table', data: {testid}}, h('caption', {class: 'visually-hidden', text: caption}), h('thead', {}, h('tr', {}, heads.map(one => one.cell))), body, foot);
  const none = h('p', {class: 'empty small', text: empty, hidden: true});
  const more = h('button', {class: 'button quiet', type: 'button', hidden: true});
  const el = h('div', {}, h('div', {class: 'table-scroll', tabindex: 0, role: 'region', 'aria-label': caption}, table), none, h('div', {class: 'table-more'}, more));
  let limit = FIRST, last = null;
  more.addEventListener('click', () => {
    limit += MORE;
    update(last);
  });

  function update(model) {
    last = model;
    const sorted = sortRows(model.rows, columns, model.sort, keyOf);
    const shown = sorted.slice(0, limit);
    const most = Object.fromEntries(columns.filter(one => one.bar).map(one => [one.id, model.rows.reduce((most, row) => Math.max(most, one.value(row) ?? 0), 0)]));
    heads.forEach(one => one.update(model.sort));
    patchKeyed(body, shown, keyOf, row => makeRow(columns, keyOf(row)), (node, row) => fillRow(node, columns, row, most));
    patchKeyed(foot, model.totals ? [model.totals] : [], () => 'totals', () => makeRow(columns, 'totals'), (node, row) => fillRow(node, columns, row, {}));
    none.hidden = model.rows.length > 0;
    more.hidden = sorted.length <= limit;
    setText(more, `Show more (${sorted.length - shown.length} left)`);
  }

  return {el, update};
}

function head(column, onSort) {
  const arrow = h('span', {class: 'sort-arrow', 'aria-hidden': 'true'});
  const cell = h('th', {scope: 'col', class: column.numeric ? 'num' : null, title: column.hint});
  let now = '';
  if (onSort && column.sortable !== false) {
    const click = () => onSort(now === `-${column.id}` ? column.id : now === column.id || column.numeric ? `-${column.id}` : column.id);
    cell.append(h('button', {class: 'sort', type: 'button', on: {click}}, h('span', {text: column.label}), arrow));
  } else cell.textContent = column.label;
  return {cell, update: sort => {
    now = sort;
    const state = sort === column.id ? 'ascending' : sort === `-${column.id}` ? 'descending' : null;
    setAttr(cell, 'aria-sort', state);
    setText(arrow, state === 'ascending' ? '↑' : state === 'descending' ? '↓' : '');
  }};
}

function makeRow(columns, key) {
  return h('tr', {data: {key}}, columns.map((column, i) => {
    const cell = i === 0 ? h('th', {scope: 'row'}) : h('td', {class: column.numeric ? 'num' : null});
    cell.dataset.column = column.id;
    if (!column.fill) cell.append(h('span', {class: 'cell-text'}));
    if (column.bar) cell.append(h('span', {class: 'bar', 'aria-hidden': 'true'}, h('span')));
    return cell;
  }));
}

function fillRow(node, columns, row, most) {
  columns.forEach((column, i) => {
    const cell = node.children[i];
    const value = column.value(row);
    setValue(cell, value);
    if (column.title) setAttr(cell, 'title', column.title(row));
    if (column.fill) column.fill(cell, row);
    else setText(cell.firstChild, column.text(row));
    if (column.bar) {
      const share = most[column.id] > 0 ? Math.max(0, value ?? 0) / most[column.id] : 0;
      cell.lastChild.firstChild.style.width = `${(share * 100).toFixed(1)}%`;
    }
  });
}
