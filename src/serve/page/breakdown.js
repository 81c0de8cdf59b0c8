// The break-down: performance by campaign, creative, site, country or device, with a drill into a row.

import {h} from './dom.js';
import {count, countExact, percent, percentExact} from './format.js';
import {COLUMN_LABELS, nameOf} from './names.js';
import {metricColumn, nameColumn} from './performance_columns.js';
import {currentParameters, currentQuery, downloads, isComparable, performanceTable, previousQuery, windowOf} from './queries.js';
import {MINUTE, widen} from './range.js';
import {getState, hrefFor, navigate, onlyFilter} from './state.js';
import {rowOf} from './store.js';
import {createTable} from './table.js';
import {rangeText} from './toolbar.js';
import {card, exportLinks, segmented} from './widgets.js';

const DIMENSIONS = ['campaign_id', 'creative_id', 'site', 'country', 'device'];
const FIGURES = ['spend', 'revenue', 'roas', 'impressions', 'clicks', 'ctr', 'conversions', 'cvr', 'cpa', 'cpm', 'win_rate'];
const SUPPLY = 'supply_hour';
const BARS = ['spend', 'revenue', 'impressions', 'clicks', 'conversions'];

// Auctions are offered to all campaigns, so bid requests are known only where no campaign is chosen.
const showsSupply = state =>
  ['site', 'country', 'device'].includes(dimensionOf(state)) && ['campaign_id', 'advertiser_id', 'creative_id'].every(column => !state.filters[column].length);

const supplyColumns = supplyOf => [
  {id: 'bid_requests', label: 'Bid requests', hint: 'Auctions offered', numeric: true, value: row => supplyOf(row)?.bid_requests ?? null, text: row => count(supplyOf(row)?.bid_requests), title: row => countExact(supplyOf(row)?.bid_requests)},
  {id: 'bid_rate', label: 'Bid rate', hint: 'Bids ÷ bid requests', numeric: true, value: row => supplyOf(row)?.bid_rate ?? null, text: row => percent(supplyOf(row)?.bid_rate), title: row => percentExact(supplyOf(row)?.bid_rate)},
];

const dimensionOf = state => (DIMENSIONS.includes(state.by) ? state.by : 'campaign_id');

/** What a click on a row does: filter by it and go on to the next dimension that has no filter yet. */
export function drill(state, by, value) {
  const filters = onlyFilter(by, value);
  const next = [...DIMENSIONS.slice(DIMENSIONS.indexOf(by) + 1), ...DIMENSIONS].find(one => !filters[one].length);
  return {filters, by: next ?? by};
}

/** Makes the view. */
export function createBreakdown() {
  const choice = segmented('Break down by', Object.fromEntries(DIMENSIONS.map(id => [id, COLUMN_LABELS[id]])), by => navigate({by}));
  const exports = exportLinks(), holder = h('div');
  const box = card({title: 'Break-down', tools: [choice.el, exports.el]}, holder);
  const tables = new Map();

  const group = page => ({step: 'all', group_by: dimensionOf(page.state)});
  const tableName = page => performanceTable(page.state, dimensionOf(page.state));

  function queries(page) {
    const wanted = {rows: currentQuery(tableName(page), page, group(page))};
    if (showsSupply(page.state)) wanted.supply = currentQuery(SUPPLY, page, group(page));
    if (page.state.compare && isComparable(tableName(page), page)) wanted.before = previousQuery(tableName(page), page, group(page));
    return wanted;
  }

  function render(page) {
    const by = dimensionOf(page.state), name = tableName(page), store = page.data.rows;
    if (store.groupBy[0] !== by) return;
    const withSupply = Boolean(page.data.supply), key = `${by} ${withSupply}`;
    if (!tables.has(key)) tables.set(key, createDimensionTable(by, withSupply));
    const table = tables.get(key);
    if (holder.firstChild !== table.el) holder.replaceChildren(table.el);
    choice.update(by);
    box.setTitle(`By ${COLUMN_LABELS[by].toLowerCase()}`);
    const whole = widen(page.range, windowOf(name));
    const widened = windowOf(name) > MINUTE && (whole.since !== page.range.since || whole.until !== page.range.until);
    box.setNote(`${countExact(store.total)} rows. Choose one to filter by it.${widened ? ` Kept by the hour: ${rangeText(whole)}.${isComparable(name, page) ? '' : ' Comparing needs six hours or more.'}` : ''}`);
    exports.update(downloads(name, currentParameters(name, page, {...group(page), sort: '-spend_micros'})));
    table.update(page);
  }

  return {el: h('div', {class: 'view'}, box.el), queries, render, isEmpty: ({data}) => data.rows.rows.size === 0};
}

function createDimensionTable(by, withSupply) {
  let earlier = null, supply = null;
  const before = row => (earlier === null ? null : row.isTotal ? earlier.sums : rowOf(earlier, row[by]) ?? {});
  const columns = [
    nameColumn({
      id: by, label: COLUMN_LABELS[by], name: row => (row.isTotal ? 'Total' : nameOf(by, row[by])),
      detail: row => (nameOf(by, row[by]) === row[by] ? '' : row[by]), hint: row => `Filter by ${COLUMN_LABELS[by].toLowerCase()} ${nameOf(by, row[by])}`,
      href: row => hrefFor(drill(getState(), by, row[by])), onClick: row => navigate(drill(getState(), by, row[by])),
    }),
    ...FIGURES.map(id => metricColumn(id, {bar: BARS.includes(id), before})),
    ...(withSupply ? supplyColumns(row => (supply === null ? null : row.isTotal ? supply.sums : rowOf(supply, row[by]) ?? null)) : []),
  ];
  const table = createTable({caption: `Performance by ${COLUMN_LABELS[by].toLowerCase()}`, columns, keyOf: row => (row.isTotal ? 'totals' : row[by]), onSort: sort => navigate({sort}, {replace: true}), testid: 'breakdown-table'});
  return {el: table.el, update(page) {
    earlier = page.state.compare ? page.data.before ?? null : null;
    supply = page.data.supply ?? null;
    table.update({rows: [...page.data.rows.rows.values()], sort: getState().sort || '-spend_micros', totals: {...page.data.rows.sums, isTotal: true}});
  }};
}
