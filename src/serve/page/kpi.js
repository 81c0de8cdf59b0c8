// The tiles of the overview: a metric, how it moved against the range before, and its shape over time.

import {h, setAttr, setText, setValue} from './dom.js';
import {METRICS, TILES, change, valueOf} from './metrics.js';
import {createSpark} from './spark.js';
import {delta} from './widgets.js';

/** Makes the tiles; `onChoose(id)` when one is pressed, to plot its metric. */
export function createTiles(onChoose) {
  const tiles = TILES.map(id => createTile(METRICS[id], onChoose));
  const el = h('div', {class: 'tiles', role: 'group', 'aria-label': 'Key figures; choose one to plot it'}, tiles.map(tile => tile.el));
  return {el, update: model => tiles.forEach(tile => tile.update(model))};
}

function createTile(metric, onChoose) {
  const value = h('span', {class: 'tile-value', data: {testid: `kpi-${metric.id}`}});
  const moved = delta(), spark = createSpark();
  const el = h('button', {class: 'tile', type: 'button', title: metric.hint, on: {click: () => onChoose(metric.id)}},
    h('span', {class: 'tile-label', text: metric.label}), value, moved.el, spark.el);
  return {el, update({sums, before, chosen, valuesOf}) {
    const now = valueOf(metric, sums);
    setText(value, metric.text(now));
    setAttr(value, 'title', metric.exact(now));
    setValue(value, now);
    setAttr(el, 'aria-pressed', chosen === metric.id);
    moved.el.hidden = before === null;
    if (before) {
      moved.update(change(metric, now, valueOf(metric, before)));
      setAttr(moved.el, 'title', `Before: ${metric.exact(valueOf(metric, before))}`);
    }
    spark.update(valuesOf(metric));
  }};
}
