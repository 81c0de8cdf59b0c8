// The campaign manager: joins address, stream and views; draws at frontiers, once per animation frame.

import {getSession} from './api.js';
import {keepClock} from './clock.js';
import {createAttribution} from './attribution.js';
import {createBreakdown} from './breakdown.js';
import {createCampaigns} from './campaigns.js';
import {h, setAttr, setText} from './dom.js';
import {dateTime, hourMinute, zoneName} from './format.js';
import {clearFilters, createFilters} from './filters.js';
import {loadNames} from './names.js';
import {createOverview} from './overview.js';
import {createPaths} from './paths.js';
import {resolveRange} from './range.js';
import {createReach} from './reach.js';
import {onPreference} from './settings.js';
import {createShell, errorPanel} from './shell.js';
import {skeleton} from './skeleton.js';
import {getState, hrefFor, navigate, onState, VIEWS} from './state.js';
import {createStream, pauseBefore} from './stream.js';
import {createToolbar, rangeText} from './toolbar.js';

const TITLES = {overview: 'Overview', campaigns: 'Campaigns', breakdown: 'Break-down', attribution: 'Attribution', reach: 'Reach & frequency', paths: 'Conversion paths'};
const ICONS = {
  overview: 'M2 13V8M6 13V3M10 13V6M14 13v-3', campaigns: 'M2 4h12M2 8h12M2 12h8', breakdown: 'M8 2v6l5 3M8 2a6 6 0 1 0 6 6',
  attribution: 'M3 4h5l5 4M3 12h5l5-4M3 8h10', reach: 'M6 7a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 14c0-3 2-5 4.5-5s4.5 2 4.5 5M11 3.5a2.5 2.5 0 0 1 0 4M12 9.5c1.700.6 2.500 2.500 2.500 4.500',
  paths: 'M3 5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM13 15a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM3 5v3c0 3 3 5 8 5', operator: 'M2 4h7M12 4h2M2 12h2M7 12h7M10.500 2.500v3M5.500 10.500v3',
};
const MAKERS = {overview: createOverview, campaigns: createCampaigns, breakdown: createBreakdown, attribution: createAttribution, reach: createReach, paths: createPaths};
const RESTING = {tables: 'performance_minute?step=all&group_by='};

const views = {};
const live = {frontier: null, watermark: null, data: null, shown: null, asked: null, failed: null};
let frame = 0, startAttempt = 0, startTimer = 0;

const shell = createShell({
  items: [...VIEWS.map(id => ({id, label: TITLES[id], icon: ICONS[id], href: () => hrefFor(switchTo(id))})), {id: 'operator', label: 'Operator', icon: ICONS.operator, href: () => '/operator', external: true, operator: true}],
  onNavigate: id => navigate(switchTo(id)), onSignedIn: start, onRetry: () => stream.restart(),
});
const rangeNow = () => resolveRange(getState(), live.watermark);
const toolbar = createToolbar(rangeNow), filters = createFilters(rangeNow);
const title = h('h1'), subtitle = h('p', {class: 'muted range-text', data: {testid: 'range'}}), holder = h('div', {class: 'holder'});
const main = document.querySelector('#main');
main.append(h('div', {class: 'page-head'}, h('div', {}, title, subtitle), toolbar.el), filters.el, holder);
const stream = createStream({onFrontier, onState: showStatus, onError: showError});

function switchTo(view) {
  return {view, sort: '', page: 0};
}

function viewOf(id) {
  views[id] ??= MAKERS[id]({again: follow});
  return views[id];
}

function pageOf(state) {
  return {state, range: resolveRange(state, live.watermark), watermark: live.watermark, data: live.data};
}

// Subscribes anew if the address or a new window of the watermark changed what is asked; cheap if not.
function follow() {
  const page = pageOf(getState());
  const queries = page.range ? viewOf(page.state.view).queries(page) : RESTING;
  const key = JSON.stringify([page.state.view, queries]);
  if (live.asked?.key === key) return;
  live.asked = {key, page, resting: !page.range};
  holder.classList.add('refreshing');
  stream.subscribe(queries);
}

function onFrontier(data, frontier) {
  Object.assign(live, {frontier, watermark: frontier.watermark, failed: null, data});
  live.shown = live.asked;
  follow();
  schedule();
  loadNames().then(loaded => loaded && schedule(), () => null);
}

