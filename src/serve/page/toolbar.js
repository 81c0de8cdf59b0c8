// The range picker, the compare switch and the words that say which range is shown.

import {h, setAttr, setText} from './dom.js';
import {dateTime, windowName, zoneName, zoneOffset} from './format.js';
import {createPopover} from './popover.js';
import {RANGES} from './range.js';
import {navigate} from './state.js';

const COMPARED = ['overview', 'campaigns', 'breakdown'];

/** Makes the toolbar; `range()` tells the absolute range shown now, the start of a custom one. */
export function createToolbar(range) {
  const buttons = Object.entries(RANGES).map(([id, one]) => h('button', {class: 'segment', type: 'button', title: one.label, text: one.short, data: {range: id}, on: {click: () => navigate({range: id, since: null, until: null, page: 0})}}));
  const custom = createCustom(range);
  const compare = h('input', {type: 'checkbox', role: 'switch', id: 'compare', on: {change: event => navigate({compare: event.target.checked})}});
  const segments = h('div', {class: 'segments', role: 'group', 'aria-label': 'Range'}, buttons, custom.button);
  const comparison = h('label', {class: 'switch', for: 'compare', title: 'Compare with the range before'}, compare, h('span', {text: 'Compare'}));
  const el = h('div', {class: 'toolbar'}, segments, custom.panel, comparison);
  return {el, update(state) {
    buttons.forEach(one => setAttr(one, 'aria-pressed', one.dataset.range === state.range));
    setAttr(custom.button, 'aria-pressed', state.range === 'custom');
    compare.checked = state.compare;
    comparison.hidden = !COMPARED.includes(state.view);
  }};
}

// What <input type=datetime-local> wants: a time without a zone, here in the zone that the page shows.
const toField = ms => new Date(ms + zoneOffset(ms)).toISOString().slice(0, 16);
const fromField = text => {
  const asUtc = Date.parse(`${text}Z`);
  return asUtc - zoneOffset(asUtc);
};

function createCustom(range) {
  const {button, panel, close} = createPopover({id: 'custom-range', label: 'Custom range', className: 'custom-range', onOpen: open});
  button.className = 'segment';
  button.textContent = 'Custom';
  const since = h('input', {type: 'datetime-local', id: 'since', required: true});
  const until = h('input', {type: 'datetime-local', id: 'until', required: true});
  const zone = h('p', {class: 'muted small'}), error = h('p', {class: 'field-error', role: 'alert'});
  const form = h('form', {}, h('label', {for: 'since', text: 'From'}), since, h('label', {for: 'until', text: 'To (not included)'}), until, zone, error, h('button', {class: 'button primary', type: 'submit', text: 'Show this range'}));
  panel.append(form);
  form.addEventListener('submit', event => {
    event.preventDefault();
    const [from, to] = [fromField(since.value), fromField(until.value)];
    if (!(to > from)) return setText(error, '“To” must be later than “From”.');
    close();
    return navigate({range: 'custom', since: from, until: to, page: 0});
  });

  function open() {
    const now = range();
    setText(error, '');
    setText(zone, `Times are in ${zoneName() === 'UTC' ? 'UTC' : 'local time'}.`);
    if (!now) return;
    since.value = toField(now.since);
    until.value = toField(now.until);
  }

  return {button, panel};
}

/** Says a range in words: "27 Nov, 12:00 – 28 Nov, 12:00 UTC". */
export function rangeText(range, step) {
  if (step === 'day') return `${windowName(range.since, 'day')} – ${windowName(range.until - 1, 'day')} (UTC days)`;
  return `${dateTime(range.since)} – ${dateTime(range.until)} ${zoneName()}`;
}
