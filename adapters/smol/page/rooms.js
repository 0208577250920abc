/**
 * Owns what is known of each room: its people, its messages, what is on its way, what is unread.
 * Pure: no DOM, no clock, no network; it is told what happened and answers questions.
 *
 * The messages of a room are in `entries`, oldest first: those of former epochs, then those of the
 * present one, which are contiguous in `seq`. So a message is there once, by epoch and seq, and
 * whatever is missing is older than the first one of the present epoch.
 */

/** @typedef {import('./parlor-client.js').Message} Message */

/** Messages kept of the room looked at: as many as a browser lays out without being felt. */
export const KEEP_IN_VIEW = 2000;

/** And while somebody reads far above, so that nothing moves under their eyes. */
export const KEEP_AT_MOST = 4000;

/** Messages kept of a room not looked at: a hundred of them stay small. The server has more. */
export const KEEP_ASIDE = 300;

/** Failed messages that may wait in a room. Beyond it one has to retry or discard some. */
export const FAILED_AT_MOST = 50;

/** Rooms listed that one is not in. A longer list is not read; a room is joined by name as well. */
export const LISTED_AT_MOST = 200;

/** A retry with the same id is recognised by the server, if the message was stored after all. */
const RETRY_WITH_SAME_ID = new Set(['STORE_UNAVAILABLE', 'SERVER_SHUTDOWN', 'CLOSED']);

/**
 * A message of one's own that has no place in the log yet.
 * @typedef {object} Outgoing
 * @property {string} id the clientMsgId
 * @property {string} text
 * @property {number} at when it was sent, in milliseconds
 * @property {string} as under which name
 * @property {'pending' | 'sent' | 'failed'} state sent: stored, its message event is to come
 * @property {string} [reason] why it failed, a sentence
 * @property {string} [code] why it failed, for programs
 * @property {{ epoch: string, seq: number }} [place] once it is stored
 * @property {boolean} [twin] a message that came is probably this one
 */

/** One room. */
export class Room {
  /** @type {'joining' | 'in' | 'out'} out: the server refused, `problem` says why */
  state = 'joining';
  problem = '';
  /** @type {string[]} */
  users = [];
  userCount = 0;
  /** @type {string[]} */
  typing = [];
  /** @type {Message[]} */
  entries = [];
  /** @type {Outgoing[]} */
  outgoing = [];
  unread = 0;
  /** The first message that came while nobody looked, if that is to be shown. */
  /** @type {{ epoch: string, seq: number } | undefined} */
  mark;
  /** What is typed and not sent. */
  draft = '';
  /** @type {'idle' | 'loading' | 'failed'} of older messages */
  older = 'idle';

  /** @type {string | undefined} */
  #epoch;
  /** How many of `entries` are of former epochs. */
  #former = 0;
  /** The last seq that the server told, for when there are no entries. */
  #tip = 0;
  /** Below this seq the server has nothing. */
  #floor = 1;
  /** Whether replayed messages are ones that were missed, rather than ones from before. */
  #returned = false;
  #markSeen = false;
  #keep = KEEP_ASIDE;

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /** The present epoch, once the room was joined. */
  get epoch() {
    return this.#epoch;
  }

