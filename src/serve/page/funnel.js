// The funnel from bids to conversions, drawn to a logarithmic scale, with the rate between neighbours.

import {h, setAttr, setText, setValue, svg} from './dom.js';
import {count, countExact, percent, percentExact} from './format.js';
import {METRICS, change} from './metrics.js';
import {hrefFor, navigate} from './state.js';
import {fillDelta} from './widgets.js';

const STAGES = ['bids', 'wins', 'impressions', 'clicks', 'conversions'];
const RATES = ['win rate', 'of wins', 'CTR', 'CVR'];

/** How tall a stage is, 0 to 1: bids are a thousand times conversions, so the scale is logarithmic. */
export const stageSize = (value, most) => (value > 0 && most > 0 ? 0.12 + 0.88 * (Math.log10(value + 1) / Math.log10(most + 1)) : 0.02);

/** Makes the funnel; `update(sums, before)` draws it (`before` may be null). */
export function createFunnel() {
  const stages = STAGES.map((id, i) => createStage(METRICS[id], i));
  const el = h('ol', {class: 'funnel'}, stages.map(stage => stage.el));
  return {el, update(sums, before) {
    const values = STAGES.map(id => sums[id] ?? 0);
    const sizes = values.map(value => stageSize(value, Math.max(...values)));
    stages.forEach((stage, i) => stage.update({
      value: values[i], size: sizes[i], next: sizes[i + 1] ?? sizes[i] * 0.9, previous: values[i - 1], before: before?.[STAGES[i]] ?? null,
    }));
  }};
}

function pathsLink() {
  const target = {view: 'paths', sort: '', page: 0};
  const go = event => {
    event.preventDefault();
    navigate(target);
  };
  const link = h('a', {class: 'funnel-link', text: 'See the paths', on: {click: go}});
  link.href = hrefFor(target);
  return link;
}

function createStage(metric, index) {
  const shape = svg('polygon'), bar = h('span');
  const value = h('strong', {class: 'funnel-value', data: {testid: `funnel-${metric.id}`}});
  const moved = h('span', {class: 'delta'});
  const rate = h('span', {class: 'funnel-rate', title: metric.hint});
  const el = h('li', {class: `funnel-stage stage-${index}`},
    h('div', {class: 'funnel-text'}, h('span', {class: 'funnel-label', text: metric.label}), value, moved),
    svg('svg', {class: 'funnel-shape', viewBox: '0 0 100 100', preserveAspectRatio: 'none', 'aria-hidden': 'true'}, shape),
    h('span', {class: 'funnel-bar', 'aria-hidden': 'true'}, bar), index > 0 && rate, metric.id === 'conversions' && pathsLink());
  return {el, update({value: now, size, next, previous, before}) {
    setText(value, count(now));
    setAttr(value, 'title', countExact(now));
    setValue(value, now);
    moved.hidden = before === null;
    if (before !== null) fillDelta(moved, change({better: 0}, now, before));
    const [a, b] = [size * 50, next * 50].map(half => half.toFixed(1));
    setAttr(shape, 'points', `0,${50 - a} 100,${50 - b} 100,${50 + Number(b)} 0,${50 + Number(a)}`);
    bar.style.width = `${(size * 100).toFixed(1)}%`;
    if (index === 0) return;
    const ratio = previous ? now / previous : null;
    setText(rate, `${percent(ratio)} ${RATES[index - 1]}`);
    setAttr(rate, 'title', percentExact(ratio));
  }};
}
