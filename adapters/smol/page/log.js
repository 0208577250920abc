/**
 * Owns the elements of the message log: rows become elements, and the view stays where its reader
 * is. It follows the newest message only while the end is in view; whatever is put in or taken away
 * above leaves the line that is read where it was.
 */

import { byId, element, reconcile, setText } from './elements.js';
import { splitLinks } from './links.js';
import { initialsOf, tintOf } from './names.js';
import { KEEP_IN_VIEW } from './rooms.js';
import { rowsOf } from './rows.js';

/** @typedef {import('./rooms.js').Room} Room */
/** @typedef {import('./rows.js').Row} Row */

/** So near to the end counts as the end: a fraction of a line, and rounding. */
const END_PIXELS = 48;

/** Older messages are loaded when their place comes so near. */
const AHEAD_PIXELS = 400;

/** Filling is over for screen readers when nothing was filled in for so long. */
const QUIET_MILLIS = 600;

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });

/** The log of the room that is looked at. */
export class Log {
  #log = byId('log');
  #rows = byId('log-rows');
  #jump = byId('jump');
  /** @type {Room | undefined} */
  #room;
  /** @type {Map<string, Element>} */
  #made = new Map();
  /** Whether the end is in view. */
  #atEnd = true;
  /** Messages that came below the view. */
  #below = 0;
  #quiet = 0;
  #on;