  /** The seq of the oldest message of the present epoch, or what it would be. */
  get oldest() {
    return this.entries[this.#former]?.seq ?? this.#tip + 1;
  }

  /** Whether the server may have older messages. */
  get hasOlder() {
    return this.#epoch !== undefined && this.oldest > this.#floor;
  }

  /** Whether older messages may be loaded: what is too much for this page is not asked for. */
  get hasSpace() {
    return this.entries.length < KEEP_AT_MOST;
  }

  /** How many entries stand before those of the present epoch. */
  get formerCount() {
    return this.#former;
  }

  /** From where on a new connection is to go on. */
  get since() {
    const last = this.entries.at(-1);
    return last && { epoch: last.epoch, seq: last.seq };
  }

  get failedCount() {
    return this.outgoing.filter((one) => one.state === 'failed').length;
  }

  /** @param {import('./parlor-client.js').Joined} joined */
  joined({ users, userCount, epoch, seq, rejoined }) {
    this.state = 'in';
    this.problem = '';
    this.people({ users, userCount });
    this.typing = [];
    this.#returned = rejoined || this.entries.length > 0;
    if (epoch !== this.#epoch) this.#beginEpoch(epoch);
    this.#tip = Math.max(this.#tip, seq);
    if (this.older === 'failed') this.older = 'idle';
    this.#settle();
  }

  /** @param {string} problem a sentence */
  refused(problem) {
    this.state = 'out';
    this.problem = problem;
    this.users = [];
    this.userCount = 0;
    this.typing = [];
  }

  /** @param {{ users: string[], userCount: number }} presence */
  people({ users, userCount }) {
    this.users = users;
    this.userCount = userCount;
  }

  /**
   * A message came.
   * @param {Message} message
   * @param {boolean} looking whether somebody looks at this room
   * @returns {boolean} whether it is new to the one who looks
   */
  message(message, looking) {
    if (message.epoch !== this.#epoch) this.#beginEpoch(message.epoch);
    const last = this.#last();
    const known = last !== undefined && message.seq <= last.seq;
    if (!known) {
      // The client tells of a gap before; this holds the order even if it did not.
      if (last !== undefined && message.seq !== last.seq + 1) this.#forgetPresent();
      this.entries.push(message);
      this.#tip = Math.max(this.#tip, message.seq);
    }
    this.#recognise(message, known);
    this.#settle();
    if (known) return false;
    const news = !message.own && (!message.replayed || this.#returned);
    if (looking && this.#markSeen) this.#unmark();
    if (news && !looking) {
      this.unread += 1;
      this.mark ??= { epoch: message.epoch, seq: message.seq };
      this.#markSeen = false;
    }
    this.trim(this.#keep);
    return news;
  }

  /**
   * Messages were missed. In the same epoch, what was loaded before them is forgotten: then the log
   * is contiguous, and scrolling up loads what was missed. Another epoch stands behind a mark.
   * @param {{ last: { epoch: string, seq: number }, next: { epoch: string, seq: number } }} gap
   */
  gap({ last, next }) {
    if (next.epoch !== this.#epoch) this.#beginEpoch(next.epoch);
    if (last.epoch === next.epoch) this.#forgetPresent();
    this.#tip = Math.max(this.#tip, next.seq - 1);
    this.#settle();
  }

  /**
   * Puts what history gave before what is there, if it fits on.
   * @param {{ epoch: string, messages: Message[], hasMore: boolean }} page
   * @param {number} before which seq it was asked for
   */
  addOlder({ epoch, messages, hasMore }, before) {
    this.older = 'idle';
    // Meanwhile messages came in or were dropped there: asking again, from the oldest, mends it.
    if (epoch !== this.#epoch || before !== this.oldest) return;
    const older = messages.filter((message) => message.epoch === epoch && message.seq < before);
    const fits = older.length === 0 || older.at(-1).seq === before - 1;
    if (!fits) {
      this.older = 'failed';
      return;
    }
    this.entries.splice(this.#former, 0, ...older);
    if (!hasMore) this.#floor = this.oldest;
    // More, but nothing that is older: asking again at once would ask for ever.
    else if (older.length === 0) this.older = 'failed';
  }

  /**
   * One's own message is on its way.
   * @param {{ id: string, text: string, at: number, as: string }} message
   */
  sending({ id, text, at, as }) {
    this.outgoing.push({ id, text, at, as, state: 'pending' });
    this.#unmark();
  }

  /**
   * The server stored it.
   * @param {string} id
   * @param {{ epoch: string, seq: number }} place
   */
  sent(id, { epoch, seq }) {
    const one = this.outgoing.find((other) => other.id === id);
    if (one === undefined) return;
    one.state = 'sent';
    one.twin = false;
    one.place = { epoch, seq };
    this.#settle();
  }

  /**
   * It was not stored, or nobody knows.
   * @param {string} id
   * @param {{ code: string, reason: string }} why
   */
  failed(id, { code, reason }) {
    const one = this.outgoing.find((other) => other.id === id && other.state === 'pending');
    if (one === undefined) return;
    one.state = 'failed';
    one.twin = false;
    one.code = code;
    one.reason = reason;
  }

  /**
   * Takes a failed message out: to discard it, or to send it again.
   * @param {string} id
   * @returns {Outgoing | undefined}
   */
  take(id) {
    const one = this.outgoing.find((other) => other.id === id && other.state === 'failed');
    if (one !== undefined) this.outgoing = this.outgoing.filter((other) => other !== one);
    return one;
  }

  /** Somebody looks at this room. */
  looked() {
    this.unread = 0;
  }

  /** The end of the log was in view: the mark goes with the next message, or when one turns away. */
  seen() {
    if (this.mark !== undefined) this.#markSeen = true;
  }

  /** One turned to this room. */
  entered() {
    this.#keep = KEEP_AT_MOST;
  }

  /** One turned to another room. */
  left() {
    this.#keep = KEEP_ASIDE;
    if (this.#markSeen) this.#unmark();
    this.trim(KEEP_ASIDE);
  }

  /**
   * Drops the oldest beyond so many.
   * @param {number} keep
   */
  trim(keep) {
    const excess = this.entries.length - keep;
    if (excess <= 0) return;
    this.entries.splice(0, excess);
    this.#former = Math.max(0, this.#former - excess);
  }

  #last() {
    return this.entries.length > this.#former ? this.entries.at(-1) : undefined;
  }

  /** @param {string} epoch */
  #beginEpoch(epoch) {
    this.#epoch = epoch;
    this.#former = this.entries.length;
    this.#tip = 0;
    this.#floor = 1;
  }

  #forgetPresent() {
    this.entries.length = this.#former;
    if (this.mark?.epoch === this.#epoch) this.mark = undefined;
  }

  #unmark() {
    this.mark = undefined;
    this.#markSeen = false;
  }

  /**
   * Takes away the outgoing message that came back. One recovered after a reconnect bears no id: the
   * first of the same text is hidden until the answer to it tells.
   * @param {Message} message @param {boolean} known
   */
  #recognise(message, known) {
    if (!message.own) return;
    const { clientMsgId, text } = message;
    if (clientMsgId !== undefined) {
      this.outgoing = this.outgoing.filter((one) => one.id !== clientMsgId);
    } else if (!known && this.#returned) {
      const twin = this.outgoing.find((one) => one.state === 'pending' && !one.twin && one.text === text);
      if (twin !== undefined) twin.twin = true;
    }
  }

  /** Takes away what was sent and is in the log, or was there and is forgotten. */
  #settle() {
    const last = this.#last()?.seq ?? 0;
    this.outgoing = this.outgoing.filter(({ state, place }) =>
      state !== 'sent' || (place.epoch === this.#epoch && place.seq > last));
  }
}

/**
 * Whether the id of a failed message is the right one to send it again with.
 * @param {Outgoing} outgoing
 * @param {string} name who sends now
 */
export function keepsId({ code, as }, name) {
  return as === name && RETRY_WITH_SAME_ID.has(code);
}

/** All rooms, and which one is looked at. */
export class Rooms {
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  /** @type {{ id: string, userCount: number }[]} */
  #listed = [];
  /** @type {Room | undefined} */
  current;

  /** @param {string} name */
  find(name) {
    return this.#rooms.get(name);
  }

  /** The room of that name, which from here on is one of ours. @param {string} name */
  ensure(name) {
    const room = this.#rooms.get(name) ?? new Room(name);
    this.#rooms.set(name, room);
    return room;
  }

  /** @param {string} name */
  remove(name) {
    if (this.current?.name === name) this.current = undefined;
    this.#rooms.delete(name);
  }

  /** Turns to a room. @param {Room | undefined} room */
  turnTo(room) {
    if (room === this.current) return;
    this.current?.left();
    this.current = room;
    room?.entered();
  }

  /** The rooms that the server says are open. @param {{ id: string, userCount: number }[]} rooms */
  list(rooms) {
    this.#listed = rooms;
  }

  /** One's own rooms, by name. @returns {Room[]} */
  get own() {
    return [...this.#rooms.values()].sort((a, b) => compare(a.name, b.name));
  }

  /** Open rooms that one is not in, the liveliest first. */
  get others() {
    const others = this.#listed.filter(({ id }) => !this.#rooms.has(id));
    others.sort((a, b) => b.userCount - a.userCount || compare(a.id, b.id));
    return { rooms: others.slice(0, LISTED_AT_MOST), more: Math.max(0, others.length - LISTED_AT_MOST) };
  }

  get unread() {
    let unread = 0;
    for (const room of this.#rooms.values()) unread += room.unread;
    return unread;
  }

  /** Whether something would be lost with the page. */
  get hasUnsent() {
    return [...this.#rooms.values()].some(({ outgoing }) => outgoing.some(({ state }) => state !== 'sent'));
  }
}

const { compare } = new Intl.Collator(undefined, { numeric: true });
