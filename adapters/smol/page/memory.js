/**
 * Owns what is remembered in this browser: the name, the rooms one is in, and the one looked at.
 * Storage may be missing, forbidden, full, or hold what somebody else wrote: every access is guarded,
 * and what makes no sense counts as absent.
 */

const NAME = 'parlor.name';
const ROOMS = 'parlor.rooms';
const CURRENT = 'parlor.current';

/** The server lets a connection into 100 rooms. More in storage is rubbish. */
const ROOMS_AT_MOST = 100;

/** Longer than any name or room (64 scalar values, two UTF-16 units each): more is rubbish. */
const LENGTH_AT_MOST = 128;

/** @param {unknown} value */
const isName = (value) =>
  typeof value === 'string' && value.length > 0 && value.length <= LENGTH_AT_MOST;

/** What is remembered from visit to visit. */
export class Memory {
  /** @type {Storage | undefined} */
  #storage;

  /**
   * @param {() => Storage} open gives the storage; may throw, as `localStorage` does when cookies
   *   are blocked
   */
  constructor(open) {
    try {
      this.#storage = open() ?? undefined;
    } catch {
      this.#storage = undefined;
    }
  }

  /**
   * The storage for others to use, with every access guarded.
   * @returns {Pick<Storage, 'getItem' | 'setItem'>}
   */
  get storage() {
    return {
      getItem: (key) => this.#read(key),
      setItem: (key, value) => this.#write(key, value),
    };
  }

  /** @returns {string | undefined} */
  get name() {
    const name = this.#read(NAME);
    return isName(name) ? name : undefined;
  }

  set name(name) {
    this.#write(NAME, name);
  }

  /** @returns {string[]} */
  get rooms() {
    try {
      const rooms = JSON.parse(this.#read(ROOMS) ?? '[]');
      return Array.isArray(rooms) ? [...new Set(rooms.filter(isName))].slice(0, ROOMS_AT_MOST) : [];
    } catch {
      return [];
    }
  }

  /** @returns {string | undefined} */
  get current() {
    const room = this.#read(CURRENT);
    return isName(room) ? room : undefined;
  }

  set current(room) {
    this.#write(CURRENT, room ?? '');
  }

  /**
   * Remembers a room. Read, changed and written at once, for another tab may have joined others.
   * @param {string} room
   */
  add(room) {
    const rooms = this.rooms;
    if (!rooms.includes(room)) this.#write(ROOMS, JSON.stringify([...rooms, room].slice(-ROOMS_AT_MOST)));
  }

  /** @param {string} room */
  remove(room) {
    this.#write(ROOMS, JSON.stringify(this.rooms.filter((other) => other !== room)));
  }

  /** @param {string} key */
  #read(key) {
    try {
      return this.#storage?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  /** @param {string} key @param {string} value */
  #write(key, value) {
    try {
      this.#storage?.setItem(key, value);
    } catch {
      // A full or forbidden storage forgets; the chat goes on.
    }
  }
}
