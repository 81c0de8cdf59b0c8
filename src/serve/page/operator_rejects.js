// Rejects and orphans: how many by feed and reason, over the last hour and since the start, with samples.

import {getJson, parameters} from './api.js';
import {createChart} from './chart.js';
import {fill, h, setAttr, setText} from './dom.js';
import {count, countExact, dateTimeExact, zoneName} from './format.js';
import {localTable, numberColumn, textColumn} from './local_table.js';
import {windowStarts} from './range.js';
import {card} from './widgets.js';

const PREFIX = 'rejected_', SAMPLES = 50;
const words = reason => reason.replaceAll('_', ' ');

const rejectedIn = row => Object.entries(row).reduce((sum, [name, value]) => (name.startsWith(PREFIX) ? sum + value : sum), 0);

/** One row per feed and reason: what the stream has of the last hour, and the count since the start. */
export function rejectRows(quality, sinceStart) {
  const rows = new Map();
  const at = (feed, reason) => rows.get(`${feed} ${reason}`) ?? rows.set(`${feed} ${reason}`, {feed, reason, hour: 0, count: 0}).get(`${feed} ${reason}`);
  for (const row of quality) {
    for (const [name, value] of Object.entries(row)) if (name.startsWith(PREFIX) && value) at(row.feed, name.slice(PREFIX.length)).hour += value;
  }
  for (const one of sinceStart) at(one.feed, one.reason).count = one.count;
  return [...rows.values()];
}

/** Makes the view. */
export function createRejects() {
  const chart = createChart({label: 'Rejects and orphans by minute', testid: 'quality', height: 220});
  const samples = createSamples();
  const open = {id: 'samples', label: 'Samples', sortable: false, value: () => null, fill(cell, row) {
    if (!cell.firstChild) cell.append(h('button', {class: 'button small', type: 'button', text: 'Show', 'aria-label': `Show samples of ${row.feed}, ${words(row.reason)}`, on: {click: () => samples.open(row)}}));
  }};
  const table = localTable({caption: 'Rejects by feed and reason', testid: 'rejects-table', keyOf: row => `${row.feed} ${row.reason}`, empty: 'Nothing was rejected. Records that break a rule appear here with their reason.', columns: [
    textColumn('reason', 'Reason', row => words(row.reason)), textColumn('feed', 'Feed'),
    numberColumn('hour', 'Last hour', count, {exact: countExact, bar: true}), numberColumn('count', 'Since the start', count, {exact: countExact, bar: true}), open,
  ]}, '-hour');
  const el = h('div', {class: 'view'}, card({title: 'Rejects and orphans by minute', note: 'Orphans are clicks that wait for their impression: they count as soon as it comes.'}, chart.el).el,
    card({title: 'Rejects by reason', note: 'received = accepted + duplicate + rejected, per feed, always'}, table.el).el);

  function render({now, quality, range, watermark}) {
    const rows = [...(quality?.rows.values() ?? [])];
    table.update(rejectRows(rows, now.rejects));
    if (!range) return;
    const times = windowStarts(range, 'minute', watermark);
    const by = (feed, value) => {
      const index = new Map(rows.filter(row => row.feed === feed).map(row => [row.time, value(row)]));
      return times.map(time => index.get(time) ?? 0);
    };
    const feeds = now.feeds.map(one => one.feed);
    chart.update({times, step: 'minute', watermark, text: count, exact: countExact, series: [
      ...feeds.map((feed, i) => ({id: feed, label: `Rejected ${feed}`, tone: i, values: by(feed, rejectedIn)})),
      {id: 'orphans', label: 'Orphans', tone: 3, dashed: true, values: by('events', row => row.orphans)},
    ]});
  }

  return {el, render};
}

function createSamples() {
  const title = h('h2', {id: 'samples-title'}), body = h('div', {class: 'table-scroll', tabindex: 0, role: 'region', 'aria-label': 'Samples'});
  const dialog = h('dialog', {class: 'dialog wide', 'aria-labelledby': 'samples-title'},
    h('div', {class: 'dialog-head'}, title, h('button', {class: 'button', type: 'button', text: 'Close', on: {click: () => dialog.close()}})), body);
  document.body.append(dialog);

  async function open({feed, reason}) {
    setText(title, `Rejected: ${words(reason)}, ${feed}`);
    fill(body, h('p', {class: 'empty', text: 'Loading …'}));
    setAttr(body, 'aria-busy', 'true');
    if (!dialog.open) dialog.showModal();
    try {
      const {rows} = await getJson(`/api/v1/rejects?${parameters({feed, reason, limit: SAMPLES})}`);
      fill(body, rows.length ? sampleTable(rows) : h('p', {class: 'empty', text: 'No sample of this reason is kept any more.'}));
    } catch (cause) {
      fill(body, h('p', {class: 'field-error', role: 'alert', text: `The samples could not be loaded: ${cause.message}.` }), h('button', {class: 'button', type: 'button', text: 'Try again', on: {click: () => open({feed, reason})}}));
    }
    setAttr(body, 'aria-busy', null);
  }

  return {open};
}

function sampleTable(rows) {
  const head = ['When', 'Where', 'Record', 'What to do'].map(text => h('th', {scope: 'col', text}));
  return h('table', {class: 'table'}, h('caption', {class: 'visually-hidden', text: 'Samples of rejected records, newest first'}), h('thead', {}, h('tr', {}, head)), h('tbody', {}, rows.map(row =>
    h('tr', {}, h('th', {scope: 'row', class: 'num', text: row.time === null ? '–' : `${dateTimeExact(row.time)} ${zoneName()}`}),
      h('td', {}, h('code', {text: `${row.origin} ${row.place} @ ${row.position}`})), h('td', {}, h('code', {class: 'payload', tabindex: 0, text: row.payload})), h('td', {text: row.hint ?? ''})))));
}
