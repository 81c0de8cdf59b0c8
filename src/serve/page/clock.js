// The server's clock, estimated from `session.now`: "how old" never trusts the browser's clock alone.

const AGAIN_MS = 300_000, CHECK_MS = 1_000, JUMP_MS = 1_000;
let offset = 0;

/** Takes the server's time as answered to a request that was sent and received at these browser times. */
export function syncClock(serverNow, sentAt, receivedAt) {
  offset = serverNow - (sentAt + receivedAt) / 2;
}

/** Asks for the server's clock again from time to time, when the page is shown and when the browser's clock jumped (sleep, a clock set). */
export function keepClock(ask) {
  const again = () => document.hidden || ask().catch(() => null);
  let drift = Date.now() - performance.now();
  setInterval(again, AGAIN_MS);
  setInterval(() => {
    const now = Date.now() - performance.now();
    if (Math.abs(now - drift) > JUMP_MS) again();
    drift = now;
  }, CHECK_MS);
  document.addEventListener('visibilitychange', again);
}

/** The server's time now, in epoch milliseconds. */
export const serverNow = () => Date.now() + offset;
