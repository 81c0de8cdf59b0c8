// A sparkline: the shape of a series, without axes, for tiles and tables.

import {setAttr, svg} from './dom.js';
import {linear, linePath, thin} from './scale.js';

const WIDTH = 120, HEIGHT = 28, POINTS = 48;

/** Makes a sparkline; `update(values)` draws. It is decoration: the tile says the numbers. */
export function createSpark() {
  const area = svg('path', {class: 'spark-area'});
  const line = svg('path', {class: 'spark-line', 'vector-effect': 'non-scaling-stroke'});
  const el = svg('svg', {class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true'}, area, line);
  return {el, update: values => draw(values, line, area)};
}

function draw(values, line, area) {
  const points = thin(values, POINTS);
  const present = points.filter(value => value !== null);
  if (present.length < 2) {
    setAttr(line, 'd', '');
    setAttr(area, 'd', '');
    return;
  }
  const low = Math.min(...present), high = Math.max(...present);
  const x = linear(0, points.length - 1, 0, WIDTH);
  const y = low === high ? () => HEIGHT / 2 : linear(low, high, HEIGHT - 2, 2);
  const path = linePath(points, x, y);
  setAttr(line, 'd', path);
  setAttr(area, 'd', path.includes('M', 1) ? '' : `${path}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
}
