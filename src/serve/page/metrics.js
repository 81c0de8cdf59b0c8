// The metrics of a campaign: names, columns, how to read and write them, and which direction is good.

import * as format from './format.js';

const KINDS = {
  money: [format.money, format.moneyExact],
  price: [format.price, format.priceExact],
  count: [format.count, format.countExact],
  percent: [format.percent, format.percentExact],
  times: [format.times, format.times],
};

const metric = (id, label, kind, column, better, hint) => ({id, label, kind, column, better, hint, text: KINDS[kind][0], exact: KINDS[kind][1]});

/** All metrics by id. `better`: 1 more is better, -1 less is better, 0 neither. */
export const METRICS = Object.fromEntries([
  metric('spend', 'Spend', 'money', 'spend_micros', 0, 'What the counted impressions cost'),
  metric('revenue', 'Revenue', 'money', 'revenue_micros', 1, 'Value of attributed conversions'),
  metric('roas', 'ROAS', 'times', 'roas', 1, 'Return on ad spend: revenue ÷ spend'),
  metric('conversions', 'Conversions', 'count', 'conversions', 1, 'Attributed conversions, default model'),
  metric('cpa', 'CPA', 'price', 'cpa', -1, 'Cost per conversion: spend ÷ conversions'),
  metric('ctr', 'CTR', 'percent', 'ctr', 1, 'Click-through rate: clicks ÷ impressions'),
  metric('cvr', 'CVR', 'percent', 'cvr', 1, 'Conversion rate: conversions ÷ clicks'),
  metric('cpc', 'CPC', 'price', 'cpc', -1, 'Cost per click: spend ÷ clicks'),
  metric('cpm', 'CPM', 'price', 'cpm', -1, 'Cost per 1,000 impressions'),
  metric('win_rate', 'Win rate', 'percent', 'win_rate', 1, 'Won auctions ÷ bids'),
  metric('bids', 'Bids', 'count', 'bids', 0, 'Bids placed'),
  metric('wins', 'Wins', 'count', 'wins', 1, 'Impressions whose bid is known'),
  metric('impressions', 'Impressions', 'count', 'impressions', 1, 'Counted impressions'),
  metric('viewable', 'Viewable', 'count', 'viewable', 1, 'Impressions that were viewable'),
  metric('clicks', 'Clicks', 'count', 'clicks', 1, 'Valid clicks'),
].map(one => [one.id, one]));

/** The tiles of the overview, in order. */
export const TILES = ['spend', 'revenue', 'roas', 'conversions', 'cpa', 'ctr', 'cvr', 'cpc', 'cpm', 'win_rate'];

/** Whether windows without traffic count as zero (a ratio has no value there). */
export const isAdditive = one => one.column.endsWith('_micros') || one.kind === 'count';

/** The value of a metric in a row or in sums; null if there is none. */
export const valueOf = (one, row) => row?.[one.column] ?? (row && isAdditive(one) ? 0 : null);

/** How a value moved: the relative change (null if there is nothing to compare), a word and a tone. */
export function change(one, now, before) {
  if (now === null || before === null || before === undefined || before === 0) return {ratio: null, word: 'no earlier value', tone: 'none', arrow: ''};
  const ratio = now / before - 1;
  if (Math.abs(ratio) < 0.0005) return {ratio: 0, word: 'unchanged', tone: 'none', arrow: '→'};
  const up = ratio > 0;
  const good = one.better === 0 ? null : up === one.better > 0;
  const word = good === null ? (up ? 'more' : 'less') : good ? 'better' : 'worse';
  return {ratio, word, tone: good === null ? 'none' : good ? 'good' : 'bad', arrow: up ? '↑' : '↓'};
}
