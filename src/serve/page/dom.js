// Small helpers to build and patch DOM; every text from data goes through textContent here.

const SVG = 'http://www.w3.org/2000/svg';

function apply(node, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') Object.entries(value).forEach(([type, fn]) => node.addEventListener(type, fn));
    else if (name === 'data') Object.entries(value).forEach(([key, v]) => v !== undefined && (node.dataset[key] = v));
    else if (name === 'text') node.textContent = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  return node;
}

/** Makes an HTML element: `h('td', {class: 'num', data: {column: 'ctr'}}, child, …)`. */
export function h(tag, props, ...children) {
  const node = apply(document.createElement(tag), props);
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

/** Makes an SVG element. */
export function svg(tag, props, ...children) {
  const node = apply(document.createElementNS(SVG, tag), props);
  node.append(...children.flat().filter(Boolean));
  return node;
}

/** Sets the text only if it differs, so that unchanged cells cost no layout. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets or (with null) removes an attribute only if it differs. */
export function setAttr(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Sets `data-value` to the exact raw value; an absent value is the empty string. */
export function setValue(node, value) {
  setAttr(node, 'data-value', value ?? '');
}

const known = new WeakMap();

/**
 * Makes the children of `parent` match `items`, reusing nodes by key so that focus and scroll stay.
 * `create(item)` makes a node, `update(node, item, index)` fills it.
 */
export function patchKeyed(parent, items, keyOf, create, update) {
  const old = known.get(parent) ?? new Map();
  const next = new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  items.forEach((item, index) => {
    const key = keyOf(item);
    const node = old.get(key) ?? create(item);
    next.set(key, node);
    update?.(node, item, index);
  });
  for (const [key, node] of old) if (!next.has(key)) node.remove();
  let place = parent.firstChild;
  for (const node of next.values()) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  known.set(parent, next);
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({preventScroll: true});
}

/** Replaces all children of a node. */
export function fill(node, ...children) {
  known.delete(node);
  node.replaceChildren(...children.flat().filter(Boolean));
}

/** A decorative icon from a path drawn on a 16 × 16 grid. */
export function icon(path) {
  return svg('svg', {class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true'}, svg('path', {d: path}));
}
