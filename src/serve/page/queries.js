// Which tables and parameters answer what a view asks, given the page's range and filters.

import {query, tableUrl} from './api.js';
import {COLUMN_LABELS} from './names.js';
import {DAY, HOUR, MINUTE, previousRange, widen} from './range.js';
import {FILTERS, FINE_FILTERS} from './state.js';

const LEAST_HOURS = 6;
const KEYS = {
  performance_minute: ['campaign_id'], performance_hour: ['campaign_id', ...FINE_FILTERS],
  attribution_hour: ['campaign_id', 'model'], reach_day: ['campaign_id'], supply_hour: ['site', 'country', 'device'], conversion_paths: ['campaign_id'],
};
const WINDOWS = {performance_minute: MINUTE, performance_hour: HOUR, attribution_hour: HOUR, reach_day: DAY, supply_hour: HOUR, conversion_paths: MINUTE};

const takes = (table, column) => (column === 'advertiser_id' && KEYS[table].includes('campaign_id')) || KEYS[table].includes(column);

/** The size of a table's windows. */
export const windowOf = table => WINDOWS[table];

/** The performance table that knows all filters (and the group column) at the finest window. */
export function performanceTable(state, groupBy = 'campaign_id') {
  const fine = FINE_FILTERS.some(column => state.filters[column].length > 0) || FINE_FILTERS.includes(groupBy);
  return fine ? 'performance_hour' : 'performance_minute';
}

/** The page's filters as parameters of a table; those the table does not know are left out. */
export const filtersFor = (table, state) =>
  Object.fromEntries(FILTERS.filter(column => takes(table, column)).map(column => [column, state.filters[column]]));

/** The names of filters that are set but that a table does not know. */
export const ignoredFilters = (table, state) =>
  FILTERS.filter(column => !takes(table, column) && state.filters[column].length).map(column => COLUMN_LABELS[column].toLowerCase());

/** The parameters of a table for the page's range and filters, widened to whole windows. */
export const currentParameters = (table, page, extra) => ({...widen(page.range, WINDOWS[table]), ...filtersFor(table, page.state), ...extra});

/** The query of the stream for the page's range. */
export const currentQuery = (table, page, extra) => query(table, currentParameters(table, page, extra));

/** The query for the range before. */
export const previousQuery = (table, page, extra) => query(table, {
  ...previousRange(widen(page.range, WINDOWS[table]), page.watermark, WINDOWS[table]), ...filtersFor(table, page.state), ...extra,
});

/** Whether the range before can be cut finely enough to compare: hours can't be cut, so short ranges of hourly tables are not. */
export const isComparable = (table, page) =>
  WINDOWS[table] === MINUTE || page.range.until - page.range.since >= LEAST_HOURS * HOUR;

/** Addresses to download what a query shows. */
export const downloads = (table, values) =>
  ['csv', 'parquet'].map(format => ({format, href: tableUrl(table, {...values, limit: 10_000, format})}));
