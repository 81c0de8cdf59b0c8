// The operator's page: polls the job's own figures every two seconds and streams the quality of its input.

import {getJson, getSession, query} from './api.js';
import {keepClock} from './clock.js';
import {h, setText} from './dom.js';
import {createFeeds} from './operator_feeds.js';
import {createGraph} from './operator_graph.js';
import {createHealth} from './operator_health.js';
import {createRejects} from './operator_rejects.js';
import {createStateView} from './operator_state.js';
import {resolveRange} from './range.js';
import {onPreference} from './settings.js';
import {createShell, errorPanel} from './shell.js';
import {skeleton} from './skeleton.js';
import {createStream, pauseBefore} from './stream.js';

const POLL_MS = 2_000, HISTORY = 300;
const VIEWS = {
  health: ['Health', 'M1.500 8h3l2-5 3 10 2-5h3', createHealth], feeds: ['Feeds', 'M2 4h9M2 8h6M2 12h9M11 2l3 2-3 2M11 10l3 2-3 2', createFeeds], rejects: ['Rejects', 'M8 2l6.500 11.500h-13zM8 6.500v3M8 11.500v.2', createRejects],
  state: ['State', 'M3 4c0-1.100 2.200-2 5-2s5 .9 5 2-2.200 2-5 2-5-.9-5-2zM3 4v8c0 1.100 2.200 2 5 2s5-.9 5-2V4M3 8c0 1.100 2.200 2 5 2s5-.9 5-2', createStateView],
  dataflow: ['Dataflow', 'M2 6h4v4H2zM10 2h4v4h-4zM10 10h4v4h-4zM6 8h2M8 4v8M8 4h2M8 12h2', () => createGraph({getScope: () => address().scope, setScope: scope => go({view: 'dataflow', scope})})],
};

const live = {now: null, frontier: null, watermark: null, quality: null, range: null, history: [], failed: null};
const views = {};
let pollTimer = 0, attempt = 0, frame = 0, startTimer = 0;

const shell = createShell({
  items: [...Object.entries(VIEWS).map(([id, [label, icon]]) => ({id, label, icon, href: () => hrefFor({view: id})})), {id: 'campaigns', label: 'Campaign manager', icon: 'M2 13V8M6 13V3M10 13V6M14 13v-3', href: () => '/', external: true}],
  onNavigate: view => go({view}), onSignedIn: start, onRetry: () => stream.restart(),
});
const title = h('h1'), subtitle = h('p', {class: 'muted range-text'}), problem = h('p', {class: 'note', role: 'alert', hidden: true}), holder = h('div', {class: 'holder'});
document.querySelector('#main').append(h('div', {class: 'page-head'}, h('div', {}, title, subtitle)), problem, holder);
const stream = createStream({onFrontier, onState: showStatus, onError: cause => cause.status === 401 && signedOut()});

function address() {
  const params = new URLSearchParams(location.search);
  const view = params.get('view');
  return {view: view in VIEWS ? view : 'health', scope: params.get('scope')};
}

function hrefFor(changes) {
  return '/operator?' + new URLSearchParams(changes);
}

function go(changes) {
  if (hrefFor(changes) !== location.pathname + location.search) history.pushState(null, '', hrefFor(changes));
  onAddress();
}

function onAddress() {
  const {view} = address();
  setText(title, VIEWS[view][0]);
  document.title = `${VIEWS[view][0]} – AdvertiseX operator`;
  shell.setActive(view);
  schedule();
}

function onFrontier(data, frontier) {
  Object.assign(live, {frontier, watermark: frontier.watermark, quality: data.quality, range: live.asked});
  follow();
  schedule();
}

function follow() {
  const range = resolveRange({range: '1h'}, live.watermark);
  if (live.asked && range?.since === live.asked.since) return;
  live.asked = range;
  stream.subscribe({quality: query('quality_minute', range ? {...range, group_by: 'feed', step: 'minute'} : {group_by: 'feed', step: 'all'})});
}

function schedule() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(render);
}

function render() {
  showStatus();
  if (!live.now || live.failed) return;
  const {view} = address();
  views[view] ??= VIEWS[view][2]();
  if (holder.firstChild !== views[view].el) holder.replaceChildren(views[view].el);
  setText(subtitle, `${live.now.job} · version ${live.now.version} · ${live.now.processes} process(es), ${live.now.workers} workers`);
  views[view].render(live);
  if (live.frontier) document.documentElement.dataset.ready = 'true';
}

function showStatus() {
  shell.status.update(stream, live.frontier);
}

async function poll() {
  clearTimeout(pollTimer);
  if (document.hidden) return;
  let pause = POLL_MS;
  try {
    const now = await getJson('/api/v1/operator');
    attempt = 0;
    Object.assign(live, {now, failed: null, history: [...live.history, {now: now.now, feeds: now.feeds}].slice(-HISTORY)});
    problem.hidden = true;
    schedule();
  } catch (cause) {
    pause = Math.max(pauseBefore(attempt++), cause.retryAfterMs ?? 0);
    if (cause.status === 401) return void signedOut();
    if (cause.status === 403) return void refuse('This page is for operators', cause);
    setText(problem, `The figures below are not current: ${cause.message}. Trying again in ${Math.ceil(pause / 1000)} s.`);
    problem.hidden = false;
  }
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, pause);
}

function refuse(heading, cause) {
  live.failed = cause;
  holder.replaceChildren(errorPanel(heading, cause.message, [['Open the campaign manager', () => location.assign('/')], ['Try again', start]]));
  document.documentElement.dataset.ready = 'true';
}

function signedOut() {
  stream.close();
  clearTimeout(pollTimer);
  live.failed = true;
  holder.replaceChildren(errorPanel('You are signed out', 'Sign in to see how the job is doing.', [['Sign in', shell.signIn]]));
  shell.signIn();
}

async function start() {
  clearTimeout(startTimer);
  try {
    const session = await getSession();
    Object.assign(live, {watermark: session.frontier?.watermark ?? null, asked: null, failed: null});
    attempt = 0;
    shell.setSession(session);
    holder.replaceChildren(skeleton('operator'));
    onAddress();
    follow();
    await poll();
  } catch (cause) {
    if (cause.status === 401) {
      stream.state = 'signed_out';
      showStatus();
      return void signedOut();
    }
    const pause = pauseBefore(attempt++);
    Object.assign(stream, {state: cause.status === 503 ? 'catching_up' : 'reconnecting', retryAt: performance.now() + pause, reason: cause.message});
    holder.replaceChildren(errorPanel('No answer from the server', `${cause.message}; the page tries again by itself`, [['Try now', start]]));
    startTimer = setTimeout(start, pause);
  }
  return undefined;
}

addEventListener('popstate', onAddress);
document.addEventListener('visibilitychange', () => document.hidden ? clearTimeout(pollTimer) : live.now && !live.failed && poll());
onPreference(name => name === 'zone' && schedule());
setInterval(showStatus, 1000);
keepClock(getSession);
onAddress();
holder.replaceChildren(skeleton('operator'));
start();
