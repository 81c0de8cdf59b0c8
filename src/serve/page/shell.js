// The frame around every page: header with job, status, time zone, theme and account, navigation, sign-in, error panel.

import {signOut} from './api.js';
import {fill, h, icon, setAttr, setText} from './dom.js';
import {sentence, setCurrency, setZone} from './format.js';
import {preference, setPreference} from './settings.js';
import {createSignIn} from './signin.js';
import {createStatus} from './status.js';

const THEMES = {
  auto: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 2v12M8 5l5-1M8 8h6M8 11l5 1',
  dark: 'M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z',
  light: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.4 1.4M11.6 11.6L13 13M3 13l1.4-1.4M11.6 4.4L13 3',
};
const OPERATORS = ['operator', 'admin'];

/**
 * Builds the frame. `items`: navigation entries `{id, label, icon, href(), external}`;
 * `onNavigate(id)` for those that stay on the page; `onSignedIn()` after signing in or out; `onRetry()` to connect at once.
 */
export function createShell({items, onNavigate, onSignedIn, onRetry}) {
  const status = createStatus(onRetry);
  const job = h('span', {class: 'job', title: 'The job whose numbers these are'});
  const account = h('div', {class: 'account'});
  const links = items.map(item => navLink(item, onNavigate));
  const signInDialog = createSignIn(onSignedIn);
  document.querySelector('#header').append(job, h('span', {class: 'spacer'}), status.el, h('div', {class: 'tools'}, zoneSwitch(), themeSwitch()), account);
  document.querySelector('#main').append(status.banner);
  document.querySelector('#nav').append(h('ul', {}, links.map(link => h('li', {}, link))));
  setZone(preference('zone', 'utc'));

  function setSession(session) {
    setCurrency(session.currency);
    setText(job, session.job);
    links.forEach((link, i) => (link.parentElement.hidden = items[i].operator === true && !OPERATORS.includes(session.role)));
    fill(account, accountMenu(session, async () => {
      await signOut().catch(() => null);
      onSignedIn();
    }));
  }

  function setActive(id) {
    links.forEach((link, i) => {
      setAttr(link, 'aria-current', items[i].id === id ? 'page' : null);
      setAttr(link, 'href', items[i].href());
      // The row of links scrolls on phones; the page itself must not.
      if (items[i].id === id) link.closest('nav').scrollLeft = link.offsetLeft - 24;
    });
  }

  return {status, setSession, setActive, signIn: signInDialog.open};
}

function navLink(item, onNavigate) {
  const link = h('a', {href: item.href(), class: 'nav-link'}, icon(item.icon), h('span', {text: item.label}));
  link.addEventListener('click', event => {
    if (item.external || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    onNavigate(item.id);
  });
  return link;
}

function zoneSwitch() {
  const button = h('button', {class: 'button quiet tool', type: 'button'});
  const show = () => {
    const local = preference('zone', 'utc') === 'local';
    setText(button, local ? 'Local' : 'UTC');
    setAttr(button, 'aria-label', `Times are in ${local ? 'local time' : 'UTC'}: switch to ${local ? 'UTC' : 'local time'}`);
    setAttr(button, 'title', button.getAttribute('aria-label'));
  };
  button.addEventListener('click', () => {
    const next = preference('zone', 'utc') === 'local' ? 'utc' : 'local';
    setZone(next);
    setPreference('zone', next);
    show();
  });
  show();
  return button;
}

function themeSwitch() {
  const names = Object.keys(THEMES);
  const button = h('button', {class: 'button quiet tool', type: 'button'});
  const show = theme => {
    const next = names[(names.indexOf(theme) + 1) % names.length];
    document.documentElement.dataset.theme = theme;
    fill(button, icon(THEMES[theme]));
    setAttr(button, 'aria-label', `Theme: ${theme}. Switch to ${next}`);
    setAttr(button, 'title', button.getAttribute('aria-label'));
  };
  button.addEventListener('click', () => {
    const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
    setPreference('theme', next);
    show(next);
  });
  show(names.includes(preference('theme', 'auto')) ? preference('theme', 'auto') : 'auto');
  return button;
}

function accountMenu(session, leave) {
  const menu = h('div', {class: 'popover account-menu', id: 'account-menu', popover: 'auto'},
    h('p', {}, h('strong', {text: session.name}), h('br'), h('span', {class: 'muted', text: `Role: ${session.role}`})),
    h('p', {class: 'muted', text: session.advertisers ? `Sees ${session.advertisers.length} advertiser(s)` : 'Sees all advertisers'}),
    h('p', {class: 'muted', text: `AdvertiseX ${session.version}`}),
    session.sign_in && h('button', {class: 'button', type: 'button', text: 'Sign out', on: {click: leave}}));
  const button = h('button', {class: 'avatar', type: 'button', popovertarget: 'account-menu', 'aria-label': `Account: ${session.name}`, title: session.name, text: (session.name[0] ?? '?').toUpperCase()});
  return [button, menu];
}

/** A panel that says what went wrong and offers a way on. */
export function errorPanel(title, message, actions) {
  return h('div', {class: 'card notice', role: 'alert', data: {testid: 'error'}}, h('h2', {text: title}), h('p', {class: 'muted', text: sentence(message)}),
    h('div', {class: 'actions'}, actions.map(([label, click], i) => h('button', {class: i ? 'button' : 'button primary', type: 'button', text: label, on: {click}}))));
}
