// Attribution models side by side per campaign, and what each shifts against a chosen base model.

import {h, setText} from './dom.js';
import {credit, countExact, money, moneyExact, percent} from './format.js';
import {COLUMN_LABELS, advertiserOf, nameOf} from './names.js';
import {nameColumn} from './performance_columns.js';
import {currentParameters, currentQuery, downloads, ignoredFilters} from './queries.js';
import {MODELS, getState, hrefFor, navigate, onlyFilter} from './state.js';
import {createTable} from './table.js';
import {card, exportLinks, fillDiverging, segmented, select} from './widgets.js';

const TABLE = 'attribution_hour';
const GROUP = {step: 'all', group_by: 'campaign_id,model'};
const MEASURES = {
  conversions: {label: 'Conversions', column: 'credit_micros', text: credit, exact: value => `${countExact(value / 1e6)} conversions`},
  revenue: {label: 'Revenue', column: 'revenue_micros', text: money, exact: moneyExact},
};

/** Turns rows of (campaign, model) into one row per campaign with a value per model. */
export function pivot(rows, column) {
  const campaigns = new Map();
  for (const row of rows) {
    if (!campaigns.has(row.campaign_id)) campaigns.set(row.campaign_id, {campaign_id: row.campaign_id, values: {}});
    campaigns.get(row.campaign_id).values[row.model] = row[column];
  }
  return [...campaigns.values()];
}

/** The sum of each model over pivoted rows. */
export const modelTotals = rows =>
  Object.fromEntries(Object.keys(MODELS).map(model => [model, rows.reduce((sum, row) => sum + (row.values[model] ?? 0), 0)]));

// Over all campaigns of an advertiser the models agree on the total; under a filter by campaign they need not.
function totalText(totals, measure) {
  const [first, ...rest] = Object.values(totals);
  if (rest.every(one => one === first)) return `Every model hands out the same ${measure.text(first)}${measure === MEASURES.conversions ? ' conversions' : ''}, in other shares.`;
  return 'Each column is what one model gives these campaigns.';
}

const toPaths = row => ({view: 'paths', sort: '', page: 0, filters: onlyFilter('campaign_id', row.campaign_id)});

function campaignColumn(total) {
  return nameColumn({
    id: 'campaign_id', label: COLUMN_LABELS.campaign_id, name: row => (row.isTotal ? total : nameOf('campaign_id', row.campaign_id)),
    detail: row => nameOf('advertiser_id', advertiserOf(row.campaign_id)), hint: () => 'Show the conversion paths behind these numbers',
    href: row => hrefFor(toPaths(row)), onClick: row => navigate(toPaths(row)),
  });
}

const keyOf = row => (row.isTotal ? 'totals' : row.campaign_id);
const onSort = sort => navigate({sort}, {replace: true});

function sideBySide(measure) {
  const columns = [campaignColumn('All campaigns'), ...Object.entries(MODELS).map(([id, label]) => {
    const value = row => row.values[id] ?? 0;
    return {id, label, numeric: true, bar: true, value, text: row => measure.text(value(row)), title: row => measure.exact(value(row))};
  })];
  return createTable({caption: `${measure.label} by campaign and attribution model`, columns, keyOf, onSort, testid: 'attribution-table'});
}

function shifts(measure, base) {
  const model = {most: 0};
  const shift = (row, id) => (row.values[id] ?? 0) - (row.values[base] ?? 0);
  const text = (row, id) => {
    const value = shift(row, id), start = row.values[base] ?? 0;
    const sign = value > 0 ? '+' : value < 0 ? '−' : '±';
    return `${sign}${measure.text(Math.abs(value))}${start && value ? ` (${sign}${percent(Math.abs(value / start))})` : ''}`;
  };
  const start = {id: base, label: MODELS[base], numeric: true, value: row => row.values[base] ?? 0, text: row => measure.text(row.values[base] ?? 0), title: row => measure.exact(row.values[base] ?? 0)};
  const columns = [campaignColumn('All campaigns'), start, ...Object.entries(MODELS).filter(([id]) => id !== base).map(([id, label]) => ({
    id, label, numeric: true, value: row => shift(row, id), title: row => `${label}: ${text(row, id)} against ${MODELS[base].toLowerCase()}`,
    fill: (cell, row) => fillDiverging(cell, shift(row, id), model.most, text(row, id)),
  }))];
  const table = createTable({caption: `What each model shifts against ${MODELS[base].toLowerCase()}`, columns, keyOf, onSort, testid: 'attribution-shift'});
  return {el: table.el, update(rows, sort) {
    model.most = Math.max(0, ...rows.flatMap(row => Object.keys(MODELS).map(id => Math.abs(shift(row, id)))));
    table.update({rows, sort, totals: null});
  }};
}

/** Makes the view. */
export function createAttribution() {
  const measureChoice = segmented('Measure', {conversions: 'Conversions', revenue: 'Revenue'}, measure => navigate({measure}));
  const baseChoice = select('Base model', MODELS, model => navigate({model}));
  const exports = exportLinks(), note = h('p', {class: 'note', hidden: true});
  const creditHolder = h('div'), shiftHolder = h('div');
  const creditCard = card({title: 'Models side by side', tools: [measureChoice.el, exports.el]}, creditHolder);
  const shiftCard = card({title: 'Shift', tools: [baseChoice.el]}, shiftHolder);
  const made = new Map();

  const part = (key, make) => made.get(key) ?? made.set(key, make()).get(key);
  const put = (holder, table) => holder.firstChild !== table.el && holder.replaceChildren(table.el);

  function render(page) {
    const {state, data} = page;
    const id = state.measure in MEASURES ? state.measure : 'conversions', measure = MEASURES[id];
    const rows = pivot(data.rows.rows.values(), measure.column);
    const totals = modelTotals(rows);
    const table = part(id, () => sideBySide(measure)), shift = part(`${id} ${state.model}`, () => shifts(measure, state.model));
    measureChoice.update(id);
    baseChoice.update(state.model);
    exports.update(downloads(TABLE, currentParameters(TABLE, page, GROUP)));
    creditCard.setNote(`${totalText(totals, measure)} Choose a campaign to see the paths behind it.`);
    shiftCard.setTitle(`Shift against ${MODELS[state.model].toLowerCase()}`);
    shiftCard.setNote('To the right: the model gives this campaign more than the base model does.');
    put(creditHolder, table);
    put(shiftHolder, shift);
    const sort = getState().sort || `-${state.model}`;
    table.update({rows, sort, totals: {isTotal: true, values: totals}});
    shift.update(rows, sort);
    const ignored = ignoredFilters(TABLE, state);
    note.hidden = !ignored.length;
    setText(note, `Attribution is kept by campaign: the filter on ${ignored.join(', ')} does not apply here.`);
  }

  return {
    el: h('div', {class: 'view'}, note, creditCard.el, shiftCard.el), render,
    queries: page => ({rows: currentQuery(TABLE, page, GROUP)}), isEmpty: ({data}) => data.rows.rows.size === 0,
  };
}
