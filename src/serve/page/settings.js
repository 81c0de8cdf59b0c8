// What the reader prefers on this device: theme and time zone, kept in local storage.

const PREFIX = 'advertisex.';
const listeners = new Set();

/** Reads a preference; `fallback` if there is none or storage is forbidden. */
export function preference(name, fallback) {
  try {
    return localStorage.getItem(PREFIX + name) ?? fallback;
  } catch {
    return fallback;
  }
}

/** Stores a preference and tells all who listen. */
export function setPreference(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // The choice then lasts as long as the page.
  }
  listeners.forEach(listener => listener(name, value));
}

/** Calls `listener(name, value)` after each change of a preference. */
export function onPreference(listener) {
  listeners.add(listener);
}
