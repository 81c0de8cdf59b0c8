// Feeds and partitions: what arrives, how fast, how late, and what is not yet read.

import {createChart} from './chart.js';
import {h, setAttr, setText} from './dom.js';
import {clock, count, countExact, duration, percent, percentExact, zoneName} from './format.js';
import {localTable, numberColumn, textColumn} from './local_table.js';
import {card} from './widgets.js';

const feedRows = now => now.feeds.map(one => ({...one, reject_rate: one.received ? one.rejected / one.received : null}));
const partitionName = one => `${one.topic}/${one.partition}`;

const stateColumn = {
  id: 'idle', label: 'State', value: row => (row.idle ? 'idle' : 'reading'),
  fill(cell, row) {
    if (!cell.firstChild) cell.append(h('span'));
    setText(cell.firstChild, row.idle ? 'Idle' : 'Reading');
    setAttr(cell.firstChild, 'class', `badge ${row.idle ? 'idle' : 'good'}`);
    setAttr(cell, 'title', row.idle ? 'Nothing arrives; it no longer holds the watermark back' : null);
  },
};

/** Makes the view. */
export function createFeeds() {
  const chart = createChart({label: 'Records per second by feed', testid: 'rates', height: 200});
  const feeds = localTable({caption: 'Feeds', testid: 'feeds-table', keyOf: row => row.feed, columns: [
    textColumn('feed', 'Feed'), numberColumn('rate', 'Records/s', count, {exact: countExact, bar: true}), numberColumn('received', 'Received', count, {exact: countExact}),
    numberColumn('rejected', 'Rejected', count, {exact: countExact}), numberColumn('reject_rate', 'Reject rate', percent, {exact: percentExact}),
  ]}, 'feed');
  const partitions = localTable({caption: 'Partitions', testid: 'partitions-table', keyOf: partitionName, empty: 'This job reads no partitions.', columns: [
    textColumn('partition', 'Partition', partitionName), stateColumn,
    numberColumn('event_time', 'Event time', value => (value === null ? '–' : `${clock(value)} ${zoneName()}`)),
    numberColumn('event_lag_ms', 'Lag', duration, {bar: true}), numberColumn('behind', 'Not yet read', count, {exact: countExact, bar: true}),
  ]}, 'partition');
  const el = h('div', {class: 'view'}, card({title: 'Records per second', note: 'Since this page was opened'}, chart.el).el,
    card({title: 'Feeds'}, feeds.el).el, card({title: 'Partitions', note: 'Lag: how far the newest event read is behind the clock. Not yet read: records that wait in the broker.'}, partitions.el).el);

  function render({now, history}) {
    chart.update({
      times: history.map(one => one.now), step: 'second', watermark: null, text: count, exact: countExact,
      series: now.feeds.map(({feed}, i) => ({id: feed, label: feed, tone: i, values: history.map(one => one.feeds.find(other => other.feed === feed)?.rate ?? null)})),
    });
    feeds.update(feedRows(now));
    partitions.update(now.partitions);
  }

  return {el, render};
}
