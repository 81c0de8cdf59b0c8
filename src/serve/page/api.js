// Requests to the server: JSON with errors turned into ApiError, and the building of addresses.

import {syncClock} from './clock.js';

/** An error as the server describes it; `status` 0 means that the server could not be reached. */
export class ApiError extends Error {
  constructor(status, message, {code = 'unknown', parameter, retryAfterMs} = {}) {
    super(message);
    Object.assign(this, {status, code, parameter, retryAfterMs});
  }
}

/** Turns an answer that is not OK into an ApiError. */
export async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const seconds = Number(response.headers.get('retry-after'));
  const message = body?.error?.message ?? `the server answered with status ${response.status}`;
  return new ApiError(response.status, message, {
    code: body?.error?.code, parameter: body?.error?.parameter, retryAfterMs: seconds > 0 ? seconds * 1000 : undefined,
  });
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, {credentials: 'same-origin', cache: 'no-store', ...options});
  } catch (cause) {
    if (cause.name === 'AbortError') throw cause;
    throw new ApiError(0, 'the server can not be reached; check the network');
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** GETs JSON. */
export const getJson = async (path, signal) => (await request(path, {signal})).json();

/** Who is signed in, and the server's clock (which it synchronizes). */
export async function getSession() {
  const sentAt = Date.now();
  const session = await getJson('/api/v1/session');
  syncClock(session.now, sentAt, Date.now());
  return session;
}

/** Signs in with a token; throws an ApiError with status 401 if it is wrong. */
export const signIn = token =>
  request('/api/v1/session', {method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify({token})});

/** Signs out. */
export const signOut = () => request('/api/v1/session', {method: 'DELETE'});

/** Parameters as a query string; arrays repeat the name, null and undefined are left out, '' is kept. */
export function parameters(values) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined) search.append(name, one);
    }
  }
  return search.toString();
}

/** `table?parameters`, as the stream takes it. */
export const query = (table, values) => `${table}?${parameters(values)}`;

/** The address of a table for a plain request or a download. */
export const tableUrl = (table, values) => `/api/v1/tables/${query(table, values)}`;
