// The state of the campaign manager in the address: view, range, filters, sort, model, metric; back and forward work.

/** The columns one can filter by, in the order of the filter bar. */
export const FILTERS = ['advertiser_id', 'campaign_id', 'country', 'device', 'site', 'creative_id'];
/** Filters that only the hourly table knows. */
export const FINE_FILTERS = ['country', 'device', 'site', 'creative_id'];
export const VIEWS = ['overview', 'campaigns', 'breakdown', 'attribution', 'reach', 'paths'];
export const MODELS = {last_touch: 'Last touch', first_touch: 'First touch', linear: 'Linear', position_based: 'Position based', time_decay: 'Time decay'};

const DEFAULTS = {
  view: 'overview', range: '24h', since: null, until: null, compare: true, step: '', metric: 'spend', split: false,
  sort: '', by: 'campaign_id', model: 'last_touch', measure: 'conversions', mover: 'revenue', reach: 'users', page: 0, conversion: '',
};
const listeners = new Set();
let current = read(location.search);

function typed(fallback, text, name) {
  if (name === 'since' || name === 'until') return /^\d{1,15}$/.test(text) ? Number(text) : null;
  if (typeof fallback === 'boolean') return text === '1';
  if (typeof fallback === 'number') return Number.isSafeInteger(Number(text)) ? Math.max(0, Number(text)) : fallback;
  return text;
}

/** Reads a state from a query string; what is unknown falls back to the default. */
export function read(search) {
  const params = new URLSearchParams(search);
  const state = Object.fromEntries(Object.entries(DEFAULTS).map(([name, fallback]) =>
    [name, params.has(name) ? typed(fallback, params.get(name), name) : fallback]));
  if (!VIEWS.includes(state.view)) state.view = 'overview';
  if (!(state.model in MODELS)) state.model = DEFAULTS.model;
  if (state.range === 'custom' && !(state.until > state.since)) state.range = DEFAULTS.range;
  state.filters = Object.fromEntries(FILTERS.map(name => [name, params.getAll(name)]));
  return state;
}

/** Writes a state as a query string, without what is the default. */
export function write(state) {
  const params = new URLSearchParams({view: state.view});
  for (const [name, fallback] of Object.entries(DEFAULTS)) {
    const value = state[name];
    if (name !== 'view' && value !== fallback && value !== null) params.set(name, typeof value === 'boolean' ? (value ? '1' : '0') : value);
  }
  for (const name of FILTERS) state.filters[name].forEach(value => params.append(name, value));
  return '?' + params;
}

/** The state now. */
export const getState = () => current;

/** The address of the state with changes applied, for links. */
export const hrefFor = changes => '/' + write({...current, ...changes});

/** Changes the state; `replace` makes no new entry in the history. */
export function navigate(changes, {replace = false} = {}) {
  const search = write({...current, ...changes});
  if (search === location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', '/' + search);
  settle();
}

/** Adds or removes one value of a filter. */
export function withFilter(name, value, on = true) {
  const rest = current.filters[name].filter(one => one !== value);
  return {...current.filters, [name]: on ? [...rest, value] : rest};
}

/** The filters with one column set to exactly one value. */
export const onlyFilter = (name, value) => ({...current.filters, [name]: [value]});

/** Calls `listener(state)` after each change. */
export function onState(listener) {
  listeners.add(listener);
}

function settle() {
  current = read(location.search);
  listeners.forEach(listener => listener(current));
}

addEventListener('popstate', settle);
