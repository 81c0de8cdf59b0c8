// A line chart in SVG: axes, legend, read-out by pointer and keyboard, and the same data as a table.

import {fill, h, icon, patchKeyed, setAttr, setText, svg} from './dom.js';
import {clock, dayMonth, hourMinute, windowName, zoneOffset} from './format.js';
import {createReadout} from './readout.js';
import {STEP_MS} from './range.js';
import {linear, linePath, timeTicks, valueTicks} from './scale.js';

const MARGIN = {top: 10, right: 12, bottom: 26, left: 58};
const TABLE_ICON = 'M2 3h12v10H2zM2 6.5h12M2 10h12M6.5 3v10';

/**
 * Makes a chart. `update({times, step, series, text, exact, watermark})` draws it, where `series` is a list of
 * `{id, label, tone, values, dashed, filled}` with one value (or null) per time; `text` writes axis labels, `exact` read-outs.
 */
export function createChart({label, testid, height = 260}) {
  const grid = svg('g', {class: 'chart-grid'}), lines = svg('g'), marks = svg('g', {class: 'chart-marks'});
  const drawing = svg('svg', {class: 'chart-svg', height, 'aria-hidden': 'true', focusable: 'false'}, grid, lines, marks);
  const summary = h('p', {class: 'visually-hidden', id: `${testid}-summary`});
  const slider = h('div', {class: 'chart-slider', role: 'slider', tabindex: 0, 'aria-label': `${label}: read values with the arrow keys`, 'aria-describedby': summary.id, 'aria-valuemin': 0, 'aria-valuemax': 0, 'aria-valuenow': 0, 'aria-valuetext': 'no value'});
  const plot = h('div', {class: 'chart-plot'}, drawing, slider);
  const legend = h('ul', {class: 'legend', 'aria-label': 'Legend'});
  const toggle = h('button', {class: 'button quiet small', type: 'button', 'aria-expanded': 'false'}, icon(TABLE_ICON), h('span', {text: 'Show as table'}));
  const table = h('div', {class: 'table-scroll chart-table', tabindex: 0, role: 'region', 'aria-label': `${label}, as a table`, hidden: true});
  const el = h('div', {class: 'chart', data: {testid}}, h('div', {class: 'chart-head'}, legend, toggle), summary, plot, table);
  let model = null, width = 0, open = false;
  plot.style.height = `${height}px`;

  const readout = createReadout({plot, slider, marks, geometry: () => model && geometry(model, width, height)});
  toggle.addEventListener('click', () => {
    open = !open;
    setAttr(toggle, 'aria-expanded', open);
    setText(toggle.lastChild, open ? 'Show as chart' : 'Show as table');
    plot.hidden = open;
    table.hidden = !open;
    draw();
  });
  new ResizeObserver(([entry]) => {
    width = entry.contentRect.width;
    draw();
  }).observe(plot);

  function draw() {
    if (!model) return;
    drawLegend(legend, model.series);
    setText(summary, describe(label, model));
    if (open) drawTable(table, label, model);
    else if (width > 0) {
      const shape = geometry(model, width, height);
      setAttr(drawing, 'viewBox', `0 0 ${width} ${height}`);
      drawGrid(grid, model, shape, width, height);
      drawLines(lines, model, shape, height);
      readout.update();
    }
  }

  return {el, update: next => ((model = next), draw())};
}

function geometry(model, width, height) {
  let max = 0;
  for (const one of model.series) for (const value of one.values) if (value > max) max = value;
  const ticks = valueTicks(max);
  const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
  return {
    model, ticks, left: MARGIN.left, right, top: MARGIN.top, bottom,
    x: linear(0, Math.max(1, model.times.length - 1), MARGIN.left, right),
    y: linear(0, ticks.at(-1), bottom, MARGIN.top),
  };
}

