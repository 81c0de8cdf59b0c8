// The dataflow graph, drawn scope by scope: records on the edges, busy time as heat, and the same as a table.

import {fill, h, patchKeyed, setAttr, setText, svg} from './dom.js';
import {count, countExact, duration} from './format.js';
import {layout, levelOf} from './graph_layout.js';
import {localTable, numberColumn} from './local_table.js';
import {card, segmented} from './widgets.js';

const SIZE = {width: 186, height: 54, gapX: 64, gapY: 18, bend: 4};
const PAD = 14, NAME_CHARS = 24;

/** The scope to start with: the outermost one that has more than one operator. */
export function startScope(graph) {
  let scope = null;
  for (;;) {
    const children = graph.nodes.filter(node => node.parent === scope);
    if (children.length !== 1 || !children[0].is_scope) return scope;
    scope = children[0].id;
  }
}

const short = text => (text.length > NAME_CHARS ? `${text.slice(0, NAME_CHARS - 1)}…` : text);

/** Makes the view. `getScope()` and `setScope(id)` keep the open scope in the address. */
export function createGraph({getScope, setScope}) {
  const edges = svg('g'), nodes = svg('g');
  const picture = svg('svg', {class: 'graph', role: 'group', 'aria-label': 'Dataflow graph; the table says the same'}, edges, nodes);
  const scroll = h('div', {class: 'graph-scroll', tabindex: 0, role: 'region', 'aria-label': 'Dataflow graph'}, picture);
  const crumbs = h('ol', {class: 'crumbs', 'aria-label': 'Open scope'});
  const open = {id: 'name', label: 'Operator', value: row => row.name, title: row => row.id, fill(cell, row) {
    if (!cell.firstChild) cell.append(row.is_scope ? h('a', {class: 'cell-name', href: '#', on: {click: event => (event.preventDefault(), setScope(row.id))}}) : h('span', {class: 'cell-name'}), h('span', {class: 'cell-detail'}));
    setText(cell.firstChild, row.name);
    setText(cell.lastChild, row.is_scope ? `${row.id} · scope` : row.id);
  }};
  const table = localTable({caption: 'Operators of the open scope', testid: 'graph-table', keyOf: row => row.id, columns: [
    open, numberColumn('busy_ms', 'Busy', duration, {exact: value => `${countExact(value)} ms`, bar: true}), numberColumn('records_in', 'Records in', count, {exact: countExact, bar: true}), numberColumn('records_out', 'Records out', count, {exact: countExact, bar: true}),
  ]}, '-busy_ms');
  let mode = 'picture', last = null;
  const choice = segmented('Show as', {picture: 'Picture', table: 'Table'}, next => ((mode = next), render(last)));
  const box = card({title: 'Dataflow', note: 'Boxes with a coloured edge are scopes: open one to look inside. The bar in a box is its share of the busiest operator; thicker edges carried more records.', tools: [choice.el]}, crumbs, scroll, table.el);

  function render(page) {
    last = page;
    const {graph} = page.now;
    const wanted = getScope();
    const scope = graph.nodes.some(node => node.id === wanted) ? wanted : startScope(graph);
    const level = levelOf(graph, scope);
    choice.update(mode);
    drawCrumbs(crumbs, graph, scope, setScope);
    scroll.hidden = mode !== 'picture';
    table.el.hidden = mode === 'picture';
    if (mode === 'table') table.update(level.nodes);
    else drawGraph({picture, edges, nodes}, layout(level, SIZE), setScope);
  }

  return {el: h('div', {class: 'view'}, box.el), render};
}

function drawCrumbs(list, graph, scope, setScope) {
  const byId = new Map(graph.nodes.map(node => [node.id, node]));
  const chain = [];
  for (let at = byId.get(scope); at; at = byId.get(at.parent)) chain.unshift(at);
  const key = chain.map(node => node.id).join('/');
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  fill(list, chain.map((node, i) => h('li', {}, i === chain.length - 1 ? h('strong', {text: node.name}) : h('button', {class: 'button quiet small', type: 'button', text: node.name, on: {click: () => setScope(node.id)}}))));
}

