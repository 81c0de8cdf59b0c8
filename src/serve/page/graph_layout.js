// Layout of a dataflow graph in layers, left to right: back edges turned, long edges bent, crossings reduced.

const SWEEPS = 6;

/** The children of a scope and the edges between them; edges from deeper operators are lifted to the scope's level. */
export function levelOf(graph, scope) {
  const parents = new Map(graph.nodes.map(node => [node.id, node.parent]));
  const nodes = graph.nodes.filter(node => node.parent === scope);
  const here = new Set(nodes.map(node => node.id));
  const lift = id => {
    let at = id;
    while (at !== null && at !== undefined && !here.has(at)) at = parents.get(at);
    return at;
  };
  const edges = new Map();
  for (const edge of graph.edges) {
    const from = lift(edge.from), to = lift(edge.to);
    if (!here.has(from) || !here.has(to) || (from === to && edge.from !== edge.to)) continue;
    const key = `${from} ${to}`;
    edges.set(key, {from, to, records: (edges.get(key)?.records ?? 0) + edge.records});
  }
  return {nodes, edges: [...edges.values()]};
}

function markBack(ids, edges) {
  const out = new Map(ids.map(id => [id, []]));
  edges.forEach(edge => out.get(edge.from).push(edge));
  const state = new Map(), back = new Set();
  const visit = root => {
    const stack = [{id: root, next: 0}];
    state.set(root, 'open');
    while (stack.length) {
      const top = stack.at(-1), edge = out.get(top.id)[top.next++];
      if (!edge) {
        state.set(top.id, 'done');
        stack.pop();
      } else if (state.get(edge.to) === 'open') back.add(edge);
      else if (!state.has(edge.to)) {
        state.set(edge.to, 'open');
        stack.push({id: edge.to, next: 0});
      }
    }
  };
  const targets = new Set(edges.map(edge => edge.to));
  [...ids.filter(id => !targets.has(id)), ...ids].forEach(id => state.has(id) || visit(id));
  return back;
}

function rankAll(ids, edges) {
  const rank = new Map(ids.map(id => [id, 0]));
  for (let round = 0, moved = true; moved && round <= ids.length; round++) {
    moved = false;
    for (const {from, to} of edges) {
      if (rank.get(to) > rank.get(from)) continue;
      rank.set(to, rank.get(from) + 1);
      moved = true;
    }
  }
  return rank;
}

function bend(edges, rank) {
  const chains = [], links = [];
  edges.forEach((edge, i) => {
    const chain = [edge.from];
    for (let at = rank.get(edge.from) + 1; at < rank.get(edge.to); at++) {
      const id = `bend ${i} ${at}`;
      rank.set(id, at);
      chain.push(id);
    }
    chain.push(edge.to);
    chains.push(chain);
    for (let j = 1; j < chain.length; j++) links.push([chain[j - 1], chain[j]]);
  });
  return {chains, links};
}

function order(rank, links) {
  const layers = [];
  for (const [id, at] of rank) (layers[at] ??= []).push(id);
  const before = new Map(), after = new Map();
  for (const [from, to] of links) {
    (before.get(to) ?? before.set(to, []).get(to)).push(from);
    (after.get(from) ?? after.set(from, []).get(from)).push(to);
  }
  const place = new Map();
  const number = layer => layer.forEach((id, i) => place.set(id, i - layer.length / 2));
  layers.forEach(number);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const forward = sweep % 2 === 0;
    for (const layer of forward ? layers : [...layers].reverse()) {
      const near = forward ? before : after;
      const weight = new Map(layer.map(id => {
        const others = near.get(id) ?? [];
        return [id, others.length ? others.reduce((sum, other) => sum + place.get(other), 0) / others.length : place.get(id)];
      }));
      layer.sort((a, b) => weight.get(a) - weight.get(b));
      number(layer);
    }
  }
  return layers;
}

/**
 * Lays out a level. Gives `{width, height, nodes: [{…node, x, y}], edges: [{…edge, points, back}]}` where x, y are the
 * left top of boxes of `size` = `{width, height, gapX, gapY, bend}`.
 */
export function layout(level, size) {
  const ids = level.nodes.map(node => node.id);
  const proper = level.edges.filter(edge => edge.from !== edge.to);
  const back = markBack(ids, proper);
  const turned = proper.map(edge => (back.has(edge) ? {from: edge.to, to: edge.from} : edge));
  const rank = rankAll(ids, turned);
  const {chains, links} = bend(turned, rank);
  const layers = order(rank, links);
  const isBend = id => id.startsWith('bend ');
  const tall = layers.map(layer => layer.reduce((sum, id) => sum + (isBend(id) ? size.bend : size.height) + size.gapY, -size.gapY));
  const height = Math.max(size.height, ...tall);
  const at = new Map();
  layers.forEach((layer, i) => {
    let y = (height - tall[i]) / 2;
    for (const id of layer) {
      at.set(id, {x: i * (size.width + size.gapX), y});
      y += (isBend(id) ? size.bend : size.height) + size.gapY;
    }
  });
  const middle = id => at.get(id).y + (isBend(id) ? size.bend : size.height) / 2;
  const points = chain => chain.flatMap((id, i) => {
    const left = {x: at.get(id).x, y: middle(id)}, right = {x: at.get(id).x + size.width, y: middle(id)};
    return i === 0 ? [right] : i === chain.length - 1 ? [left] : [left, right];
  });
  return {
    width: Math.max(1, layers.length) * (size.width + size.gapX) - size.gapX, height,
    nodes: level.nodes.map(node => ({...node, ...at.get(node.id)})),
    edges: proper.map((edge, i) => ({...edge, back: back.has(edge), points: points(chains[i])})),
  };
}
