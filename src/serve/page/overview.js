// The overview: key figures, funnel, trend and top movers.

import {h} from './dom.js';
import {createFunnel} from './funnel.js';
import {createTiles} from './kpi.js';
import {METRICS, valueOf} from './metrics.js';
import {createMovers} from './movers.js';
import {currentQuery, isComparable, performanceTable, previousQuery, windowOf} from './queries.js';
import {widen, windowStarts} from './range.js';
import {navigate} from './state.js';
import {createTrend, indexOf, seriesOf, stepOf} from './trend.js';
import {card} from './widgets.js';

const SPLIT = 6;

/** Makes the view; `again()` asks the page to compute its queries anew. */
export function createOverview({again}) {
  const tiles = createTiles(metric => navigate({metric}));
  const funnel = createFunnel(), trend = createTrend(), movers = createMovers();
  const funnelCard = card({title: 'Funnel', note: 'Heights are logarithmic; rates are between neighbours', testid: 'funnel'}, funnel.el);
  const el = h('div', {class: 'view overview'}, tiles.el, funnelCard.el, trend.el, movers.el);
  let largest = {key: '', ids: []};

  const splitKey = ({state, range}) => JSON.stringify([state.metric, state.filters, range.until - range.since]);

  function queries(page) {
    const table = performanceTable(page.state), step = stepOf(page);
    const wanted = {trend: currentQuery(table, page, {step, group_by: ''}), campaigns: currentQuery(table, page, {step: 'all', group_by: 'campaign_id'})};
    if (isComparable(table, page)) wanted.campaigns_before = previousQuery(table, page, {step: 'all', group_by: 'campaign_id'});
    if (page.state.compare && isComparable(table, page)) wanted.trend_before = previousQuery(table, page, {step, group_by: ''});
    if (page.state.split && largest.key === splitKey(page) && largest.ids.length) {
      wanted.split = currentQuery(table, page, {step, group_by: 'campaign_id', campaign_id: largest.ids});
    }
    return wanted;
  }

  // Which campaigns the split shows is decided once per question, not at every tick, so that lines don't come and go.
  function chooseLargest(page) {
    if (!page.state.split || largest.key === splitKey(page)) return;
    const metric = METRICS[page.state.metric] ?? METRICS.spend;
    const rows = [...page.data.campaigns.rows.values()].sort((a, b) => (valueOf(metric, b) ?? 0) - (valueOf(metric, a) ?? 0));
    largest = {key: splitKey(page), ids: rows.slice(0, SPLIT).map(row => row.campaign_id)};
    again();
  }

  function render(page) {
    const {data, state} = page;
    const before = data.trend_before?.sums ?? null;
    const index = indexOf(data.trend);
    const times = windowStarts(widen(page.range, windowOf(performanceTable(state))), stepOf(page), page.watermark);
    tiles.update({sums: data.trend.sums, before, chosen: state.metric, valuesOf: metric => seriesOf(metric, times.slice(0, -1), time => index.get(`${time}`))});
    funnel.update(data.trend.sums, before);
    trend.update(page, index);
    movers.el.hidden = !data.campaigns_before;
    if (data.campaigns_before) movers.update(page);
    chooseLargest(page);
  }

  return {el, queries, render, isEmpty: ({data}) => data.trend.rows.size === 0 && !data.campaigns_before?.rows.size};
}
