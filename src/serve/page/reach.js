// Reach and frequency per day: how many different people a campaign met, and how often.

import {createChart} from './chart.js';
import {h, setText} from './dom.js';
import {count, countExact, decimal, windowName} from './format.js';
import {COLUMN_LABELS, advertiserOf, nameOf} from './names.js';
import {query} from './api.js';
import {nameColumn} from './performance_columns.js';
import {downloads, filtersFor, ignoredFilters} from './queries.js';
import {DAY, widen, windowStarts} from './range.js';
import {getState, hrefFor, navigate, onlyFilter} from './state.js';
import {createTable} from './table.js';
import {rangeText} from './toolbar.js';
import {card, exportLinks, segmented} from './widgets.js';

const TABLE = 'reach_day';
const LINES = 6, LEAST_DAYS = 7;
const MEASURES = {
  users: {label: 'Users', value: row => row.users, text: count, exact: countExact, none: 0},
  frequency: {label: 'Frequency', value: row => row.frequency, text: value => decimal(value, 1), exact: value => decimal(value, 2), none: null},
  impressions: {label: 'Impressions', value: row => row.impressions, text: count, exact: countExact, none: 0},
};

/** Whole days, at least a week of them: one point makes no line. */
export function reachRange(range) {
  const days = widen(range, DAY);
  return {since: Math.min(days.since, days.until - LEAST_DAYS * DAY), until: days.until};
}

const parametersOf = page => ({...reachRange(page.range), ...filtersFor(TABLE, page.state), step: 'day', group_by: 'campaign_id'});

/** The campaigns with the most impressions. */
export function largestCampaigns(rows, most = LINES) {
  const sums = new Map();
  for (const row of rows) sums.set(row.campaign_id, (sums.get(row.campaign_id) ?? 0) + row.impressions);
  return [...sums].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, most).map(([id]) => id);
}

function createRows() {
  const only = row => ({filters: onlyFilter('campaign_id', row.campaign_id)});
  const figure = (id, label, text, exact, bar) => ({id, label, numeric: true, bar, value: row => row[id] ?? null, text: row => text(row[id]), title: row => exact(row[id])});
  const columns = [
    nameColumn({
      id: 'campaign_id', label: COLUMN_LABELS.campaign_id, name: row => nameOf('campaign_id', row.campaign_id), detail: row => nameOf('advertiser_id', advertiserOf(row.campaign_id)),
      hint: () => 'Show only this campaign', href: row => hrefFor(only(row)), onClick: row => navigate(only(row)),
    }),
    {id: 'time', label: 'Day (UTC)', numeric: true, value: row => row.time, text: row => windowName(row.time, 'day')},
    figure('users', 'Users', count, countExact, true),
    figure('impressions', 'Impressions', count, countExact, true),
    figure('frequency', 'Frequency', value => decimal(value, 2), value => decimal(value, 6), true),
  ];
  return createTable({caption: 'Reach by campaign and day', columns, keyOf: row => `${row.time} ${row.campaign_id}`, onSort: sort => navigate({sort}, {replace: true}), testid: 'reach-table'});
}

/** Makes the view. */
export function createReach() {
  const choice = segmented('Measure', {users: 'Users', frequency: 'Frequency', impressions: 'Impressions'}, reach => navigate({reach}));
  const chart = createChart({label: 'Reach by day', testid: 'reach', height: 280}), table = createRows();
  const exports = exportLinks(), note = h('p', {class: 'note', hidden: true});
  const chartCard = card({title: 'Reach', tools: [choice.el]}, chart.el);
  const tableCard = card({title: 'By campaign and day', note: 'Users are different people. The same person may be met on several days or by several campaigns, so users are not added up.', tools: [exports.el]}, table.el);

  function render(page) {
    const {state, data, watermark} = page;
    const id = state.reach in MEASURES ? state.reach : 'users', measure = MEASURES[id];
    const range = reachRange(page.range), rows = [...data.rows.rows.values()];
    const index = new Map(rows.map(row => [`${row.time}${row.campaign_id}`, row]));
    const times = windowStarts(range, 'day', watermark);
    choice.update(id);
    chartCard.setTitle(`${measure.label} by day`);
    chartCard.setNote(`Whole days, ${rangeText(range, 'day')}; the ${LINES} campaigns with the most impressions.`);
    chart.update({times, step: 'day', watermark, text: measure.text, exact: measure.exact, series: largestCampaigns(rows).map((campaign, i) => ({
      id: campaign, label: nameOf('campaign_id', campaign), tone: i, values: times.map(time => {
        const row = index.get(`${time}${campaign}`);
        return row ? measure.value(row) : measure.none;
      }),
    }))});
    exports.update(downloads(TABLE, parametersOf(page)));
    table.update({rows, sort: getState().sort || '-time'});
    const ignored = ignoredFilters(TABLE, state);
    note.hidden = !ignored.length;
    setText(note, `Reach is kept by campaign: the filter on ${ignored.join(', ')} does not apply here.`);
  }

  return {
    el: h('div', {class: 'view'}, note, chartCard.el, tableCard.el), render,
    queries: page => ({rows: query(TABLE, parametersOf(page))}), isEmpty: ({data}) => data.rows.rows.size === 0,
  };
}
