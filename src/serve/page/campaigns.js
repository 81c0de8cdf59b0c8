// The table of all campaigns with every figure and how it moved.

import {h} from './dom.js';
import {countExact} from './format.js';
import {COLUMN_LABELS, advertiserOf, nameOf} from './names.js';
import {metricColumn, nameColumn} from './performance_columns.js';
import {currentParameters, currentQuery, downloads, isComparable, performanceTable, previousQuery} from './queries.js';
import {getState, hrefFor, navigate, onlyFilter} from './state.js';
import {rowOf} from './store.js';
import {createTable} from './table.js';
import {card, exportLinks} from './widgets.js';

const GROUP = {step: 'all', group_by: 'campaign_id'};
const FIGURES = ['spend', 'impressions', 'clicks', 'conversions', 'revenue', 'roas', 'cpa', 'ctr', 'cvr', 'cpc', 'cpm', 'win_rate'];

const toPaths = row => ({view: 'paths', sort: '', page: 0, filters: onlyFilter('campaign_id', row.campaign_id)});
const PATHS = {href: row => hrefFor(toPaths(row)), onClick: row => navigate(toPaths(row)), hint: 'Show the conversion paths behind this number'};

const focusOn = row => ({view: 'overview', sort: '', filters: onlyFilter('campaign_id', row.campaign_id)});

/** Makes the view. */
export function createCampaigns() {
  let earlier = null;
  const before = row => (earlier === null ? null : row.isTotal ? earlier.sums : rowOf(earlier, row.campaign_id) ?? {});
  const columns = [
    nameColumn({
      id: 'campaign_id', label: COLUMN_LABELS.campaign_id, name: row => (row.isTotal ? 'All campaigns' : nameOf('campaign_id', row.campaign_id)),
      detail: row => nameOf('advertiser_id', advertiserOf(row.campaign_id)), hint: row => `${row.campaign_id}: open its overview`,
      href: row => hrefFor(focusOn(row)), onClick: row => navigate(focusOn(row)),
    }),
    ...FIGURES.map(id => metricColumn(id, {bar: id === 'spend' || id === 'revenue', before, link: id === 'conversions' ? PATHS : undefined})),
  ];
  const table = createTable({caption: 'Campaigns', columns, keyOf: row => (row.isTotal ? 'totals' : row.campaign_id), onSort: sort => navigate({sort}, {replace: true}), testid: 'campaigns-table'});
  const exports = exportLinks();
  const search = h('input', {type: 'search', class: 'search', placeholder: 'Find a campaign', 'aria-label': 'Find a campaign in this table', autocomplete: 'off', on: {input: () => last && render(last)}});
  const box = card({title: 'All campaigns', tools: [search, exports.el]}, table.el);
  let last = null;

  function render(page) {
    last = page;
    const table_ = performanceTable(page.state);
    earlier = page.state.compare ? page.data.before ?? null : null;
    const wanted = search.value.trim().toLowerCase();
    const rows = [...page.data.campaigns.rows.values()].filter(row => !wanted || `${row.campaign_id}\n${nameOf('campaign_id', row.campaign_id)}`.toLowerCase().includes(wanted));
    box.setNote(`${countExact(page.data.campaigns.total)} with traffic in this range. Choose one to open its overview.`);
    exports.update(downloads(table_, currentParameters(table_, page, {...GROUP, sort: '-spend_micros'})));
    table.update({rows, sort: getState().sort || '-spend_micros', totals: wanted ? null : {...page.data.campaigns.sums, isTotal: true}});
  }

  function queries(page) {
    const table_ = performanceTable(page.state);
    const wanted = {campaigns: currentQuery(table_, page, GROUP)};
    if (page.state.compare && isComparable(table_, page)) wanted.before = previousQuery(table_, page, GROUP);
    return wanted;
  }

  return {el: h('div', {class: 'view'}, box.el), queries, render, isEmpty: ({data}) => data.campaigns.rows.size === 0};
}
