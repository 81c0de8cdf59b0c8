// The trend of the overview: one metric over time, against the range before or split by the largest campaigns.

import {createChart} from './chart.js';
import {h} from './dom.js';
import {METRICS, isAdditive, valueOf} from './metrics.js';
import {nameOf} from './names.js';
import {STEP_MS, floorTo, possibleSteps, previousRange, trendStep, widen, windowStarts} from './range.js';
import {currentParameters, downloads, isComparable, performanceTable, windowOf} from './queries.js';
import {navigate} from './state.js';
import {card, exportLinks, segmented, select} from './widgets.js';

const STEP_LABELS = {minute: 'Minute', hour: 'Hour', day: 'Day'};

// Ratios and single campaigns have few events per minute: over a longer range the hour tells more.
function calmStep({split, metric}, {since, until}) {
  const sparse = split || !isAdditive(METRICS[metric] ?? METRICS.spend);
  return sparse && until - since >= 6 * STEP_MS.hour ? 'hour' : '';
}

/** The step the trend has in this state. */
export function stepOf(page) {
  const window = windowOf(performanceTable(page.state));
  const whole = widen(page.range, window);
  return trendStep(whole, page.state.step || calmStep(page.state, whole), window);
}

/** The values of a metric at these times; windows without a row are 0 for what adds up and empty for ratios. */
export function seriesOf(metric, times, rowAt) {
  const none = isAdditive(metric) ? 0 : null;
  return times.map(time => {
    const row = rowAt(time);
    return row ? valueOf(metric, row) : none;
  });
}

/** The rows of a store by time (and campaign, if it has one). */
export const indexOf = store => new Map([...(store?.rows.values() ?? [])].map(row => [`${row.time}${row.campaign_id ?? ''}`, row]));

/** Makes the card with the chart. */
export function createTrend() {
  const chart = createChart({label: 'Trend', testid: 'trend', height: 320});
  const metric = select('Metric', Object.fromEntries(Object.values(METRICS).map(one => [one.id, one.label])), id => navigate({metric: id}));
  const steps = segmented('Step', STEP_LABELS, id => navigate({step: id}));
  const split = h('input', {type: 'checkbox', role: 'switch', id: 'split', on: {change: event => navigate({split: event.target.checked})}});
  const exports = exportLinks();
  const box = card({title: 'Trend', testid: 'trend-card', tools: [metric.el, steps.el, h('label', {class: 'switch', for: 'split'}, split, h('span', {text: 'By campaign'})), exports.el]}, chart.el);

  function update(page, index) {
    const {state, range, watermark} = page;
    const one = METRICS[state.metric] ?? METRICS.spend;
    const table = performanceTable(state), window = windowOf(table), step = stepOf(page);
    const whole = widen(range, window);
    metric.update(one.id);
    steps.update(step, possibleSteps(whole, window));
    split.checked = state.split;
    box.setTitle(`${one.label} by ${step}`);
    box.setNote(window > STEP_MS.minute && step === 'hour' ? `Filters on country, device, site or creative are kept by the hour.${isComparable(table, page) ? '' : ' Comparing needs six hours or more.'}` : one.hint);
    exports.update(downloads(table, currentParameters(table, page, {step, group_by: ''})));
    const times = windowStarts(whole, step, watermark);
    chart.update({times, step, watermark, text: one.text, exact: one.exact, series: state.split && page.data.split ? campaignSeries(page, one, times) : plainSeries(page, one, times, step, whole, index)});
  }

  return {el: box.el, update};
}

function plainSeries(page, metric, times, step, whole, index) {
  const series = [{id: 'now', label: 'This range', tone: 0, filled: true, values: seriesOf(metric, times, time => index.get(`${time}`))}];
  if (page.data.trend_before) {
    const window = windowOf(performanceTable(page.state));
    const cut = previousRange(whole, page.watermark, window);
    const start = floorTo(cut.since, STEP_MS[step]);
    const before = indexOf(page.data.trend_before);
    const values = times.map((_, i) => {
      const time = start + i * STEP_MS[step];
      if (time >= cut.until) return null;
      const row = before.get(`${time}`);
      return row ? valueOf(metric, row) : isAdditive(metric) ? 0 : null;
    });
    series.push({id: 'before', label: 'Range before', tone: 'before', dashed: true, values});
  }
  return series;
}

function campaignSeries(page, metric, times) {
  const store = page.data.split;
  const index = indexOf(store);
  const ids = [...new Set([...store.rows.values()].map(row => row.campaign_id))].sort();
  return ids.map((id, i) => ({id, label: nameOf('campaign_id', id), tone: i % 6, values: seriesOf(metric, times, time => index.get(`${time}${id}`))}));
}