  /**
   * @param {{ older(room: Room): void, retry(room: Room, id: string): void,
   *   discard(room: Room, id: string): void, seen(room: Room): void }} on what one can do here
   */
  constructor(on) {
    this.#on = on;
    this.#log.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener('click', () => {
      this.toEnd();
      this.#log.focus();
    });
    new ResizeObserver(() => this.#resized()).observe(this.#log);
  }

  /** Whether the end of the log is in view. */
  get atEnd() {
    return this.#atEnd;
  }

  /**
   * Shows a room: from its new messages on if there are, else its end.
   * @param {Room} room
   */
  show(room) {
    this.#room = room;
    this.#made.clear();
    this.#rows.replaceChildren();
    this.#below = 0;
    this.#atEnd = true;
    this.#hush();
    this.update();
    const mark = this.#made.get('new');
    if (mark !== undefined) {
      this.#log.scrollTop += this.#top(mark) - this.#log.clientHeight / 4;
      this.#measure();
      this.#showJump();
    }
  }

  /** Messages came that one has not seen yet. */
  news() {
    if (!this.#atEnd) this.#below += 1;
  }

  /** Brings the elements up to what is known of the room. */
  update() {
    const room = this.#room;
    if (room === undefined) return;
    if (this.#atEnd) room.trim(KEEP_IN_VIEW);
    const rows = rowsOf(room);
    const anchor = this.#atEnd ? undefined : this.#anchor();
    const focused = this.#rows.contains(document.activeElement);
    if (rows.length - this.#made.size > 20) this.#hush();
    reconcile(this.#rows, this.#made, rows, ({ key }) => key, (row) => this.#make(row),
      (child, row) => this.#refresh(child, row));
    // What had the focus is gone with its row: the log keeps the keyboard.
    if (focused && !this.#rows.contains(document.activeElement)) this.#log.focus({ preventScroll: true });
    if (anchor === undefined) this.#log.scrollTop = this.#log.scrollHeight;
    else if (anchor.row.isConnected) this.#log.scrollTop += this.#top(anchor.row) - anchor.top;
    this.#measure();
    this.#showJump();
    this.#lookAhead();
  }

  /** Goes to the newest message. */
  toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#measure();
    this.#showJump();
  }

  /** Screen readers are not read what fills the log, only what is said from then on. */
  #hush() {
    this.#log.setAttribute('aria-live', 'off');
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#log.setAttribute('aria-live', 'polite'), QUIET_MILLIS);
  }

  #scrolled() {
    this.#measure();
    this.#showJump();
    this.#lookAhead();
  }

  #resized() {
    if (this.#atEnd) this.#log.scrollTop = this.#log.scrollHeight;
    this.#lookAhead();
  }

  #measure() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    // Not laid out, behind another screen: nothing is known, and nothing was seen.
    if (clientHeight === 0) return;
    this.#atEnd = scrollHeight - scrollTop - clientHeight <= END_PIXELS;
    if (!this.#atEnd) return;
    this.#below = 0;
    if (this.#room !== undefined) this.#on.seen(this.#room);
  }

  #showJump() {
    this.#jump.hidden = this.#atEnd;
    const count = this.#below === 1 ? '1 new message' : `${this.#below} new messages`;
    setText(this.#jump, this.#below === 0 ? 'Jump to the newest' : count);
    this.#jump.classList.toggle('has-news', this.#below > 0);
  }

  /** Loads older messages when their place is near, until the view is full or there are no more. */
  #lookAhead() {
    const older = this.#made.get('older');
    const room = this.#room;
    if (older === undefined || room === undefined || room.older !== 'idle' || !room.hasSpace) return;
    if (room.state !== 'in' || this.#log.clientHeight === 0) return;
    // The last messages follow the join by themselves; only a click asks before they are here.
    if (room.entries.length === room.formerCount) return;
    const top = this.#top(older);
    if (top > -AHEAD_PIXELS && top < this.#log.clientHeight) this.#on.older(room);
  }

  /** The first message in view, and where it is. */
  #anchor() {
    for (const row of this.#rows.children) {
      // The button for older messages stands above what it loads: it is no place to hold on to.
      if (!row.matches('.message')) continue;
      const { bottom } = row.getBoundingClientRect();
      // The bubble: above it a row may lose its author's name to a row that is put in.
      const bubble = row.querySelector('.bubble');
      if (bottom > this.#log.getBoundingClientRect().top) return { row: bubble, top: this.#top(bubble) };
    }
    return undefined;
  }

  /** @param {Element} row */
  #top(row) {
    return row.getBoundingClientRect().top - this.#log.getBoundingClientRect().top;
  }

  /** @param {Row} row @returns {Element} */
  #make(row) {
    switch (row.kind) {
      case 'older': return this.#makeOlder();
      case 'start': return element('p', { class: 'start' });
      case 'day': return separator('day');
      case 'lost': {
        const made = separator('lost', 'The server was set back here; messages may be lost.');
        made.setAttribute('role', 'note');
        return made;
      }
      case 'new': return separator('new', 'New messages');
      case 'message': {
        const { from, text, timestamp, own, seq } = row.message;
        const made = bubble({ from, text, timestamp, own });
        made.dataset.seq = String(seq);
        return made;
      }
      case 'outgoing': return this.#makeOutgoing(row.outgoing);
    }
  }

  /** @param {Element} child @param {Row} row */
  #refresh(child, row) {
    switch (row.kind) {
      case 'older': return refreshOlder(child, row.state);
      case 'start': return setText(child, row.whole
        ? 'This is where the room begins. Say hello!' : 'Older messages are no longer kept.');
      case 'day': return setText(child.firstElementChild, dayLabel(row.timestamp));
      case 'lost':
      case 'new': return undefined;
      case 'message': return void child.classList.toggle('first', row.first);
      case 'outgoing':
        child.classList.toggle('first', row.first);
        return refreshOutgoing(child, row.outgoing);
    }
  }

  #makeOlder() {
    const button = element('button', { type: 'button', class: 'small' }, 'Load older messages');
    button.addEventListener('click', () => {
      if (this.#room !== undefined) this.#on.older(this.#room);
    });
    return element('div', { class: 'older' }, button, element('p', {}));
  }

  /** @param {import('./rooms.js').Outgoing} outgoing */
  #makeOutgoing({ id, text, at, as }) {
    const made = bubble({ from: as, text, timestamp: at, own: true });
    const retry = element('button', { type: 'button', class: 'small' }, 'Retry');
    const discard = element('button', { type: 'button', class: 'small' }, 'Discard');
    retry.addEventListener('click', () => this.#on.retry(this.#room, id));
    discard.addEventListener('click', () => this.#on.discard(this.#room, id));
    made.append(element('div', { class: 'fate' }, element('span', {}), retry, discard));
    return made;
  }
}

/** @param {Element} child @param {'idle' | 'loading' | 'failed' | 'full'} state */
function refreshOlder(child, state) {
  const [button, text] = child.children;
  const texts = {
    idle: '',
    loading: 'Loading…',
    failed: 'Older messages could not be loaded.',
    full: 'That is as far as this page can show at once. Jump to the newest and come back.',
  };
  setText(text, texts[state]);
  button.hidden = state === 'full';
}

/** @param {Element} child @param {import('./rooms.js').Outgoing} outgoing */
function refreshOutgoing(child, { state, code, reason = '' }) {
  const fate = child.lastElementChild;
  const [text, retry, discard] = fate.children;
  child.dataset.state = state;
  // "Not sent" would be more than anybody knows of an unknown outcome.
  const failed = code === 'OUTCOME_UNKNOWN' ? reason : `Not sent. ${reason}`;
  setText(text, { pending: 'Sending…', sent: 'Sent', failed }[state]);
  retry.hidden = discard.hidden = state !== 'failed';
}

/** @param {string} kind @param {string} [text] */
function separator(kind, text = '') {
  return element('div', { class: `separator ${kind}` }, element('span', {}, text));
}

/** @param {{ from: string, text: string, timestamp: number, own: boolean }} message */
function bubble({ from, text, timestamp, own }) {
  const avatar = element('span', { class: `avatar tint-${tintOf(from)}`, 'aria-hidden': 'true' }, initialsOf(from));
  const author = element('p', { class: 'author' }, element('bdi', {}, from));
  const body = element('p', { class: 'text', dir: 'auto' }, ...splitLinks(text).map(part));
  const made = element('div', { class: own ? 'message own' : 'message' }, avatar, author,
    element('div', { class: 'bubble' }, body, clock(timestamp)));
  return made;
}

/** @param {import('./links.js').Part} part */
function part({ text, href }) {
  if (href === undefined) return text;
  const rel = 'noopener noreferrer nofollow';
  return element('a', { href, rel, target: '_blank', referrerpolicy: 'no-referrer', dir: 'ltr' }, text);
}

/** @param {number} timestamp */
function clock(timestamp) {
  const at = new Date(timestamp);
  return element('time', { datetime: at.toISOString(), title: moment.format(at) }, time.format(at));
}

/** @param {number} timestamp */
function dayLabel(timestamp) {
  const day = new Date(timestamp);
  const daysAgo = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(timestamp).setHours(0, 0, 0, 0)) / 86_400_000);
  if (daysAgo === 0) return 'Today';
  if (daysAgo === 1) return 'Yesterday';
  return (day.getFullYear() === new Date().getFullYear() ? weekday : date).format(day);
}
