// A button that opens a panel below itself; Esc or a click elsewhere closes it (the browser's popover).

import {h} from './dom.js';

const GAP = 6;

/** Gives `{button, panel, close}`; `onOpen()` runs each time before the panel is shown. */
export function createPopover({id, label, className = '', onOpen}) {
  const panel = h('div', {class: `popover ${className}`, id, popover: 'auto', role: 'dialog', 'aria-label': label});
  const button = h('button', {class: 'button', type: 'button', popovertarget: id, 'aria-haspopup': 'dialog'});
  panel.addEventListener('beforetoggle', event => event.newState === 'open' && onOpen?.());
  panel.addEventListener('toggle', event => {
    if (event.newState !== 'open') return;
    place(panel, button);
    panel.querySelector('input, select, button')?.focus();
  });
  addEventListener('resize', () => panel.matches(':popover-open') && place(panel, button));
  return {button, panel, close: () => panel.matches(':popover-open') && panel.hidePopover()};
}

function place(panel, button) {
  const at = button.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - panel.offsetWidth - 8));
  const below = innerHeight - at.bottom - GAP - 8;
  panel.style.left = `${left}px`;
  panel.style.top = `${at.bottom + GAP}px`;
  panel.style.maxHeight = `${Math.max(220, below)}px`;
}
