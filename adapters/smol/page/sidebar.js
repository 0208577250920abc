/**
 * Owns the lists "Rooms" and "People".
 */

import { byId, element, reconcile, setText } from './elements.js';
import { initialsOf, tintOf } from './names.js';

/** @typedef {import('./rooms.js').Room} Room */

/** People listed of a room: the protocol names 1000 at most. */
const PEOPLE_AT_MOST = 1000;

const { compare } = new Intl.Collator(undefined, { numeric: true });

/** The list of one's rooms, and of those one could join. */
export class RoomList {
  #list = byId('rooms');
  #made = new Map();
  #choose;

  /** @param {(room: string) => void} choose turns to a room, or joins it */
  constructor(choose) {
    this.#choose = choose;
  }

  /** @param {import('./rooms.js').Rooms} rooms */
  update(rooms) {
    const own = rooms.own.map((room) => ({ ...shown(room), isCurrent: room === rooms.current, isOwn: true, isFirst: false }));
    const { rooms: open, more } = rooms.others;
    const others = open.map(({ id, userCount }, index) => ({
      name: id, userCount, unread: 0, note: '', isCurrent: false, isOwn: false, isFirst: index === 0,
    }));
    const items = [...own, ...others];
    if (more > 0) items.push({ more });
    const keyOf = (item) => (item.more === undefined ? `room ${item.name}` : 'more');
    reconcile(this.#list, this.#made, items, keyOf, (item) => this.#make(item), refreshRoom);
  }

  #make({ name, more }) {
    if (more !== undefined) return element('li', { class: 'more' });
    const button = element('button', { type: 'button', class: 'room' },
      element('span', { class: 'hash', 'aria-hidden': 'true' }, '#'),
      element('bdi', { class: 'room-label' }, name),
      element('span', { class: 'room-note' }),
      element('span', { class: 'badge' }),
      element('span', { class: 'room-members' }));
    button.addEventListener('click', () => this.#choose(name));
    return element('li', {}, button);
  }
}

/** @param {Room} room */
function shown({ name, userCount, unread, state }) {
  const note = { joining: 'joining…', in: '', out: 'not joined' }[state];
  return { name, userCount, unread, note };
}

function refreshRoom(child, item) {
  if (item.more !== undefined) return setText(child, `and ${item.more} more; join them by name`);
  const { userCount, unread, note, isCurrent, isOwn, isFirst } = item;
  child.classList.toggle('first-other', isFirst);
  const button = child.firstElementChild;
  button.classList.toggle('other', !isOwn);
  button.classList.toggle('unread', unread > 0);
  if (isCurrent) button.setAttribute('aria-current', 'true');
  else button.removeAttribute('aria-current');
  const [, , noteText, badge, members] = button.children;
  setText(noteText, note);
  badge.hidden = unread === 0;
  setCount(badge, unread, unread === 1 ? 'unread message' : 'unread messages');
  members.hidden = userCount === 0;
  setCount(members, userCount, userCount === 1 ? 'person' : 'people');
  button.title = isOwn ? '' : 'Join this room';
}

/** A number to see, with words to hear. */
function setCount(target, count, words) {
  if (target.childElementCount === 0) {
    target.append(element('span', {}), element('span', { class: 'hidden-visually' }));
  }
  setText(target.firstElementChild, brief(count));
  setText(target.lastElementChild, ` ${words}`);
}

/**
 * A count that fits into a badge.
 * @param {number} count
 */
export function brief(count) {
  return count > 999 ? '999+' : String(count);
}

/** The list of who is in the room that is looked at. */
export class PeopleList {
  #list = byId('people');
  #count = byId('people-count');
  #made = new Map();

  /**
   * @param {Room | undefined} room
   * @param {string} self one's own name
   */
  update(room, self) {
    const users = [...(room?.users ?? [])].sort((a, b) => (b === self) - (a === self) || compare(a, b));
    const items = users.slice(0, PEOPLE_AT_MOST).map((name) => ({ name, isSelf: name === self }));
    const unnamed = (room?.userCount ?? 0) - items.length;
    if (unnamed > 0) items.push({ unnamed });
    const keyOf = (item) => (item.unnamed === undefined ? `user ${item.name}` : 'more');
    reconcile(this.#list, this.#made, items, keyOf, makePerson, refreshPerson);
    setText(this.#count, room?.userCount ? String(room.userCount) : '');
  }
}

function makePerson({ name, unnamed }) {
  if (unnamed !== undefined) return element('li', { class: 'more' });
  return element('li', { class: 'person' },
    element('span', { class: `avatar small tint-${tintOf(name)}`, 'aria-hidden': 'true' }, initialsOf(name)),
    element('bdi', { class: 'person-name' }, name),
    element('span', { class: 'self' }));
}

function refreshPerson(child, { isSelf, unnamed }) {
  if (unnamed !== undefined) return setText(child, `and ${unnamed} more`);
  setText(child.lastElementChild, isSelf ? 'you' : '');
}
