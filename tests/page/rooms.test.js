// What is known of a room, and what its log shows, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory } from '../../adapters/smol/page/memory.js';
import { initialsOf, scalarCount } from '../../adapters/smol/page/names.js';
import { KEEP_ASIDE, KEEP_AT_MOST, Rooms, keepsId } from '../../adapters/smol/page/rooms.js';
import { rowsOf } from '../../adapters/smol/page/rows.js';

const NOON = new Date(2026, 0, 15, 12).getTime();

const message = (seq, more = {}) => ({
  room: 'a', epoch: 'e', seq, from: 'Ann', text: `t${seq}`, timestamp: NOON + seq, own: false, replayed: false, ...more,
});

const range = (from, to, more) => Array.from({ length: to - from + 1 }, (_, i) => message(from + i, more));

/** A room that is looked at, with the messages `from` to `to`. */
function given(from, to, seq = to) {
  const rooms = new Rooms();
  const room = rooms.ensure('a');
  rooms.turnTo(room);
  room.joined({ users: ['Ann'], userCount: 1, epoch: 'e', seq, rejoined: false });
  for (const each of range(from, to)) room.message(each, true);
  return { rooms, room };
}

/** The log in a line: seqs, and kinds for what is none. */
function shown(room) {
  return rowsOf(room).filter(({ kind }) => kind !== 'day').map((row) => {
    if (row.kind === 'message') return row.message.seq;
    if (row.kind === 'outgoing') return `${row.outgoing.text}:${row.outgoing.state}`;
    return row.kind;
  }).join(' ');
}

test('a message is there once', () => {
  const { room } = given(1, 2);
  room.message(message(2), true);
  room.message(message(3), true);
  assert.equal(shown(room), 'start 1 2 3');
});

test('older messages fit on, or are not put in', () => {
  const { room } = given(5, 6);
  assert.equal(shown(room), 'older 5 6');
  room.addOlder({ epoch: 'e', messages: range(3, 3), hasMore: true }, 4);
  assert.equal(shown(room), 'older 5 6');
  room.addOlder({ epoch: 'other', messages: range(3, 4), hasMore: true }, 5);
  assert.equal(shown(room), 'older 5 6');
  room.addOlder({ epoch: 'e', messages: range(3, 4), hasMore: true }, 5);
  assert.equal(shown(room), 'older 3 4 5 6');
  room.addOlder({ epoch: 'e', messages: [], hasMore: false }, 3);
  assert.equal(shown(room), 'start 3 4 5 6');
});

test('a history that promises more and has none is not asked for ever', () => {
  const { room } = given(5, 6);
  room.addOlder({ epoch: 'e', messages: [], hasMore: true }, 5);
  assert.equal(room.older, 'failed');
});

test('a gap within an epoch forgets what stood before it', () => {
  const { room } = given(1, 3);
  room.gap({ last: { epoch: 'e', seq: 3 }, next: { epoch: 'e', seq: 10 } });
  room.message(message(10), true);
  assert.equal(shown(room), 'older 10');
  room.addOlder({ epoch: 'e', messages: range(1, 9), hasMore: false }, 10);
  assert.equal(shown(room), 'start 1 2 3 4 5 6 7 8 9 10');
});

test('another epoch stands behind a mark, and its history between', () => {
  const { room } = given(1, 2);
  room.joined({ users: [], userCount: 1, epoch: 'f', seq: 3, rejoined: true });
  room.gap({ last: { epoch: 'e', seq: 2 }, next: { epoch: 'f', seq: 3 } });
  room.message(message(3, { epoch: 'f' }), true);
  assert.equal(shown(room), '1 2 lost older 3');
  room.addOlder({ epoch: 'f', messages: range(1, 2, { epoch: 'f' }), hasMore: false }, 3);
  assert.equal(shown(room), '1 2 lost 1 2 3');
});

test('no mark where nothing stood above', () => {
  const { room } = given(1, 0);
  room.joined({ users: [], userCount: 1, epoch: 'f', seq: 0, rejoined: true });
  room.message(message(1, { epoch: 'f' }), true);
  assert.equal(shown(room), 'start 1');
});

test('an own message is shown at once, and once', () => {
  for (const answerFirst of [true, false]) {
    const { room } = given(1, 1);
    room.sending({ id: 'i', text: 'hi', at: NOON, as: 'Me' });
    assert.equal(shown(room), 'start 1 hi:pending');
    if (answerFirst) {
      room.sent('i', { epoch: 'e', seq: 2 });
      assert.equal(shown(room), 'start 1 hi:sent');
    }
    room.message(message(2, { own: true, text: 'hi', clientMsgId: 'i' }), true);
    assert.equal(shown(room), 'start 1 2');
    room.sent('i', { epoch: 'e', seq: 2 });
    assert.equal(shown(room), 'start 1 2');
  }
});

test('an own message that is recovered without its id is shown once', () => {
  const { room } = given(1, 1);
  room.sending({ id: 'i', text: 'hi', at: NOON, as: 'Me' });
  room.joined({ users: [], userCount: 1, epoch: 'e', seq: 2, rejoined: true });
  room.message(message(2, { own: true, text: 'hi', replayed: true }), true);
  assert.equal(shown(room), 'start 1 2');
  room.sent('i', { epoch: 'e', seq: 2 });
  assert.equal(shown(room), 'start 1 2');
});

