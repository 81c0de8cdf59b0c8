// The columns of tables of performance: a value, an optional inline bar, and how it moved.

import {h, setAttr, setText} from './dom.js';
import {METRICS, change, valueOf} from './metrics.js';
import {fillDelta} from './widgets.js';

/** A column for a metric; `before(row)` gives the row of the range before (null: don't compare); `link` = `{href(row), onClick(row), hint}`. */
export function metricColumn(id, {bar = false, before, link}) {
  const metric = METRICS[id];
  const value = row => valueOf(metric, row);
  return {
    id: metric.column, label: metric.label, hint: metric.hint, numeric: true, bar, value,
    title: row => metric.exact(value(row)),
    fill(cell, row) {
      if (!cell.querySelector('.cell-text')) cell.prepend(link && !row.isTotal ? makeLink(row, link.onClick, 'cell-text') : h('span', {class: 'cell-text'}), h('span', {class: 'delta'}));
      const [text, moved] = cell.children;
      if (link && !row.isTotal) {
        setAttr(text, 'href', link.href(row));
        setAttr(text, 'title', link.hint);
      }
      setText(text, metric.text(value(row)));
      const earlier = before(row);
      moved.hidden = earlier === null;
      if (earlier !== null) fillDelta(moved, change(metric, value(row), valueOf(metric, earlier)), true);
    },
  };
}

/** The first column: a name that is a link, with a line below it. `href`, `name`, `detail`, `onClick` take the row. */
export function nameColumn({id, label, name, detail, href, hint, onClick}) {
  return {
    id, label, value: name,
    title: row => (row.isTotal ? null : row[id]),
    fill(cell, row) {
      if (!cell.firstChild) cell.append(row.isTotal ? h('span') : makeLink(row, onClick), h('span', {class: 'cell-detail'}));
      const [link, line] = cell.children;
      setText(link, name(row));
      if (!row.isTotal) {
        setAttr(link, 'href', href(row));
        setAttr(link, 'title', hint(row));
      }
      setText(line, row.isTotal ? '' : detail(row));
    },
  };
}

function makeLink(row, onClick, className = 'cell-name') {
  return h('a', {class: className, on: {click: event => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    onClick(row);
  }}});
}
