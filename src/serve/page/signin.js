// The sign-in dialog: asks for a token, signs in, and tells the page.

import {signIn} from './api.js';
import {h, setText} from './dom.js';

/** Makes the dialog; `open()` shows it, `onSignedIn` is called after success. */
export function createSignIn(onSignedIn) {
  const input = h('input', {type: 'password', id: 'token', name: 'token', autocomplete: 'current-password', required: true, 'aria-describedby': 'token-error'});
  const error = h('p', {class: 'field-error', id: 'token-error', role: 'alert'});
  const submit = h('button', {class: 'button primary', type: 'submit', text: 'Sign in'});
  const form = h('form', {method: 'dialog'},
    h('h2', {id: 'signin-title', text: 'Sign in'}),
    h('p', {class: 'muted', text: 'Paste the token that an admin of AdvertiseX gave you. It is kept in a cookie that scripts can not read.'}),
    h('label', {for: 'token', text: 'Token'}), input, error,
    h('div', {class: 'dialog-actions'}, h('button', {class: 'button', type: 'button', text: 'Not now', on: {click: () => dialog.close()}}), submit));
  const dialog = h('dialog', {class: 'dialog', 'aria-labelledby': 'signin-title', data: {testid: 'signin'}}, form);
  document.body.append(dialog);

  form.addEventListener('submit', async event => {
    event.preventDefault();
    submit.disabled = true;
    setText(error, '');
    try {
      await signIn(input.value.trim());
      input.value = '';
      dialog.close();
      onSignedIn();
    } catch (cause) {
      setText(error, cause.status === 401 ? 'This token is not known. Check it, or ask an admin for a new one.' : `Signing in failed: ${cause.message}.`);
      input.focus();
    }
    submit.disabled = false;
  });
  return {open: () => dialog.open || dialog.showModal()};
}