function onAddress() {
  frameAddress();
  live.failed = null;
  follow();
  // What was asked is answered already: only the drawing changes. Else the old data stays until the new is whole.
  if (live.shown === live.asked) schedule();
  else if (live.shown?.page.state.view !== getState().view) holder.replaceChildren(skeleton(getState().view));
}

function frameAddress() {
  const state = getState();
  setText(title, TITLES[state.view]);
  document.title = `${TITLES[state.view]} – AdvertiseX`;
  shell.setActive(state.view);
  toolbar.update(state);
  filters.update(state);
}

function schedule() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(render);
}

function render() {
  showStatus();
  if (!live.shown || live.failed) return;
  const state = getState();
  if (live.shown.page.state.view !== state.view) return;
  filters.update(state);
  const same = live.shown === live.asked;
  // While a new answer is under way the old one is drawn as it was asked.
  const page = {...live.shown.page, state: same ? state : live.shown.page.state, watermark: live.watermark, data: live.data};
  holder.classList.toggle('refreshing', !same);
  if (live.shown.resting) put(emptyPanel('No events yet', 'The job has read no events so far. Numbers appear here by themselves as soon as the first arrive.', []));
  else draw(page);
  document.documentElement.dataset.ready = 'true';
}

function draw(page) {
  const view = viewOf(page.state.view);
  const open = page.watermark < page.range.until ? ` · complete up to ${hourMinute(page.watermark)}` : '';
  setText(subtitle, `${rangeText(page.range)}${open}${historyText()}`);
  Object.entries({since: page.range.since, until: page.range.until}).forEach(([name, value]) => setAttr(main, `data-${name}`, value));
  if (view.isEmpty(page)) put(emptyPanel('No traffic in this range', 'Nothing was bid, shown, clicked or converted here under these filters.', [['Show the last 30 days', () => navigate({range: '30d', since: null, until: null})], ['Clear filters', clearFilters]]));
  else {
    put(view.el);
    view.render(page);
  }
}

function historyText() {
  const {history_epoch: history, live_since: since} = live.frontier;
  return history === null || history === undefined ? '' : ` · before ${dateTime(since)} from the history as of ${dateTime(history)} ${zoneName()}`;
}

function put(node) {
  const shown = holder.firstChild;
  // A panel is made anew at each tick; an equal one stays, so that its buttons keep the focus.
  if (shown !== node && !(node.dataset.testid && node.isEqualNode(shown))) holder.replaceChildren(node);
}

function emptyPanel(heading, text, actions) {
  return h('div', {class: 'card notice', data: {testid: 'empty'}}, h('h2', {text: heading}), h('p', {class: 'muted', text}),
    h('div', {class: 'actions'}, actions.map(([label, click]) => h('button', {class: 'button', type: 'button', text: label, on: {click}}))));
}

function showStatus() {
  shell.status.update(stream, live.frontier);
}

function showError(cause) {
  live.failed = cause;
  live.asked = null;
  if (cause.status === 401) return signedOut();
  return holder.replaceChildren(errorPanel('This can not be shown', cause.message, [['Try again', () => onAddress()], ['Clear filters', clearFilters]]));
}

function signedOut() {
  stream.close();
  holder.replaceChildren(errorPanel('You are signed out', 'Sign in to see your campaigns.', [['Sign in', shell.signIn]]));
  shell.signIn();
}

async function start() {
  clearTimeout(startTimer);
  try {
    const session = await getSession();
    startAttempt = 0;
    shell.setSession(session);
    live.watermark = session.frontier?.watermark ?? null;
    live.asked = null;
    holder.replaceChildren(skeleton(getState().view));
    await loadNames().catch(() => null);
    onAddress();
  } catch (cause) {
    if (cause.status === 401) {
      stream.state = 'signed_out';
      showStatus();
      return signedOut();
    }
    const pause = Math.max(pauseBefore(startAttempt++), cause.retryAfterMs ?? 0);
    Object.assign(stream, {state: cause.status === 503 ? 'catching_up' : 'reconnecting', retryAt: performance.now() + pause, reason: cause.message});
    holder.replaceChildren(errorPanel(cause.status === 503 ? 'Catching up' : 'No answer from the server', `${cause.message}; the page tries again by itself`, [['Try now', start]]));
    startTimer = setTimeout(start, pause);
  }
  return undefined;
}

onState(onAddress);
onPreference(name => name === 'zone' && schedule());
setInterval(showStatus, 1000);
keepClock(getSession);
frameAddress();
holder.replaceChildren(skeleton(getState().view));
start();
