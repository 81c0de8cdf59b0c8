// The conversion paths behind a number: each conversion as a chain of touches with its credit under every model.

import {getJson, tableUrl} from './api.js';
import {h, patchKeyed, setText, setValue} from './dom.js';
import {countExact, credit, dateTime, dateTimeExact, money, moneyExact, percent, zoneName} from './format.js';
import {nameOf} from './names.js';
import {currentParameters, currentQuery, downloads, ignoredFilters} from './queries.js';
import {MODELS, getState, hrefFor, navigate, onlyFilter} from './state.js';
import {card, exportLinks, select} from './widgets.js';

const TABLE = 'conversion_paths';
const PAGE = 20, REFRESH_MS = 10_000;

/** What a conversion was worth: the revenue of its touches under any one model. */
export const valueOfPath = path => path.touches.reduce((sum, touch) => sum + (touch.revenue_micros?.last_touch ?? 0), 0);

/** Makes the view; it asks for paths itself, because the stream does not carry them. */
export function createPaths() {
  const model = select('Highlight', MODELS, id => navigate({model: id}));
  const search = h('input', {type: 'search', class: 'search', placeholder: 'Conversion id', 'aria-label': 'Find a conversion by its exact id', autocomplete: 'off'});
  const form = h('form', {class: 'inline-form', role: 'search'}, search, h('button', {class: 'button', type: 'submit', text: 'Find'}));
  const exports = exportLinks(), note = h('p', {class: 'note', hidden: true}), problem = h('p', {class: 'field-error', role: 'alert'});
  const list = h('ol', {class: 'paths', data: {testid: 'paths'}}), none = h('p', {class: 'empty', hidden: true});
  const newer = h('button', {class: 'button', type: 'button', text: 'Newer', on: {click: () => navigate({page: getState().page - 1})}});
  const older = h('button', {class: 'button', type: 'button', text: 'Older', on: {click: () => navigate({page: getState().page + 1})}});
  const where = h('span', {class: 'muted'});
  const box = card({title: 'Conversion paths', tools: [form, model.el, exports.el]}, problem, list, none, h('div', {class: 'pager'}, newer, where, older));
  let asked = {key: '', at: -Infinity, control: null}, answer = null;

  form.addEventListener('submit', event => {
    event.preventDefault();
    navigate({conversion: search.value.trim(), page: 0});
  });

  const parametersOf = page => currentParameters(TABLE, page, {conversion_id: page.state.conversion || null, sort: '-time'});

  async function load(page) {
    const wanted = parametersOf(page), key = JSON.stringify([wanted, page.state.page]);
    const fresh = performance.now() - asked.at < REFRESH_MS;
    if (key === asked.key && (fresh || page.state.page > 0)) return;
    asked.control?.abort();
    const control = new AbortController();
    asked = {key, at: performance.now(), control};
    try {
      answer = await getJson(tableUrl(TABLE, {...wanted, limit: PAGE, offset: page.state.page * PAGE}), control.signal);
      setText(problem, '');
    } catch (cause) {
      if (cause.name === 'AbortError') return;
      setText(problem, `The paths could not be loaded: ${cause.message}. Trying again in ${REFRESH_MS / 1000} s.`);
    }
    draw(page.state);
  }

  function draw(state) {
    if (!answer) return;
    const chosen = getState().model, offset = state.page * PAGE;
    patchKeyed(list, answer.rows, path => path.conversion_id, createPath, (node, path) => fillPath(node, path, chosen));
    none.hidden = answer.rows.length > 0;
    setText(none, state.conversion ? `No conversion “${state.conversion}” in this range. Check the id, or choose a longer range.` : 'No attributed conversions in this range. Choose a longer range or fewer filters.');
    setText(where, answer.rows.length ? `${countExact(offset + 1)}–${countExact(offset + answer.rows.length)} of ${countExact(answer.total)}` : '');
    newer.disabled = state.page === 0;
    older.disabled = offset + answer.rows.length >= answer.total;
    box.setNote(`${countExact(answer.total)} conversions, newest first. Each chain runs from the first touch to the last; credits of a model sum to one conversion.`);
  }

  function render(page) {
    const ignored = ignoredFilters(TABLE, page.state);
    model.update(page.state.model);
    if (document.activeElement !== search) search.value = page.state.conversion;
    exports.update(downloads(TABLE, parametersOf(page)));
    note.hidden = !ignored.length;
    setText(note, `Paths are found by campaign and advertiser: the filter on ${ignored.join(', ')} does not apply here.`);
    draw(page.state);
    load(page);
  }

  return {
    el: h('div', {class: 'view'}, note, box.el), render,
    queries: page => ({sums: currentQuery('performance_minute', page, {step: 'all', group_by: ''})}), isEmpty: () => false,
  };
}

function createPath(path) {
  const head = h('div', {class: 'path-head'}, h('strong', {class: 'path-value'}), h('span', {class: 'path-time muted'}), h('code', {class: 'path-id', text: path.conversion_id, title: path.conversion_id}), h('span', {class: 'muted path-count'}));
  const chain = h('ol', {class: 'chain', tabindex: 0, 'aria-label': `Touches of conversion ${path.conversion_id}`});
  return h('li', {class: 'path', data: {key: path.conversion_id}}, head, chain);
}

function fillPath(node, path, chosen) {
  const [head, chain] = node.children;
  const [value, time, , touches] = head.children;
  const worth = valueOfPath(path), n = path.touches.length;
  setText(value, money(worth));
  setValue(value, worth);
  value.title = moneyExact(worth);
  setText(time, `${dateTime(path.time)} ${zoneName()}`);
  time.title = dateTimeExact(path.time);
  setText(touches, n === 1 ? '1 touch' : `${n} touches`);
  patchKeyed(chain, path.touches, touch => touch.touch_id, createTouch, (item, touch, i) => fillTouch(item, touch, chosen, i, n));
}

function createTouch(touch) {
  const go = event => {
    event.preventDefault();
    navigate({filters: onlyFilter('campaign_id', touch.campaign_id), page: 0});
  };
  const name = nameOf('campaign_id', touch.campaign_id);
  return h('li', {class: 'touch', data: {key: touch.touch_id}},
    h('div', {class: 'touch-head'}, h('span', {class: 'touch-place'}), h('a', {class: 'touch-name', href: hrefFor({filters: onlyFilter('campaign_id', touch.campaign_id)}), text: name, title: `${name} (touch ${touch.touch_id}): only paths with this campaign`, on: {click: go}})),
    h('dl', {class: 'credits'}));
}

function fillTouch(item, touch, chosen, i, n) {
  setText(item.querySelector('.touch-place'), String(i + 1));
  item.classList.toggle('last', i === n - 1);
  patchKeyed(item.querySelector('.credits'), Object.keys(MODELS), id => id,
    id => h('div', {data: {column: id}}, h('dt', {text: MODELS[id]}), h('dd', {}, h('span', {class: 'credit-bar', 'aria-hidden': 'true'}, h('span')), h('span', {class: 'credit-share'}))),
    (row, id) => {
      const share = touch.credit_micros?.[id] ?? 0;
      row.classList.toggle('on', id === chosen);
      row.title = `${MODELS[id]}: ${credit(share)} conversions, ${moneyExact(touch.revenue_micros?.[id])}`;
      setValue(row, share);
      const [bar, text] = row.lastChild.children;
      bar.firstChild.style.width = `${share / 10_000}%`;
      setText(text, share === 0 ? '0%' : percent(share / 1e6));
    });
}
