// Grey shapes in the place of what is still loading.

import {h} from './dom.js';

const block = size => h('div', {class: `skeleton ${size}`});

/** Shapes for a view. */
export function skeleton(view) {
  const parts = view === 'overview' ? [h('div', {class: 'tiles'}, Array.from({length: 10}, () => block('tile-shape'))), block('tall'), block('tall')] : [block('tall'), block('tall')];
  return h('div', {class: 'view', 'aria-busy': 'true'}, h('p', {class: 'visually-hidden', text: 'Loading'}), parts);
}
