// Names of campaigns, advertisers, creatives and sites; an id stands for itself where there is no name.

import {getJson} from './api.js';
import {countExact} from './format.js';

const KINDS = {campaign_id: 'campaign', advertiser_id: 'advertiser', creative_id: 'creative', site: 'site'};
const REFRESH_MS = 300_000;
const tables = Object.fromEntries(Object.keys(KINDS).map(column => [column, new Map()]));
const regions = new Intl.DisplayNames('en', {type: 'region', fallback: 'none'});
const DEVICES = {mobile: 'Mobile', desktop: 'Desktop', tablet: 'Tablet', ctv: 'Connected TV', other: 'Other'};
let loadedAt = 0;

/** What a column is called. */
export const COLUMN_LABELS = {
  advertiser_id: 'Advertiser', campaign_id: 'Campaign', country: 'Country', device: 'Device', site: 'Site', creative_id: 'Creative',
};

/** Loads the names if they are older than five minutes; true if they were loaded. */
export async function loadNames() {
  if (performance.now() - loadedAt < REFRESH_MS && loadedAt) return false;
  loadedAt = performance.now();
  await Promise.all(Object.entries(KINDS).map(async ([column, kind]) => {
    const {rows} = await getJson(`/api/v1/dimensions/${kind}`);
    tables[column] = new Map(rows.map(row => [row[column], row]));
  }));
  return true;
}

function region(code) {
  try {
    return regions.of(code) ?? code;
  } catch {
    return code;
  }
}

/** The name of a value of a column, for people. */
export function nameOf(column, value) {
  if (value === '' || value === null || value === undefined) return `No ${COLUMN_LABELS[column]?.toLowerCase() ?? column}`;
  if (column === 'country') return region(value);
  if (column === 'device') return DEVICES[value] ?? value;
  return tables[column]?.get(value)?.name || value;
}

/** The advertiser of a campaign; '' if the campaign is not listed. */
export const advertiserOf = campaign => tables.campaign_id.get(campaign)?.advertiser_id ?? '';

/** The ids that are known of a column. */
export const knownIds = column => [...(tables[column]?.keys() ?? [])];

/** What a filter with these values is called: the name of one, or how many there are. */
export const nameOfMany = (column, values) => (values.length === 1 ? nameOf(column, values[0]) : `${countExact(values.length)} chosen`);
