// The read-out of a chart: a cursor that follows the pointer or the arrow keys and tells exact values.

import {h, patchKeyed, setAttr, setText, svg} from './dom.js';
import {windowName} from './format.js';

const PAGE = 10;

/** Adds a read-out to a plot. `geometry()` gives scales and model (or null); `update()` redraws after new data. */
export function createReadout({plot, slider, marks, geometry}) {
  const title = h('p', {class: 'readout-title'});
  const list = h('dl', {class: 'readout-list'});
  const box = h('div', {class: 'readout', hidden: true, 'aria-hidden': 'true'}, title, list);
  const cursor = svg('line', {class: 'cursor'});
  const dots = svg('g');
  marks.append(cursor, dots);
  plot.append(box);
  let index = null;

  function show(next) {
    const shape = geometry();
    const length = shape?.model.times.length ?? 0;
    index = next === null || !length ? null : Math.max(0, Math.min(length - 1, next));
    update();
  }

  function update() {
    const shape = geometry();
    const length = shape?.model.times.length ?? 0;
    const hidden = index === null || !length;
    box.hidden = hidden;
    marks.classList.toggle('on', !hidden);
    setAttr(slider, 'aria-valuemax', Math.max(0, length - 1));
    if (!hidden) draw(shape, Math.min(index, length - 1));
  }

  function draw(shape, i) {
    const {times, step, series, exact} = shape.model;
    const x = shape.x(i);
    Object.entries({x1: x, x2: x, y1: shape.top, y2: shape.bottom}).forEach(([k, v]) => setAttr(cursor, k, v));
    const present = series.filter(one => one.values[i] !== null && one.values[i] !== undefined);
    patchKeyed(dots, present, one => one.id, () => svg('circle', {r: 3.5}), (node, one) => {
      Object.entries({cx: x, cy: shape.y(one.values[i]), class: `tone-${one.tone}`}).forEach(([k, v]) => setAttr(node, k, v));
    });
    const name = windowName(times[i], step);
    setText(title, name);
    patchKeyed(list, series, one => one.id,
      () => h('div', {}, h('dt', {}, h('span', {class: 'swatch'}), h('span')), h('dd')),
      (node, one) => {
        setAttr(node.firstChild.firstChild, 'class', `swatch tone-${one.tone}${one.dashed ? ' dashed' : ''}`);
        setText(node.firstChild.lastChild, one.label);
        setText(node.lastChild, exact(one.values[i]));
      });
    setAttr(slider, 'aria-valuenow', i);
    setAttr(slider, 'aria-valuetext', `${name}: ${series.map(one => `${one.label} ${exact(one.values[i])}`).join(', ')}`);
    place(x, shape);
  }

  function place(x, shape) {
    const width = box.offsetWidth;
    const right = x + 14 + width > shape.right + 8;
    box.style.left = `${Math.max(0, right ? x - 14 - width : x + 14)}px`;
  }

  function atPointer(event) {
    const shape = geometry();
    if (!shape) return null;
    const {left} = plot.getBoundingClientRect();
    const share = (event.clientX - left - shape.left) / (shape.right - shape.left || 1);
    return Math.round(share * (shape.model.times.length - 1));
  }

  const MOVES = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -PAGE, PageUp: PAGE, Home: -Infinity, End: Infinity};
  slider.addEventListener('pointermove', event => show(atPointer(event)));
  slider.addEventListener('pointerdown', event => show(atPointer(event)));
  slider.addEventListener('pointerleave', () => show(null));
  slider.addEventListener('focus', () => slider.matches(':focus-visible') && show(Infinity));
  slider.addEventListener('blur', () => show(null));
  slider.addEventListener('keydown', event => {
    if (event.key === 'Escape') return show(null);
    const move = MOVES[event.key];
    if (move === undefined) return undefined;
    event.preventDefault();
    return show((index ?? (move < 0 ? Infinity : -1)) + move);
  });
  return {update};
}
