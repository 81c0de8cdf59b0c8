// The live status: from the connection and the age of the data to a word, a detail and a state; and the pill that shows it.

import {serverNow} from './clock.js';
import {h, setAttr, setText} from './dom.js';
import {clock, dateTimeExact, duration, sentence, zoneName} from './format.js';

const OLD_MS = 10_000;
const STOPPED = ['stale', 'reconnecting', 'catching_up'];
const WHY = {stale: 'nothing has come from the server for more than five seconds', reconnecting: 'the connection was lost', catching_up: 'the job is behind and catching up'};
const LABELS = {
  connecting: 'Connecting', live: 'Live', stale: 'Stale', reconnecting: 'Reconnecting', catching_up: 'Catching up',
  paused: 'Paused', signed_out: 'Signed out', failed: 'Stopped',
};

/** What to show for a connection `{state, retryAt, reason}` and the last frontier. */
export function describeStatus(connection, frontier, now = serverNow(), tick = performance.now()) {
  const age = frontier ? Math.max(0, now - frontier.epoch) : null;
  const state = connection.state === 'live' && age > OLD_MS ? 'catching_up' : connection.state;
  const asOf = frontier ? `as of ${clock(frontier.epoch)} ${zoneName()}` : '';
  const wait = connection.retryAt ? `in ${Math.max(1, Math.ceil((connection.retryAt - tick) / 1000))} s` : '';
  const detail = {
    live: asOf, stale: age === null ? '' : `data is ${duration(age)} old`, reconnecting: wait,
    catching_up: connection.retryAt ? `retry ${wait}` : age === null ? '' : `${duration(age)} behind`,
  }[state] ?? '';
  return {state, label: LABELS[state] ?? state, detail, age, reason: connection.reason};
}

/** Makes the status pill, its polite announcement (only when the state changes) and a banner for when numbers don't move. */
export function createStatus(onRetry) {
  const label = h('strong'), detail = h('span'), truth = h('span', {class: 'status-wide', text: 'true '});
  const pill = h('div', {class: 'status', data: {testid: 'status', state: 'connecting'}}, h('span', {class: 'status-dot', 'aria-hidden': 'true'}), label, h('span', {class: 'status-detail'}, truth, detail));
  const spoken = h('p', {class: 'visually-hidden', role: 'status', 'aria-live': 'polite'});
  const text = h('span');
  const banner = h('div', {class: 'note banner', data: {testid: 'banner'}, hidden: true}, text, h('button', {class: 'button small', type: 'button', text: 'Try now', on: {click: onRetry}}));
  function update(connection, frontier) {
    const status = describeStatus(connection, frontier);
    setAttr(pill, 'data-state', status.state);
    setAttr(pill, 'data-epoch', frontier?.epoch ?? '');
    setAttr(pill, 'title', [status.reason, frontier && `Everything read up to ${dateTimeExact(frontier.epoch)} ${zoneName()} is counted; events are complete up to ${dateTimeExact(frontier.watermark)}.`].filter(Boolean).join(' – '));
    setText(label, status.label);
    setText(detail, status.detail);
    truth.hidden = status.state !== 'live';
    setText(spoken, `Status: ${status.label}`);
    banner.hidden = !frontier || !STOPPED.includes(status.state);
    if (!banner.hidden) setText(text, `The numbers below are those of ${dateTimeExact(frontier.epoch)} ${zoneName()} and do not move. ${sentence(status.reason ?? WHY[status.state])}`);
  }
  return {el: h('div', {class: 'status-box'}, pill, spoken), banner, update};
}
