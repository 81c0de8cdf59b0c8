// The campaigns whose spend, revenue or conversions changed most against the range before.

import {h, patchKeyed, setAttr, setText, setValue} from './dom.js';
import {percent} from './format.js';
import {METRICS, change, valueOf} from './metrics.js';
import {nameOf} from './names.js';
import {hrefFor, navigate, onlyFilter} from './state.js';
import {card, fillDiverging, segmented} from './widgets.js';

const CHOICES = {spend: 'Spend', revenue: 'Revenue', conversions: 'Conversions'};
const MOST = 7;

/** The largest changes between two maps of campaign to row. */
export function largestChanges(metric, now, before, most = MOST) {
  return [...new Set([...now.keys(), ...before.keys()])]
    .map(id => ({id, now: valueOf(metric, now.get(id)) ?? 0, before: valueOf(metric, before.get(id)) ?? 0}))
    .map(one => ({...one, difference: one.now - one.before}))
    .filter(one => one.difference !== 0)
    .sort((a, b) => Math.abs(b.difference) - Math.abs(a.difference) || (a.id < b.id ? -1 : 1))
    .slice(0, most);
}

const byCampaign = store => new Map([...(store?.rows.values() ?? [])].map(row => [row.campaign_id, row]));

/** Makes the card. */
export function createMovers() {
  const list = h('ol', {class: 'movers'});
  const none = h('p', {class: 'empty small', text: 'No campaign changed against the range before.', hidden: true});
  const choice = segmented('What moved', CHOICES, id => navigate({mover: id}));
  const box = card({title: 'Top movers', note: 'Largest changes against the range before', tools: [choice.el], testid: 'movers'}, list, none);

  function update({state, data}) {
    const metric = METRICS[state.mover] ?? METRICS.revenue;
    const moved = largestChanges(metric, byCampaign(data.campaigns), byCampaign(data.campaigns_before));
    const most = Math.max(0, ...moved.map(one => Math.abs(one.difference)));
    choice.update(metric.id);
    none.hidden = moved.length > 0;
    patchKeyed(list, moved, one => one.id, one => createRow(one.id), (node, one) => fillRow(node, one, metric, most));
  }

  return {el: box.el, update};
}

function createRow(id) {
  const go = event => {
    event.preventDefault();
    navigate({filters: onlyFilter('campaign_id', id)});
  };
  return h('li', {data: {key: id}}, h('a', {class: 'mover-name', on: {click: go}}), h('span', {class: 'mover-bar'}), h('span', {class: 'mover-values'}));
}

function fillRow(node, one, metric, most) {
  const [link, bar, values] = node.children;
  const name = nameOf('campaign_id', one.id);
  setText(link, name);
  setAttr(link, 'title', `${name}: show only this campaign`);
  setAttr(link, 'href', hrefFor({filters: onlyFilter('campaign_id', one.id)}));
  const moved = change(metric, one.now, one.before);
  const sign = one.difference > 0 ? '+' : '−';
  fillDiverging(bar, one.difference, most, `${sign}${metric.text(Math.abs(one.difference))}`);
  setValue(node, one.difference);
  setText(values, `${moved.ratio === null ? 'new' : `${moved.arrow} ${percent(Math.abs(moved.ratio))}`} · ${metric.text(one.before)} → ${metric.text(one.now)}`);
}
