// Small parts that several views share: cards, segmented choices, selects, changes, export links.

import {h, patchKeyed, setAttr, setText} from './dom.js';
import {percent} from './format.js';

/** A card with a heading, optional tools at the right of it and a line of explanation. */
export function card({title, note, tools = [], testid}, ...children) {
  const heading = h('h2', {text: title}), line = h('p', {class: 'muted small', text: note ?? ''});
  line.hidden = !note;
  const el = h('section', {class: 'card', data: {testid}}, h('div', {class: 'card-head'}, h('div', {class: 'card-title'}, heading, line), h('div', {class: 'card-tools'}, tools)), children);
  return {el, setTitle: text => setText(heading, text), setNote: text => (setText(line, text), (line.hidden = !text))};
}

/** A row of buttons of which one is pressed. `options`: `{id: label}`. */
export function segmented(label, options, onChoose) {
  const el = h('div', {class: 'segments', role: 'group', 'aria-label': label});
  function update(chosen, names = Object.keys(options)) {
    patchKeyed(el, names, id => id,
      id => h('button', {class: 'segment', type: 'button', text: options[id], data: {id}, on: {click: () => onChoose(id)}}),
      (node, id) => setAttr(node, 'aria-pressed', id === chosen));
  }
  return {el, update};
}

/** A labelled select. `options`: `{id: label}`. */
export function select(label, options, onChoose) {
  const box = h('select', {on: {change: event => onChoose(event.target.value)}}, Object.entries(options).map(([value, text]) => h('option', {value, text})));
  return {el: h('label', {class: 'select'}, h('span', {text: label}), box), update: value => (box.value = value)};
}

/** A line that says how a value moved: arrow, percent and word. */
export function delta() {
  const el = h('span', {class: 'delta'});
  return {el, update: moved => fillDelta(el, moved)};
}

/** Writes a change (see `metrics.change`) into an element; with `short` the word is left to the title. */
export function fillDelta(el, moved, short = false) {
  setAttr(el, 'class', `delta tone-${moved.tone}`);
  const size = moved.ratio === null ? '' : percent(Math.abs(moved.ratio));
  setText(el, short ? (moved.ratio === null ? '' : `${moved.arrow} ${size}`) : [moved.arrow, moved.ratio === 0 ? '' : size, moved.word].filter(Boolean).join(' '));
  setAttr(el, 'title', short ? moved.word : null);
}

/** Links to download what a card shows; `update(list)` takes `queries.downloads`. */
export function exportLinks() {
  const links = ['CSV', 'Parquet'].map(name => h('a', {class: 'button quiet small', download: '', text: name, 'aria-label': `Export as ${name}`}));
  const el = h('span', {class: 'exports'}, h('span', {class: 'muted small', text: 'Export'}), links);
  return {el, update: list => list.forEach(({href}, i) => setAttr(links[i], 'href', href))};
}

/** Fills a cell with a diverging bar: to the right of the middle when positive. */
export function fillDiverging(cell, value, most, text) {
  if (!cell.firstChild) cell.append(h('span', {class: 'cell-text'}), h('span', {class: 'diverging', 'aria-hidden': 'true'}, h('span')));
  const [label, track] = cell.children;
  const bar = track.firstChild;
  const share = most > 0 ? Math.min(1, Math.abs(value ?? 0) / most) * 50 : 0;
  setText(label, text);
  setAttr(bar, 'class', value < 0 ? 'less' : 'more');
  bar.style.width = `${share.toFixed(1)}%`;
  bar.style.left = value < 0 ? `${(50 - share).toFixed(1)}%` : '50%';
}
