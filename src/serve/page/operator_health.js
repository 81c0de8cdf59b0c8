// The operator's first look: rates, lag, epoch latency, load, checkpoint and sinks.

import {createChart} from './chart.js';
import {h, patchKeyed, setAttr, setText, setValue} from './dom.js';
import {createFacts} from './facts.js';
import {bytes, count, countExact, decimal, dateTimeExact, duration, percent} from './format.js';
import {card} from './widgets.js';

const FACTS = {rate: 'Records per second', lag: 'Watermark lag', latency: 'Epoch latency p99', memory: 'Memory', rejected: 'Rejected', orphans: 'Orphans, last hour', checkpoint: 'Checkpoint age', uptime: 'Up for'};

/** Makes the view. */
export function createHealth() {
  const facts = createFacts(FACTS);
  const chart = createChart({label: 'Epoch latency', testid: 'latency', height: 200});
  const loads = h('ul', {class: 'loads'}), sinks = h('ul', {class: 'loads'});
  const latencyCard = card({title: 'Epoch latency'}, chart.el);
  const loadCard = card({title: 'Load per worker', note: 'Share of the last 10 s spent working'}, loads);
  const sinkCard = card({title: 'Sinks', note: 'What leaves the job, and how far behind it is'}, sinks);
  const el = h('div', {class: 'view'}, facts.el, latencyCard.el, h('div', {class: 'columns'}, loadCard.el, sinkCard.el));

  function render({now, quality}) {
    facts.update(factsOf(now, quality));
    latencyCard.setNote(`The last ${now.epochs.history.length} epochs: half took ${duration(now.epochs.p50_ms)} or less, the slowest ${duration(now.epochs.max_ms)}`);
    const history = now.epochs.history;
    chart.update({
      times: history.map(one => one.epoch), step: 'second', watermark: null, text: value => duration(value), exact: value => (value === null ? '–' : `${decimal(value, 1)} ms`),
      series: [{id: 'latency', label: 'Latency', tone: 0, filled: true, values: history.map(one => one.latency_ms)}],
    });
    patchKeyed(loads, now.workers_load, one => `${one.process}/${one.worker}`, createLoad, (node, one) => fillLoad(node, `Worker ${one.worker}${now.processes > 1 ? ` of process ${one.process}` : ''}`, one.busy, `${percent(one.busy)} busy · ${count(one.records_per_s)} records/s`));
    patchKeyed(sinks, now.sinks, one => one.name, createSink, fillSink);
    sinkCard.setNote(now.sinks.length ? 'What leaves the job, and how far behind it is' : 'No sink is configured.');
  }

  return {el, render};
}

function factsOf(now, quality) {
  const rate = now.feeds.reduce((sum, one) => sum + one.rate, 0);
  const received = now.feeds.reduce((sum, one) => sum + one.received, 0), rejected = now.feeds.reduce((sum, one) => sum + one.rejected, 0);
  const point = now.checkpoint;
  return {
    rate: {text: count(rate), value: rate, detail: now.feeds.map(one => `${one.feed} ${count(one.rate)}`).join(' · ')},
    lag: {text: duration(now.watermark_lag_ms), value: now.watermark_lag_ms, detail: `Complete up to ${dateTimeExact(now.watermark)}`},
    latency: {text: duration(now.epochs.p99_ms), value: now.epochs.p99_ms, detail: `p50 ${duration(now.epochs.p50_ms)} · most ${duration(now.epochs.max_ms)}`},
    memory: {text: bytes(now.memory_bytes), value: now.memory_bytes, detail: `${count(now.id_texts)} id texts`},
    rejected: {text: count(rejected), value: rejected, detail: `${percent(received ? rejected / received : null)} of ${count(received)} received`},
    orphans: {text: count(quality?.sums.orphans ?? null), value: quality?.sums.orphans, detail: 'Clicks that wait for their impression'},
    checkpoint: {text: point ? duration(point.age_ms) : '–', value: point?.age_ms, detail: point ? `${bytes(point.bytes)} in ${countExact(point.segments)} segments` : 'No checkpoint yet'},
    uptime: {text: duration(now.now - now.started), value: now.now - now.started, detail: `${countExact(now.workers)} workers · version ${now.version}`},
  };
}

function createLoad() {
  return h('li', {class: 'load'}, h('span', {class: 'load-name'}), h('span', {class: 'muted load-text'}), h('span', {class: 'bar', 'aria-hidden': 'true'}, h('span')));
}

function fillLoad(node, name, share, text) {
  const [label, detail, bar] = node.children;
  setText(label, name);
  setText(detail, text);
  setValue(node, share);
  bar.firstChild.style.width = `${(share * 100).toFixed(1)}%`;
}

function createSink() {
  return h('li', {class: 'load'}, h('span', {class: 'load-name'}), h('span', {class: 'badge'}), h('span', {class: 'muted load-detail'}));
}

function fillSink(node, sink) {
  const [name, badge, detail] = node.children;
  setText(name, sink.name);
  setText(badge, sink.healthy ? 'Healthy' : 'Failing');
  setAttr(badge, 'class', `badge ${sink.healthy ? 'good' : 'bad'}`);
  setText(detail, [`${duration(sink.behind_ms)} behind`, sink.message].filter(Boolean).join(' · '));
}
