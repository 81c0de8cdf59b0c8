// State: what is kept in memory, per arrangement, and the checkpoint that restores it.

import {h} from './dom.js';
import {createFacts} from './facts.js';
import {bytes, count, countExact, dateTime, duration, zoneName} from './format.js';
import {localTable, numberColumn, textColumn} from './local_table.js';
import {card} from './widgets.js';

const FACTS = {memory: 'Memory', bids: 'Live bids', impressions: 'Live impressions', clicks: 'Live clicks', conversions: 'Live conversions', texts: 'Id texts', checkpoint: 'Checkpoint', freeze: 'Frozen up to'};

/** One row per arrangement: sums over workers, and how uneven they are (the largest share of one worker). */
export function stateRows(state) {
  const rows = new Map();
  for (const {arrangement, rows: n, bytes: size} of state) {
    const row = rows.get(arrangement) ?? {arrangement, rows: 0, bytes: 0, workers: 0, largest: 0};
    rows.set(arrangement, {arrangement, rows: row.rows + n, bytes: row.bytes + size, workers: row.workers + 1, largest: Math.max(row.largest, size)});
  }
  return [...rows.values()].map(row => ({...row, skew: row.bytes ? (row.largest * row.workers) / row.bytes : null}));
}

/** Makes the view. */
export function createStateView() {
  const facts = createFacts(FACTS);
  const table = localTable({caption: 'State per arrangement', testid: 'state-table', keyOf: row => row.arrangement, empty: 'No arrangement reports its size yet.', columns: [
    textColumn('arrangement', 'Arrangement'), numberColumn('bytes', 'Bytes', bytes, {exact: countExact, bar: true}), numberColumn('rows', 'Rows', count, {exact: countExact, bar: true}),
    numberColumn('workers', 'Workers', countExact), numberColumn('skew', 'Skew', value => (value === null ? '–' : `${value.toFixed(2)}×`)),
  ]}, '-bytes');
  const box = card({title: 'State per arrangement', note: 'Skew: the largest worker against an even share'}, table.el);

  function render({now}) {
    const point = now.checkpoint, live = now.live_events;
    const number = value => ({text: count(value), value});
    facts.update({
      memory: {text: bytes(now.memory_bytes), value: now.memory_bytes}, bids: number(live.bids), impressions: number(live.impressions), clicks: number(live.clicks), conversions: number(live.conversions), texts: number(now.id_texts),
      checkpoint: point ? {text: bytes(point.bytes), value: point.bytes, detail: `${duration(point.age_ms)} ago · ${countExact(point.segments)} segments`} : {text: '–', detail: 'No checkpoint yet'},
      freeze: {text: dateTime(now.freeze), value: now.freeze, detail: `${zoneName()}; older windows never change again`},
    });
    table.update(stateRows(now.state));
  }

  return {el: h('div', {class: 'view'}, facts.el, box.el), render};
}