test('what failed waits to be taken', () => {
  const { room } = given(1, 1);
  room.sending({ id: 'i', text: 'hi', at: NOON, as: 'Me' });
  room.failed('i', { code: 'STORE_UNAVAILABLE', reason: 'Later.' });
  assert.equal(shown(room), 'start 1 hi:failed');
  const taken = room.take('i');
  assert.equal(shown(room), 'start 1');
  assert.equal(keepsId(taken, 'Me'), true);
  assert.equal(keepsId(taken, 'Other'), false);
  assert.equal(keepsId({ ...taken, code: 'OUTCOME_UNKNOWN' }, 'Me'), false);
});

test('what comes while nobody looks is unread, and marked until it was seen', () => {
  const { rooms, room } = given(1, 2);
  rooms.turnTo(undefined);
  for (const each of range(3, 4)) room.message(each, false);
  assert.equal(rooms.unread, 2);
  rooms.turnTo(room);
  room.looked();
  assert.equal(rooms.unread, 0);
  assert.equal(shown(room), 'start 1 2 new 3 4');
  room.message(message(5), true);
  assert.equal(shown(room), 'start 1 2 new 3 4 5');
  room.seen();
  room.message(message(6), true);
  assert.equal(shown(room), 'start 1 2 3 4 5 6');
});

test('what was said before the first join, and what one said oneself, is not unread', () => {
  const { rooms, room } = given(1, 0, 1);
  room.message(message(1, { replayed: true }), false);
  room.message(message(2, { own: true }), false);
  assert.equal(rooms.unread, 0);
  room.joined({ users: [], userCount: 1, epoch: 'e', seq: 3, rejoined: true });
  room.message(message(3, { replayed: true }), false);
  assert.equal(rooms.unread, 1);
});

test('a room stays small, and what is dropped can be loaded again', () => {
  const { rooms, room } = given(1, KEEP_AT_MOST + 100);
  assert.equal(room.entries.length, KEEP_AT_MOST);
  assert.equal(room.hasOlder, true);
  rooms.turnTo(undefined);
  assert.equal(room.entries.length, KEEP_ASIDE);
  assert.equal(room.oldest, KEEP_AT_MOST + 100 - KEEP_ASIDE + 1);
});

test('messages of one author stand together for five minutes and a day', () => {
  const { room } = given(1, 0);
  const at = (seq, minutes, from = 'Ann') => message(seq, { timestamp: NOON + minutes * 60_000, from });
  for (const each of [at(1, 0), at(2, 4), at(3, 10), at(4, 11, 'Bob'), at(5, 12), at(6, 24 * 60)]) room.message(each, true);
  const rows = rowsOf(room).map((row) => (row.kind === 'message' ? `${row.message.seq}${row.first ? '*' : ''}` : row.kind));
  assert.equal(rows.join(' '), 'start day 1* 2 3* 4* 5* day 6*');
  assert.equal(new Set(rowsOf(room).map(({ key }) => key)).size, rows.length);
});

test('rooms one is not in are listed, the liveliest first', () => {
  const { rooms } = given(1, 1);
  rooms.list([{ id: 'a', userCount: 9 }, { id: 'b', userCount: 1 }, { id: 'c', userCount: 2 }]);
  assert.deepEqual(rooms.others, { rooms: [{ id: 'c', userCount: 2 }, { id: 'b', userCount: 1 }], more: 0 });
});

test('memory survives a storage that throws or holds rubbish', () => {
  const refuses = () => { throw new Error('no'); };
  const readOnly = (getItem) => () => ({ getItem, setItem: refuses, removeItem: refuses });
  const rubbish = 'x'.repeat(8193);
  for (const open of [refuses, () => undefined, readOnly(refuses), readOnly(() => rubbish),
    readOnly(() => '{"a":[1'), readOnly(() => '[1,null,""]')]) {
    const memory = new Memory(open, open);
    assert.deepEqual(memory.rooms, []);
    memory.token = 'secret';
    assert.notEqual(memory.token, rubbish);
    memory.token = undefined;
    memory.name = 'Ann';
    memory.add('a');
    memory.remove('a');
    memory.storage.setItem('x', 'y');
  }
});

/** A storage that keeps what it is given in a map. */
const storageIn = (kept) => () => ({
  getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key),
});

test('a token is remembered in the tab, and nowhere else', () => {
  const [browser, tab] = [new Map(), new Map()];
  const memory = new Memory(storageIn(browser), storageIn(tab));
  memory.token = 'secret';
  memory.name = 'Ann';
  assert.equal(memory.token, 'secret');
  assert.deepEqual([...tab.values()], ['secret']);
  assert.deepEqual([...browser.values()], ['Ann']);
  memory.token = undefined;
  assert.equal(memory.token, undefined);
  assert.equal(tab.size, 0);
});

test('a token that cannot be kept does not leave another one in its place', () => {
  const tab = new Map([['parlor.token', 'of somebody else']]);
  const full = () => ({ ...storageIn(tab)(), setItem: () => { throw new Error('full'); } });
  const memory = new Memory(storageIn(new Map()), full);
  assert.equal(memory.token, 'of somebody else');
  memory.token = 'secret';
  assert.equal(memory.token, undefined);
});

test('rooms are remembered in order and once', () => {
  const memory = new Memory(storageIn(new Map()), storageIn(new Map()));
  for (const room of ['a', 'b', 'a', 'c']) memory.add(room);
  memory.remove('b');
  assert.deepEqual(memory.rooms, ['a', 'c']);
});

test('initials hold no marks, and lengths are counted as the server does', () => {
  assert.equal(initialsOf('ann archer'), 'AA');
  assert.equal(initialsOf('\u202e<b>'), '<');
  assert.equal(initialsOf('z\u0335\u0321e'), 'Z');
  assert.equal(initialsOf('\u0301'), '?');
  assert.equal(scalarCount('a😀'), 2);
});
