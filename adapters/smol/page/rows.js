/**
 * Owns what the log of a room shows, row by row: who is grouped with whom, where a day begins, where
 * the marks stand. Pure: a room in, rows out; log.js turns them into elements.
 *
 * The key of a row names it for as long as it is there; that of a message is its epoch and seq.
 */

/** @typedef {import('./rooms.js').Room} Room */

/** Messages of one author within this time stand together, in milliseconds. */
export const GROUP_MILLIS = 5 * 60_000;

/**
 * @typedef {{ key: string, kind: 'older', state: 'idle' | 'loading' | 'failed' | 'full' }
 *   | { key: string, kind: 'start', whole: boolean }
 *   | { key: string, kind: 'day', timestamp: number }
 *   | { key: string, kind: 'lost' }
 *   | { key: string, kind: 'new' }
 *   | { key: string, kind: 'message', message: import('./parlor-client.js').Message, first: boolean }
 *   | { key: string, kind: 'outgoing', outgoing: import('./rooms.js').Outgoing, first: boolean }} Row
 */

/**
 * The rows of a room, top to bottom.
 * @param {Room} room
 * @returns {Row[]}
 */
export function rowsOf(room) {
  /** @type {Row[]} */
  const rows = [];
  /** @type {{ from: string, timestamp: number } | undefined} */
  let before;
  let day = '';
  const put = (from, timestamp, key) => {
    const today = dayOf(timestamp);
    if (today !== day) rows.push({ key: `day ${key}`, kind: 'day', timestamp });
    const apart = rows.at(-1)?.kind !== 'message' && rows.at(-1)?.kind !== 'outgoing';
    const first = apart || before?.from !== from || Math.abs(timestamp - before.timestamp) > GROUP_MILLIS;
    day = today;
    before = { from, timestamp };
    return first;
  };
  room.entries.forEach((message, index) => {
    const { epoch, seq, from, timestamp } = message;
    const key = `${epoch} ${seq}`;
    const earlier = room.entries[index - 1];
    if (index === room.formerCount) rows.push(...topOf(room));
    else if (earlier !== undefined && earlier.epoch !== epoch) rows.push({ key: `lost ${epoch}`, kind: 'lost' });
    if (room.mark?.epoch === epoch && room.mark.seq === seq) rows.push({ key: 'new', kind: 'new' });
    const first = put(from, timestamp, key);
    rows.push({ key, kind: 'message', message, first });
  });
  if (room.entries.length === room.formerCount) rows.push(...topOf(room));
  for (const outgoing of room.outgoing) {
    if (outgoing.twin) continue;
    const key = `outgoing ${outgoing.id}`;
    const first = put(outgoing.as, outgoing.at, key);
    rows.push({ key, kind: 'outgoing', outgoing, first });
  }
  return rows;
}

/**
 * What stands above the messages of the present epoch: that the earlier epoch is lost, and what is
 * known of older messages.
 * @param {Room} room
 * @returns {Row[]}
 */
function topOf(room) {
  /** @type {Row[]} */
  const rows = [];
  if (room.formerCount > 0) rows.push({ key: `lost ${room.epoch}`, kind: 'lost' });
  if (room.hasOlder) rows.push({ key: 'older', kind: 'older', state: room.hasSpace ? room.older : 'full' });
  else if (room.formerCount === 0 && room.state === 'in') {
    rows.push({ key: 'start', kind: 'start', whole: room.oldest === 1 });
  }
  return rows;
}

/** The local day of a time. @param {number} timestamp */
function dayOf(timestamp) {
  const date = new Date(timestamp);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}
