// A strip of facts: name, value and a line below.

import {h, setAttr, setText, setValue} from './dom.js';

/** Makes a strip from `{id: label}`; `update({id: {text, value, detail}})` fills it. */
export function createFacts(names) {
  const parts = Object.entries(names).map(([id, label]) => {
    const value = h('span', {data: {testid: `fact-${id}`}}), detail = h('div', {class: 'fact-detail'});
    return {id, value, detail, el: h('div', {class: 'fact'}, h('dt', {text: label}), h('dd', {}, value, detail))};
  });
  const el = h('dl', {class: 'facts'}, parts.map(part => part.el));
  return {el, update: facts => parts.forEach(({id, value, detail}) => {
    setText(value, facts[id].text);
    setValue(value, facts[id].value);
    setText(detail, facts[id].detail ?? '');
    setAttr(detail, 'title', facts[id].detail);
  })};
}
