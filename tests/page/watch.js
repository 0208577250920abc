// Watches one client from outside, and objects as soon as an event breaks a promise of the stream:
// every message once, in the order of seq, nothing missing but what a gap has announced.

import assert from 'node:assert/strict';

/** The client under test; PARLOR_CLIENT names another copy of it. */
export const { ClientCore, ParlorClient, ParlorError, randomId, CLIENT_ERRORS } = await import(
  process.env.PARLOR_CLIENT ?? new URL('../../adapters/smol/page/parlor-client.js', import.meta.url).href
);

const at = ({ epoch, seq }) => `${epoch}:${seq}`;

export class Watch {
  /** Everything that was emitted, in order: [type, event]. */
  events = [];
  /** What broke a promise. Listeners' exceptions are the client's to swallow, so they are kept. */
  broken = [];
  /** room -> {last: {epoch, seq} or null, users, here}: what an application would show. */
  rooms = new Map();
  /** Every send, in the order of the calls: {room, text, clientMsgId, message?, error?}. */
  sends = [];
  #sendCount = 0;

  constructor(name, client) {
    Object.assign(this, { name, client });
    for (const type of ['state', 'joined', 'left', 'message', 'gap', 'presence', 'typing', 'error']) {
      client.on(type, (event) => {
        this.events.push([type, event]);
        try {
          this[`on_${type}`]?.(event);
        } catch (error) {
          this.broken.push(error);
        }
      });
    }
  }

  /** The events of one type, optionally of one room. */
  of(type, room) {
    return this.events.filter(([of, event]) => of === type && (!room || event.room === room)).map(([, event]) => event);
  }

  texts(room) {
    return this.of('message', room).map((message) => message.text);
  }

  /** Says something, and keeps what becomes of it. */
  send(room, text, clientMsgId = `${this.name}-${this.#sendCount++}`) {
    const said = { room, text, clientMsgId };
    this.sends.push(said);
    said.promise = this.client.send(room, text, { clientMsgId });
    said.promise.then(
      (message) => (said.message = message),
      (error) => (said.error = error),
    );
    return said.promise;
  }

  /** Fails with whatever was broken so far. */
  check() {
    if (this.broken.length > 0) throw this.broken[0];
  }

  on_joined({ room, users, userCount, epoch, seq, rejoined }) {
    assert.equal(typeof epoch, 'string');
    assert.equal(userCount, users.length, 'fewer than 999 users are all named');
    const known = rejoined ? this.rooms.get(room) : undefined;
    this.rooms.set(room, { last: null, gap: null, ...known, users, here: true, joinedAt: { epoch, seq } });
  }

  on_left({ room }) {
    const known = this.rooms.get(room);
    if (known) known.here = false;
  }

  on_gap({ room, last, next }) {
    const known = this.rooms.get(room);
    assert.ok(known?.here, `a gap in ${room}, where ${this.name} is not`);
    const position = known.last ?? known.gap;
    if (position) assert.equal(at(last), at(position), 'a gap begins behind what came last');
    if (last.epoch === next.epoch) assert.ok(next.seq > last.seq + 1, `${at(last)} -> ${at(next)} is no gap`);
    known.gap = { epoch: next.epoch, seq: next.seq - 1 };
    known.last = known.gap;
  }

  on_message(message) {
    const { room, epoch, seq } = message;
    const known = this.rooms.get(room);
    assert.ok(known?.here, `a message in ${room}, where ${this.name} is not`);
    if (known.last) {
      assert.equal(at({ epoch, seq }), at({ epoch: known.last.epoch, seq: known.last.seq + 1 }), `${this.name} in ${room}: the next message`);
    } else {
      const { joinedAt } = known;
      assert.equal(epoch, joinedAt.epoch);
      assert.ok(seq <= joinedAt.seq + 1, `the first message behind joined ${at(joinedAt)} is ${seq}`);
    }
    known.last = { epoch, seq };
  }

  on_presence({ room, users, userCount, joined, left }) {
    const known = this.rooms.get(room);
    assert.ok(known?.here, `presence in ${room}, where ${this.name} is not`);
    assert.equal(userCount, users.length);
    assert.equal(new Set(users).size, users.length, `nobody is twice in ${users}`);
    if (joined !== undefined) assert.ok(users.includes(joined));
    if (left !== undefined) assert.ok(!users.includes(left));
    known.users = users;
  }

  /** The last place seen in a room. */
  position(room) {
    const known = this.rooms.get(room);
    return known?.last ?? known?.joinedAt;
  }

  /**
   * Holds every send against the truth. `entriesOf(room, epoch)` are the server's entries, or
   * undefined where they are not known any more.
   */
  checkSends(entriesOf, codes) {
    for (const { room, text, clientMsgId, message, error } of this.sends) {
      const name = `${this.name}'s ${clientMsgId} in ${room}`;
      assert.ok(message || error, `${name} is forgotten`);
      if (error) {
        assert.ok(error instanceof ParlorError && codes.includes(error.code), `${name} was rejected: ${error}`);
        continue;
      }
      assert.equal(message.text, text, name);
      assert.equal(message.room, room, name);
      const entries = entriesOf(room, message.epoch);
      if (!entries) continue;
      const stored = entries.filter((entry) => entry.text === text).map((entry) => entry.seq);
      assert.deepEqual(stored, [message.seq], `${name} is stored once, and where its promise says`);
    }
  }

  /** The order of the calls is the order of the log. Texts are never said twice in these tests. */
  checkOrder(room, entries) {
    const order = new Map(this.sends.filter((said) => said.room === room).map((said, index) => [said.text, index]));
    const stored = entries.map((entry) => order.get(entry.text)).filter((index) => index !== undefined);
    assert.deepEqual(stored, [...new Set(stored)].sort((a, b) => a - b), `${this.name}'s messages in ${room} stand in their order, once each`);
  }
}
