// The filter bar: one button per dimension with a searchable list of values; a button says what is chosen.

import {getJson, tableUrl} from './api.js';
import {h, patchKeyed, setAttr, setText} from './dom.js';
import {count} from './format.js';
import {COLUMN_LABELS, advertiserOf, knownIds, nameOf, nameOfMany} from './names.js';
import {createPopover} from './popover.js';
import {HOUR, widen} from './range.js';
import {FILTERS, getState, navigate, withFilter} from './state.js';

const MOST = 300;

/** Makes the filter bar; `range()` tells the absolute range the lists are taken from. */
export function createFilters(range) {
  const pickers = FILTERS.map(column => createPicker(column, range));
  const clear = h('button', {class: 'button quiet small', type: 'button', text: 'Clear filters', on: {click: clearFilters}});
  const el = h('div', {class: 'filters', role: 'group', 'aria-label': 'Filters'}, pickers.map(one => [one.button, one.panel]).flat(), clear);
  return {el, update(state) {
    pickers.forEach(one => one.update(state));
    clear.hidden = FILTERS.every(column => !state.filters[column].length);
  }};
}

/** Removes every filter. */
export const clearFilters = () => navigate({filters: Object.fromEntries(FILTERS.map(column => [column, []])), page: 0});

function createPicker(column, range) {
  const title = COLUMN_LABELS[column];
  const search = h('input', {type: 'search', class: 'search', placeholder: `Find or type a ${title.toLowerCase()}`, 'aria-label': `Find a ${title.toLowerCase()}`, autocomplete: 'off', spellcheck: 'false'});
  const list = h('ul', {class: 'options'});
  const note = h('p', {class: 'muted small'});
  const {button, panel, close} = createPopover({id: `filter-${column}`, label: `Filter by ${title.toLowerCase()}`, className: 'picker', onOpen: load});
  const name = h('span', {class: 'filter-name', text: title}), value = h('span', {class: 'filter-value'});
  button.classList.add('filter');
  button.dataset.testid = `filter-${column}`;
  button.append(name, value);
  panel.append(search, list, note);
  let options = [];
  search.addEventListener('input', show);
  search.addEventListener('keydown', event => {
    // In a search field Esc only clears the text; here it closes the list, as everywhere.
    if (event.key === 'Escape') close();
    if (event.key !== 'Enter') return;
    const first = list.querySelector('input');
    if (first) first.click();
  });

  async function load() {
    search.value = '';
    setText(note, 'Loading …');
    options = merge(column, [], getState());
    show();
    try {
      options = merge(column, await volumes(column, range()), getState());
      setText(note, options.length >= MOST ? `The ${MOST} largest; type an exact id for others.` : '');
    } catch (cause) {
      setText(note, `The list could not be loaded: ${cause.message}.`);
    }
    show();
  }

  function show() {
    const state = getState();
    const wanted = search.value.trim().toLowerCase();
    const shown = options.filter(one => !wanted || one.id.toLowerCase().includes(wanted) || nameOf(column, one.id).toLowerCase().includes(wanted)).slice(0, MOST);
    if (wanted && !shown.some(one => one.id === search.value.trim())) shown.push({id: search.value.trim(), typed: true});
    patchKeyed(list, shown, one => `${one.id}\n${one.typed ?? ''}`, one => option(column, one), (node, one) => {
      node.querySelector('input').checked = state.filters[column].includes(one.id);
      setText(node.querySelector('.option-count'), one.typed ? '' : one.impressions === undefined ? '' : count(one.impressions));
    });
  }

  return {button, panel, update(state) {
    const chosen = state.filters[column];
    setText(value, chosen.length ? nameOfMany(column, chosen) : 'All');
    button.classList.toggle('on', chosen.length > 0);
    setAttr(button, 'title', chosen.length ? chosen.map(id => nameOf(column, id)).join(', ') : null);
    if (panel.matches(':popover-open')) show();
  }};
}

function option(column, one) {
  const label = one.typed ? `Exactly “${one.id}”` : nameOf(column, one.id);
  const box = h('input', {type: 'checkbox', on: {change: event => navigate({filters: withFilter(column, one.id, event.target.checked), page: 0})}});
  return h('li', {}, h('label', {class: 'option', title: one.id}, box, h('span', {class: 'option-name', text: label}), h('span', {class: 'option-count', title: 'Impressions in the range'})));
}

async function volumes(column, range) {
  const window = range ? widen(range, HOUR) : {};
  const table = column === 'campaign_id' || column === 'advertiser_id' ? 'performance_minute' : 'performance_hour';
  const key = column === 'advertiser_id' ? 'campaign_id' : column;
  const {rows} = await getJson(tableUrl(table, {...window, step: 'all', group_by: key, sort: '-impressions', limit: MOST}));
  const sums = new Map();
  for (const row of rows) {
    const id = column === 'advertiser_id' ? advertiserOf(row.campaign_id) : row[column];
    sums.set(id, (sums.get(id) ?? 0) + row.impressions);
  }
  return [...sums].map(([id, impressions]) => ({id, impressions}));
}

function merge(column, seen, state) {
  const ids = new Set(seen.map(one => one.id));
  const extra = column === 'device' ? ['mobile', 'desktop', 'tablet', 'ctv', 'other'] : knownIds(column);
  const rest = [...new Set([...state.filters[column], ...extra])].filter(id => !ids.has(id));
  return [...seen, ...rest.map(id => ({id}))];
}