function drawGrid(grid, model, shape, width, height) {
  const {times, step} = model;
  // Small counts would give the same label twice; the first is enough.
  const items = shape.ticks.map(value => ({key: `y${value}`, kind: 'y', at: shape.y(value), text: model.text(value)}))
    .filter((item, i, all) => all.findIndex(other => other.text === item.text) === i);
  if (times.length > 1) {
    const at = linear(times[0], times.at(-1), shape.left, shape.right);
    for (const time of timeTicks(times[0], times.at(-1) + 1, Math.max(2, Math.floor(width / 90)))) {
      items.push({key: `x${time}`, kind: 'x', at: at(time), text: tickText(time, step)});
    }
  }
  patchKeyed(grid, items, item => item.key, () => svg('g', {}, svg('line'), svg('text')), (node, item) => {
    const [line, text] = node.children;
    setText(text, item.text);
    if (item.kind === 'y') {
      Object.entries({x1: shape.left, x2: shape.right, y1: item.at, y2: item.at}).forEach(([k, v]) => setAttr(line, k, v));
      Object.entries({x: shape.left - 8, y: item.at + 4, 'text-anchor': 'end'}).forEach(([k, v]) => setAttr(text, k, v));
    } else {
      Object.entries({class: 'tick', x1: item.at, x2: item.at, y1: shape.bottom, y2: shape.bottom + 4}).forEach(([k, v]) => setAttr(line, k, v));
      Object.entries({x: Math.min(item.at, shape.right - 14), y: height - 6, 'text-anchor': 'middle'}).forEach(([k, v]) => setAttr(text, k, v));
    }
  });
}

function tickText(time, step) {
  if (step === 'second') return clock(time);
  const midnight = (time + zoneOffset(time)) % STEP_MS.day === 0;
  return step === 'day' || midnight ? dayMonth(time) : hourMinute(time);
}

function drawLines(parent, model, shape, height) {
  const {times, step, watermark} = model;
  // The window that the watermark is in still fills: a hollow dot, because a line to it would look like a fall.
  const filling = watermark !== null && times.length > 1 && times.at(-1) + STEP_MS[step] > watermark;
  const whole = filling ? times.length - 1 : times.length;
  patchKeyed(parent, model.series, one => one.id,
    () => svg('g', {}, svg('path', {class: 'chart-area'}), svg('path', {class: 'chart-line'}), svg('circle', {class: 'filling', r: 3})),
    (node, one) => {
      const [area, line, dot] = node.children;
      const path = linePath(one.values, shape.x, shape.y, 0, one.dashed ? times.length : whole);
      setAttr(node, 'class', `series tone-${one.tone}${one.dashed ? ' dashed' : ''}`);
      setAttr(line, 'd', path);
      const last = filling && !one.dashed ? one.values[whole] ?? null : null;
      dot.style.display = last === null ? 'none' : '';
      setAttr(dot, 'cx', shape.x(whole));
      setAttr(dot, 'cy', shape.y(last ?? 0));
      const closed = one.filled && path && !path.includes('M', 1);
      setAttr(area, 'd', closed ? `${path}L${shape.x(whole - 1)} ${shape.bottom}L${shape.x(0)} ${shape.bottom}Z` : '');
    });
}

function drawLegend(legend, series) {
  patchKeyed(legend, series, one => one.id,
    () => h('li', {}, h('span', {class: 'swatch', 'aria-hidden': 'true'}), h('span')),
    (node, one) => {
      setAttr(node.firstChild, 'class', `swatch tone-${one.tone}${one.dashed ? ' dashed' : ''}`);
      setText(node.lastChild, one.label);
    });
}

function drawTable(box, label, {times, step, series, exact}) {
  const columns = series.map(one => one.id).join('\n');
  if (box.dataset.columns !== columns) {
    box.dataset.columns = columns;
    const head = h('tr', {}, h('th', {scope: 'col', text: 'Window'}), series.map(one => h('th', {scope: 'col', class: 'num', text: one.label})));
    fill(box, h('table', {class: 'table'}, h('caption', {class: 'visually-hidden', text: label}), h('thead', {}, head), h('tbody')));
  }
  const rows = times.map((time, i) => ({time, i})).reverse();
  patchKeyed(box.querySelector('tbody'), rows, row => row.time,
    () => h('tr', {}, h('th', {scope: 'row'}), series.map(() => h('td', {class: 'num'}))),
    (node, {time, i}) => {
      setText(node.firstChild, windowName(time, step));
      series.forEach((one, column) => setText(node.children[column + 1], exact(one.values[i])));
    });
}

function describe(label, {times, step, series, exact}) {
  if (!times.length) return `${label}: no data.`;
  const main = series[0];
  let low = -1, high = -1;
  main?.values.forEach((value, i) => {
    if (value === null || value === undefined) return;
    if (low < 0 || value < main.values[low]) low = i;
    if (high < 0 || value > main.values[high]) high = i;
  });
  if (high < 0) return `${label}, by ${step}: no values.`;
  const at = i => `${exact(main.values[i])} at ${windowName(times[i], step)}`;
  return `${label}, by ${step}, ${times.length} windows, ${series.length} series. ${main.label}: highest ${at(high)}, lowest ${at(low)}, latest ${at(times.length - 1)}.`;
}
