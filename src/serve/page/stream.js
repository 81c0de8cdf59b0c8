// The live stream: an EventSource that reconnects by itself and hands data over only at frontier events.

import {ApiError, errorOf, parameters} from './api.js';
import {applyChange, applySnapshot, createStore} from './store.js';

const STALE_MS = 5_000;
const DEAD_MS = 15_000;
// The first answer may take longer: the server computes whole snapshots.
const FIRST_MS = 45_000;
const HIDDEN_MS = 60_000;
const PAUSE_MS = {first: 1_000, most: 30_000};

/** The pause before try number `attempt` (from 0): doubles up to 30 s, with jitter so that pages don't come back all at once. */
export function pauseBefore(attempt, random = Math.random()) {
  return Math.min(PAUSE_MS.most, PAUSE_MS.first * 2 ** attempt) * (0.75 + random / 2);
}

/**
 * Opens the stream when `subscribe({name: query})` is called.
 * `onFrontier(data, frontier)`: `data` maps names to stores, complete as of that frontier.
 * `onState()`: the connection's `state` changed. `onError(ApiError)`: trying again would not help.
 */
export function createStream({onFrontier, onState, onError}) {
  const self = {state: 'connecting', retryAt: null, reason: null, subscribe, restart, close};
  let names = [], url = null, source = null, stores = [], buffer = [];
  let answered = false, attempt = 0, heardAt = performance.now(), wallAt = Date.now(), retryTimer = 0, hiddenTimer = 0;

  function setState(state, extra = {}) {
    Object.assign(self, {state, retryAt: null, reason: null}, extra);
    onState();
  }

  function subscribe(queries) {
    const next = '/api/v1/stream?' + parameters({q: Object.values(queries)});
    names = Object.keys(queries);
    if (next === url && source) return;
    url = next;
    attempt = 0;
    open();
  }

  function restart() {
    if (!url) return;
    attempt = 0;
    open();
  }

  function close() {
    clearTimeout(retryTimer);
    source?.close();
    source = null;
  }

  function open() {
    close();
    answered = false;
    stores = names.map(createStore);
    buffer = [];
    heard();
    if (self.state !== 'live') setState('connecting');
    const opened = new EventSource(url);
    source = opened;
    const on = (type, handler) => opened.addEventListener(type, event => opened === source && handler(event));
    on('snapshot', event => hold(applySnapshot, event));
    on('change', event => hold(applyChange, event));
    on('frontier', event => frontier(JSON.parse(event.data)));
    on('error', event => lost(event.data ? JSON.parse(event.data).error?.message : undefined));
  }

  function heard() {
    heardAt = performance.now();
    wallAt = Date.now();
  }

  // Nothing touches the stores between two frontiers, so a view that draws late never sees half an update.
  function hold(apply, event) {
    const message = JSON.parse(event.data);
    buffer.push(() => stores[message.query] && apply(stores[message.query], message));
  }

  function frontier(value) {
    heard();
    buffer.forEach(apply => apply());
    buffer = [];
    answered = true;
    attempt = 0;
    if (self.state !== 'live') setState('live');
    onFrontier(Object.fromEntries(names.map((name, i) => [name, stores[i]])), value);
  }

  // EventSource hides the status, so ask once more with fetch to learn why. An `error` event of the server has a message.
  async function lost(message = 'the connection was lost') {
    close();
    const asked = url;
    const control = new AbortController();
    let cause = new ApiError(0, message);
    try {
      const response = await fetch(asked, {signal: control.signal, cache: 'no-store', headers: {accept: 'text/event-stream'}});
      if (!response.ok) cause = await errorOf(response);
    } catch {
      // Not reachable: the cause stays as it is.
    }
    control.abort();
    if (asked === url && !source) fail(cause);
  }

  function fail(cause) {
    const final = cause.status >= 400 && cause.status < 500 && cause.status !== 429;
    if (final) {
      setState(cause.status === 401 ? 'signed_out' : 'failed', {reason: cause.message});
      onError(cause);
      return;
    }
    const pause = Math.max(pauseBefore(attempt), cause.retryAfterMs ?? 0);
    attempt += 1;
    setState(cause.status === 503 ? 'catching_up' : 'reconnecting', {retryAt: performance.now() + pause, reason: cause.message});
    retryTimer = setTimeout(open, pause);
  }

  // The browser's monotonic clock may stand still while the machine sleeps, so both clocks are asked.
  const silence = () => Math.max(performance.now() - heardAt, Date.now() - wallAt);

  setInterval(() => {
    if (!source || document.hidden) return;
    if (silence() > (answered ? DEAD_MS : FIRST_MS)) {
      close();
      fail(new ApiError(0, 'the server sent nothing for a while'));
    } else if (silence() > STALE_MS && self.state === 'live') setState('stale');
  }, 1000);

  function wake() {
    if (document.hidden || !url || self.state === 'signed_out' || self.state === 'failed') return;
    if (!source || silence() > STALE_MS) restart();
  }

  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiddenTimer);
    // A browser keeps six connections per server: a hidden tab gives its one back.
    if (document.hidden) hiddenTimer = setTimeout(() => (close(), setState('paused')), HIDDEN_MS);
    else wake();
  });
  addEventListener('pageshow', wake);
  addEventListener('online', wake);
  return self;
}
