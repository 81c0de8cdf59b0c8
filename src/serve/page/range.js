// Ranges of time: "last 24 h" made absolute from the watermark, the range before, and the steps that suit.

export const MINUTE = 60_000;
export const HOUR = 3_600_000;
export const DAY = 86_400_000;
/** The sizes of windows by name of step. */
export const STEP_MS = {minute: MINUTE, hour: HOUR, day: DAY};

/** Relative ranges. `grid`: the range moves on when the watermark enters a new one of these. */
export const RANGES = {
  '1h': {label: 'Last hour', short: '1 h', length: HOUR, grid: MINUTE, step: 'minute'},
  '6h': {label: 'Last 6 hours', short: '6 h', length: 6 * HOUR, grid: MINUTE, step: 'minute'},
  '24h': {label: 'Last 24 hours', short: '24 h', length: DAY, grid: HOUR, step: 'minute'},
  '7d': {label: 'Last 7 days', short: '7 d', length: 7 * DAY, grid: HOUR, step: 'hour'},
  '30d': {label: 'Last 30 days', short: '30 d', length: 30 * DAY, grid: DAY, step: 'hour'},
};

/** Rounds down to a whole multiple of `size`. */
export const floorTo = (ms, size) => Math.floor(ms / size) * size;
/** Rounds up to a whole multiple of `size`. */
export const ceilTo = (ms, size) => Math.ceil(ms / size) * size;

/** The absolute range `{since, until}` of the page's state, or null while there is no watermark. */
export function resolveRange({range, since, until}, watermark) {
  if (range === 'custom' && since !== null && until !== null && until > since) return widen({since, until}, MINUTE);
  if (watermark === null || watermark === undefined) return null;
  const {length, grid} = RANGES[range] ?? RANGES['24h'];
  const end = floorTo(watermark, grid) + grid;
  return {since: end - length, until: end};
}

/** The range widened to whole windows of a table. */
export const widen = ({since, until}, windowMs) => ({since: floorTo(since, windowMs), until: ceilTo(until, windowMs)});

/**
 * The range before, of the same length. While the current range is not over (the watermark is inside it),
 * the one before is cut at the same point, so that like is compared with like.
 * The cut moves in coarse steps, because each move costs a new subscription.
 */
export function previousRange({since, until}, watermark, windowMs = MINUTE) {
  const length = until - since;
  const cut = Math.max(windowMs, length > DAY ? HOUR : length > 6 * HOUR ? 5 * MINUTE : MINUTE);
  const gone = watermark === null || watermark >= until ? length : Math.round((watermark - since) / cut) * cut;
  return {since: since - length, until: since - length + Math.min(length, Math.max(cut, gone))};
}

/** The step the trend uses: the wished one if it is not finer than the table's window nor gives too many points. */
export function trendStep({since, until}, wished, windowMs = MINUTE) {
  const length = until - since;
  const fits = step => STEP_MS[step] >= windowMs && length / STEP_MS[step] <= 3_000 && length / STEP_MS[step] >= 1;
  if (wished && fits(wished)) return wished;
  const natural = length <= DAY ? 'minute' : length <= 31 * DAY ? 'hour' : 'day';
  return ['minute', 'hour', 'day'].slice(['minute', 'hour', 'day'].indexOf(natural)).find(fits) ?? 'day';
}

/** The steps one may choose for a range. */
export const possibleSteps = (range, windowMs) => Object.keys(STEP_MS).filter(step => trendStep(range, step, windowMs) === step);

/** The starts of all windows of a range, up to the one the watermark is in. */
export function windowStarts({since, until}, step, watermark) {
  const size = STEP_MS[step];
  const end = watermark === null ? until : Math.min(until, floorTo(watermark, size) + size);
  const starts = [];
  for (let at = floorTo(since, size); at < end; at += size) starts.push(at);
  return starts;
}