function drawGraph({picture, edges, nodes}, drawn, setScope) {
  const width = drawn.width + 2 * PAD, height = drawn.height + 2 * PAD;
  Object.entries({width, height, viewBox: `${-PAD} ${-PAD} ${width} ${height}`}).forEach(([name, value]) => setAttr(picture, name, value));
  const mostRecords = Math.max(1, ...drawn.edges.map(edge => edge.records)), mostBusy = Math.max(1, ...drawn.nodes.map(node => node.busy_ms));
  patchKeyed(edges, drawn.edges, edge => `${edge.from} ${edge.to}`, () => svg('g', {}, svg('path'), svg('text', {class: 'graph-count'}), svg('title')), (group, edge) => {
    const [path, text, title] = group.children;
    setAttr(path, 'class', edge.back ? 'graph-edge back' : 'graph-edge');
    setAttr(path, 'd', curve(edge.points));
    setAttr(path, 'stroke-width', (1 + 5 * (Math.log10(edge.records + 1) / Math.log10(mostRecords + 1)) ** 2).toFixed(1));
    const [from, to] = edge.points;
    Object.entries({x: from.x + (to.x - from.x) * 0.5, y: (from.y + to.y) / 2 + 3.5}).forEach(([name, value]) => setAttr(text, name, value.toFixed(1)));
    setText(text, count(edge.records));
    setText(title, `${countExact(edge.records)} records${edge.back ? ', back into the loop' : ''}`);
  });
  patchKeyed(nodes, drawn.nodes, node => node.id, node => createNode(node, setScope), (group, node) => fillNode(group, node, node.busy_ms / mostBusy));
}

function curve(points) {
  let path = `M${points[0].x} ${points[0].y}`;
  for (let i = 1; i < points.length; i++) {
    const a = points[i - 1], b = points[i], half = (b.x - a.x) / 2;
    path += i % 2 === 1 ? `C${a.x + half} ${a.y} ${b.x - half} ${b.y} ${b.x} ${b.y}` : `L${b.x} ${b.y}`;
  }
  return path;
}

function createNode(node, setScope) {
  const {width, height} = SIZE;
  const group = svg('g', {class: node.is_scope ? 'graph-node scope' : 'graph-node', ...(node.is_scope ? {role: 'button', tabindex: 0} : {role: 'img'})},
    svg('title'), svg('rect', {class: 'box', width, height, rx: 8}), svg('text', {class: 'node-name', x: 12, y: 20}), svg('text', {class: 'node-detail', x: 12, y: 36}), svg('rect', {class: 'heat', x: 12, y: height - 10, height: 4, rx: 2}));
  if (node.is_scope) {
    group.addEventListener('click', () => setScope(node.id));
    group.addEventListener('keydown', event => (event.key === 'Enter' || event.key === ' ') && (event.preventDefault(), setScope(node.id)));
  }
  return group;
}

function fillNode(group, node, heat) {
  const [title, , name, detail, bar] = group.children;
  setAttr(group, 'transform', `translate(${node.x} ${node.y})`);
  // A scope is a button and is named by its texts; an operator is a picture and needs a label.
  if (!node.is_scope) setAttr(group, 'aria-label', `${node.name}: busy ${duration(node.busy_ms)}, ${countExact(node.records_in)} records in, ${countExact(node.records_out)} out`);
  setText(title, `${node.is_scope ? 'Open scope ' : ''}${node.name} (${node.id})`);
  setText(name, short(node.name));
  setText(detail, `${duration(node.busy_ms)} · ${count(node.records_in)} in · ${count(node.records_out)} out`);
  setAttr(bar, 'width', (heat * (SIZE.width - 24)).toFixed(1));
}
