// Axis mathematics: round ticks for values and for times.

import {zoneOffset} from './format.js';

const SECOND = 1_000, MINUTE = 60_000, HOUR = 3_600_000, DAY = 86_400_000;
const TIME_STEPS = [10 * SECOND, 20 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY];

/** The distance of about `wanted` round ticks up to `max`: 1, 2 or 5 times a power of ten. */
export function tickSize(max, wanted = 4) {
  const rough = max / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find(factor => factor * power >= rough * 0.999) * power;
}

/** Ticks from 0 to at least `max`. */
export function valueTicks(max, wanted = 4) {
  if (!(max > 0)) return [0, 1];
  const size = tickSize(max, wanted);
  return Array.from({length: Math.ceil(max / size - 1e-9) + 1}, (_, i) => i * size);
}

/** Round moments between two times, at most `most` of them. */
export function timeTicks(since, until, most) {
  const size = TIME_STEPS.find(step => (until - since) / step <= most) ?? Math.ceil((until - since) / most / DAY) * DAY;
  const shift = zoneOffset(since);
  const ticks = [];
  for (let at = Math.ceil((since + shift) / size) * size - shift; at < until; at += size) ticks.push(at);
  return ticks;
}

/** A linear map from [a, b] to [x, y]. */
export const linear = (a, b, x, y) => value => x + ((value - a) / (b - a || 1)) * (y - x);

/** Averages neighbours so that at most `most` values are left; for sparklines. */
export function thin(values, most) {
  if (values.length <= most) return values;
  const size = values.length / most;
  return Array.from({length: most}, (_, i) => {
    const part = values.slice(Math.floor(i * size), Math.floor((i + 1) * size)).filter(value => value !== null);
    return part.length ? part.reduce((a, b) => a + b, 0) / part.length : null;
  });
}

/** An SVG path through the points; null values leave a gap. */
export function linePath(values, x, y, from = 0, to = values.length) {
  let path = '', pen = 'M';
  for (let i = from; i < to; i++) {
    if (values[i] === null || values[i] === undefined) pen = 'M';
    else {
      // `h0` makes a lone point a dot.
      path += pen + x(i).toFixed(1) + ' ' + y(values[i]).toFixed(1) + (pen === 'M' ? 'h0' : '');
      pen = 'L';
    }
  }
  return path;
}
