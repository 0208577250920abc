/**
 * Owns what is remembered: in this browser the name, the rooms one is in, and the one looked at; in
 * this tab alone the token, which lets in whoever has it. Storage may be missing, forbidden, full, or
 * hold what somebody else wrote: every access is guarded, and what makes no sense counts as absent.
 */

const NAME = 'parlor.name';
const ROOMS = 'parlor.rooms';
const CURRENT = 'parlor.current';
const TOKEN = 'parlor.token';

/** The server lets a connection into 100 rooms. More in storage is rubbish. */
const ROOMS_AT_MOST = 100;

/** Longer than any name or room (64 scalar values, two UTF-16 units each): more is rubbish. */
const LENGTH_AT_MOST = 128;

/** The server takes no token that is longer. */
export const TOKEN_AT_MOST = 8192;

/** @param {unknown} value */
const isName = (value) =>
  typeof value === 'string' && value.length > 0 && value.length <= LENGTH_AT_MOST;

/** @param {string} token */
const isToken = (token) => token.length > 0 && token.length <= TOKEN_AT_MOST;

/** A storage with every access guarded. */
class Guarded {
  /** @type {Storage | undefined} */
  #storage;

  /** @param {() => Storage} open gives the storage; may throw, as they do when cookies are blocked */
  constructor(open) {
    try {
      this.#storage = open() ?? undefined;
    } catch {
      this.#storage = undefined;
    }
  }

  /** @param {string} key @returns {string | null} */
  getItem(key) {
    try {
      return this.#storage?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  /** @param {string} key @param {string} value */
  setItem(key, value) {
    try {
      this.#storage?.setItem(key, value);
    } catch {
      // A full or forbidden storage forgets; the chat goes on.
    }
  }

  /** @param {string} key */
  removeItem(key) {
    try {
      this.#storage?.removeItem(key);
    } catch {
      // Where nothing can be changed, nothing was written.
    }
  }
}

/** What is remembered from visit to visit. */
export class Memory {
  #browser;
  #tab;

  /**
   * @param {() => Storage} browser gives what all tabs share and what stays, `localStorage`
   * @param {() => Storage} tab gives what ends with the tab, `sessionStorage`
   */
  constructor(browser, tab) {
    this.#browser = new Guarded(browser);
    this.#tab = new Guarded(tab);
  }

  /**
   * The browser's storage for others to use, with every access guarded.
   * @returns {Pick<Storage, 'getItem' | 'setItem'>}
   */
  get storage() {
    return this.#browser;
  }

  /** @returns {string | undefined} */
  get token() {
    const token = this.#tab.getItem(TOKEN) ?? '';
    return isToken(token) ? token : undefined;
  }

  set token(token) {
    // One that cannot be kept does not leave another one in its place.
    this.#tab.removeItem(TOKEN);
    if (token !== undefined) this.#tab.setItem(TOKEN, token);
  }

  /** @returns {string | undefined} */
  get name() {
    const name = this.#browser.getItem(NAME);
    return isName(name) ? name : undefined;
  }

  set name(name) {
    this.#browser.setItem(NAME, name);
  }

  /** @returns {string[]} */
  get rooms() {
    try {
      const rooms = JSON.parse(this.#browser.getItem(ROOMS) ?? '[]');
      return Array.isArray(rooms) ? [...new Set(rooms.filter(isName))].slice(0, ROOMS_AT_MOST) : [];
    } catch {
      return [];
    }
  }

  /** @returns {string | undefined} */
  get current() {
    const room = this.#browser.getItem(CURRENT);
    return isName(room) ? room : undefined;
  }

  set current(room) {
    this.#browser.setItem(CURRENT, room ?? '');
  }

  /**
   * Remembers a room. Read, changed and written at once, for another tab may have joined others.
   * @param {string} room
   */
  add(room) {
    const rooms = this.rooms;
    if (!rooms.includes(room)) this.#browser.setItem(ROOMS, JSON.stringify([...rooms, room].slice(-ROOMS_AT_MOST)));
  }

  /** @param {string} room */
  remove(room) {
    this.#browser.setItem(ROOMS, JSON.stringify(this.rooms.filter((other) => other !== room)));
  }
}
