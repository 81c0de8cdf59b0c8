// Numbers and times for people: currency, compact counts, percents, clocks; "–" where there is no value.

export const NONE = '–';
const LOCALE = navigator.language?.startsWith('en') ? navigator.language : 'en-GB';
const MICROS = 1_000_000;
const cache = new Map();
const settings = {currency: 'USD', zone: 'UTC'};

function formatter(kind, options) {
  const key = kind.name + JSON.stringify(options);
  if (!cache.has(key)) cache.set(key, new kind(LOCALE, options));
  return cache.get(key);
}

const number = (value, options) => formatter(Intl.NumberFormat, options).format(value);
const absent = value => value === null || value === undefined || Number.isNaN(value);

/** Sets the account currency; an unknown code falls back to plain numbers with the code. */
export function setCurrency(code) {
  settings.currency = code;
  try {
    number(0, {style: 'currency', currency: code});
  } catch {
    settings.currency = null;
  }
}

/** Switches between 'utc' and 'local' times. */
export function setZone(zone) {
  settings.zone = zone === 'local' ? undefined : 'UTC';
}

/** A message as a sentence: the server writes them in lower case and without a full stop. */
export const sentence = text => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;

/** What to write behind a time: "UTC" or nothing. */
export const zoneName = () => (settings.zone ? 'UTC' : 'local');

function currency(units, options) {
  if (settings.currency === null) return number(units, options);
  return number(units, {style: 'currency', currency: settings.currency, currencyDisplay: 'narrowSymbol', ...options});
}

/** Money given in currency units, with digits that suit its size. */
export function price(units) {
  if (absent(units)) return NONE;
  const size = Math.abs(units);
  if (size >= 10_000) return currency(units, {notation: 'compact', minimumFractionDigits: 0, maximumFractionDigits: size < 100_000 ? 2 : 1});
  const digits = size === 0 || size >= 1 ? 2 : size >= 0.01 ? 3 : 5;
  return currency(units, {minimumFractionDigits: digits, maximumFractionDigits: digits});
}

/** Money given in currency units, to the last micro. */
export const priceExact = units => (absent(units) ? NONE : currency(units, {minimumFractionDigits: 2, maximumFractionDigits: 6}));

/** Money given in micros, compact. */
export const money = micros => (absent(micros) ? NONE : price(micros / MICROS));

/** Money given in micros, to the last micro. */
export const moneyExact = micros => (absent(micros) ? NONE : priceExact(micros / MICROS));

/** A count, compact from ten thousand on. */
export function count(value) {
  if (absent(value)) return NONE;
  if (Math.abs(value) < 10_000) return number(value, {maximumFractionDigits: 0});
  return number(value, {notation: 'compact', maximumFractionDigits: Math.abs(value) < 100_000 ? 2 : 1});
}

/** A count with every digit. */
export const countExact = value => (absent(value) ? NONE : number(value, {maximumFractionDigits: 6}));

/** A decimal with a fixed number of digits. */
export const decimal = (value, digits = 2) => (absent(value) ? NONE : number(value, {minimumFractionDigits: digits, maximumFractionDigits: digits}));

/** Credit in micros of a conversion: 1,000,000 = 1. */
export function credit(micros) {
  if (absent(micros)) return NONE;
  const value = micros / MICROS;
  return number(value, {maximumFractionDigits: Math.abs(value) >= 1000 ? 0 : 2});
}

/** A ratio as a percent with sensible digits. */
export function percent(ratio) {
  if (absent(ratio)) return NONE;
  const size = Math.abs(ratio) * 100;
  const digits = size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2;
  return number(ratio, {style: 'percent', minimumFractionDigits: digits, maximumFractionDigits: digits});
}

/** A percent with up to six digits. */
export const percentExact = ratio => (absent(ratio) ? NONE : number(ratio, {style: 'percent', maximumFractionDigits: 6}));

/** A multiple such as a return on ad spend: "3.42×". */
export const times = ratio => (absent(ratio) ? NONE : `${decimal(ratio)}×`);

/** Bytes in binary units. */
export function bytes(value) {
  if (absent(value)) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = value < 1 ? 0 : Math.min(4, Math.floor(Math.log2(value) / 10));
  return `${number(value / 1024 ** power, {maximumFractionDigits: power && value / 1024 ** power < 100 ? 1 : 0})} ${units[power]}`;
}

/** A duration in words short enough for a tile: "12 ms", "3.4 s", "5 min", "2 h", "3 d". */
export function duration(ms) {
  if (absent(ms)) return NONE;
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 90_000) return `${number(ms / 1000, {maximumFractionDigits: 1})} s`;
  if (size < 5_400_000) return `${Math.round(ms / 60_000)} min`;
  if (size < 172_800_000) return `${number(ms / 3_600_000, {maximumFractionDigits: 1})} h`;
  return `${number(ms / 86_400_000, {maximumFractionDigits: 1})} d`;
}

const date = (ms, options) => formatter(Intl.DateTimeFormat, {timeZone: settings.zone, hourCycle: 'h23', ...options}).format(ms);

/** "12:03:04" */
export const clock = ms => (absent(ms) ? NONE : date(ms, {hour: '2-digit', minute: '2-digit', second: '2-digit'}));

/** "12:03" */
export const hourMinute = ms => date(ms, {hour: '2-digit', minute: '2-digit'});

/** "28 Nov" */
export const dayMonth = ms => date(ms, {day: 'numeric', month: 'short'});

/** "28 Nov, 12:03" */
export const dateTime = ms => (absent(ms) ? NONE : date(ms, {day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit'}));

/** "28 Nov 2026, 12:03:04" */
export const dateTimeExact = ms => (absent(ms) ? NONE : date(ms, {day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit'}));

/** The name of a window of `step` that starts at `ms`: "28 Nov, 12:03", or the day alone. Days are UTC days whatever the zone. */
export function windowName(ms, step) {
  if (step === 'second') return `${clock(ms)} ${zoneName()}`;
  if (step === 'day') return formatter(Intl.DateTimeFormat, {timeZone: 'UTC', weekday: 'short', day: 'numeric', month: 'short'}).format(ms);
  return `${dateTime(ms)} ${zoneName()}`;
}

/** How far the shown zone is ahead of UTC at a moment, so that axis ticks fall on round local times. */
export const zoneOffset = ms => (settings.zone ? 0 : -new Date(ms).getTimezoneOffset() * 60_000);
