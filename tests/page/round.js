// A round in virtual time: clients do what people do while the network and the server do their worst.
// Then the faults stop, and everything must come to rest in the one right state.

import assert from 'node:assert/strict';

import { generator } from './fake.js';
import { FakeStorage, World } from './world.js';

const CLOSE_CODES = [1000, 1001, 1006, 1012, 4000, 4001, 4002];
/** The only ways in which a message may come to nothing here. */
const REJECTIONS = ['LEFT', 'CLOSED', 'OUTCOME_UNKNOWN', 'QUEUE_FULL', 'NOT_IN_ROOM', 'USERNAME_TAKEN'];

/** What happened at all, so that nothing holds only because it never came to it. */
export const seen = new Map();
const saw = (what, count = 1) => seen.set(what, (seen.get(what) ?? 0) + count);

export class Round {
  #said = 0;
  #questions = [];

  constructor(seed) {
    this.random = generator(seed);
    const { pick, chance } = this.random;
    this.world = new World({ tail: pick([5, 30, 300]), limits: { messagesPerSecond: pick([0, 0, 10]) } });
    this.rooms = ['r', 's', 't'].slice(0, 1 + this.random.below(3));
    const most = pick([1, 20, 200]);
    this.world.network.delay = () => 1 + this.random.below(most);
    this.faulty = true;
    this.world.network.mode = () => this.#modeOf(this.faulty ? this.badness : 0);
    this.badness = 0;
    this.world.server.intercept = (request) => this.#refusalOf(request);
    this.refusing = chance(0.3) ? 0.1 : 0;
  }

  #modeOf(badness) {
    return this.random.chance(badness) ? this.random.pick(['refuse', 'hang', 'error only']) : 'accept';
  }

  #refusalOf(request) {
    if (!this.faulty || !this.random.chance(this.refusing)) return undefined;
    saw('refusals');
    const retryAfterMs = 1 + this.random.below(1000);
    if (request.type === 'message') return { code: this.random.pick(['RATE_LIMITED', 'STORE_UNAVAILABLE']), retryAfterMs };
    return { code: 'RATE_LIMITED', retryAfterMs, bare: true };
  }

  async play() {
    const { world, random } = this;
    const count = 2 + random.below(3);
    for (let index = 0; index < count; index += 1) await this.#arrive(`c${index}`);
    for (let steps = 15 + random.below(35); steps > 0; steps -= 1) {
      this.#act();
      if (random.chance(0.25)) this.#harm();
      await world.run(random.pick([0, 1, 5, 20, 100, 1000, 10_000]));
    }
    this.faulty = false;
    for (const conn of world.server.connections) conn.drop = 0;
    await world.run(10 * 60_000);
    // Nobody can know of a lost message behind which nothing comes, so something does.
    for (const watch of world.watches) for (const room of watch.wanted) this.#say(watch, room);
    await world.run(60_000);
    await this.#check();
    await world.end();
  }

  async #arrive(owner) {
    const { world, random } = this;
    const before = world.watches.at(-1);
    const isTab = before && random.chance(0.25);
    const person = isTab ? before.person : { username: owner, storage: random.chance(0.5) || isTab ? new FakeStorage() : undefined };
    if (isTab && !person.storage) return this.#arrive(`${owner}+`);
    const seed = random.below(2 ** 32);
    const timers = generator(random.below(2 ** 32));
    const late = random.chance(0.1) ? (due) => due + timers.below(90_000) : undefined;
    const maxPending = random.chance(0.1) ? 3 : undefined;
    const watch = world.client(owner, { ...person, random: generator(seed).next, late, maxPending });
    Object.assign(watch, { person, maxPending, seed, wanted: new Set() });
    if (isTab) saw('tabs');
    for (const room of this.rooms) if (random.chance(0.8)) this.#join(watch, room);
    await world.run(random.pick([1000, 100_000]));
  }

  #join(watch, room) {
    if (!watch.closed) watch.wanted.add(room);
    const history = this.random.pick([undefined, 0, 3]);
    const joined = watch.client.join(room, { history });
    this.#ask(joined, ['LEFT', 'CLOSED', 'ALREADY_IN_ROOM', 'USERNAME_TAKEN']);
    // A tab that comes while the other one's joins go unheard cannot know that they are one person.
    joined.catch(({ code }) => code === 'USERNAME_TAKEN' && watch.wanted.delete(room));
  }

  /** Joins the room it is not in, or leaves the one it is in. */
  #change(watch, room) {
    if (!watch.wanted.has(room)) return this.#join(watch, room);
    watch.wanted.delete(room);
    return this.#ask(watch.client.leave(room), ['CLOSED']);
  }

  #ask(promise, codes) {
    const question = { codes };
    this.#questions.push(question);
    promise.then(
      () => (question.code = 'answered'),
      (error) => (question.code = error.code ?? String(error)),
    );
  }

  #say(watch, room) {
    watch.send(room, `${watch.name} says ${this.#said++}`);
  }

  #act() {
    const { random } = this;
    const watch = random.pick(this.world.watches);
    const isElsewhere = watch.wanted.size === 0 || random.chance(0.1);
    const room = random.pick(isElsewhere ? this.rooms : [...watch.wanted]);
    const { client } = watch;
    const said = () => this.#say(watch, room);
    const QUESTION = ['CLOSED', 'LEFT', 'NOT_IN_ROOM', 'QUEUE_FULL'];
    switch (random.below(12)) {
      case 0:
        return this.#change(watch, random.pick(this.rooms));
      case 1:
        return client.typing(room, random.chance(0.8));
      case 2:
        return this.#ask(client.history(room, { before: random.pick([undefined, 5, 50]), limit: random.pick([undefined, 1, 7]) }), QUESTION);
      case 3:
        return this.#ask(random.chance(0.5) ? client.rooms() : client.users(room), QUESTION);
      case 4:
        return client.retry();
      case 5:
        if (!random.chance(0.1)) return said();
        watch.wanted.clear();
        watch.closed = true;
        return client.close();
      case 6:
      case 7:
        for (let count = random.below(30); count > 0; count -= 1) said();
        return undefined;
      default:
        return said();
    }
  }

  #harm() {
    const { random, world } = this;
    const { server, network } = world;
    const link = network.links.length > 0 ? random.pick(network.links) : undefined;
    const conn = server.connections.size > 0 ? random.pick([...server.connections]) : undefined;
    switch (random.below(11)) {
      case 0:
      case 1:
      case 2:
        return link?.cut({ serverAfter: random.pick([0, 0, 5, 1000, 35_000]) });
      case 3:
      case 4:
        saw('half-open');
        return link?.mute(...random.pick([['up'], ['down'], ['up', 'down']]));
      case 5:
        return conn?.close(random.pick(CLOSE_CODES), 'because');
      case 6:
        if (random.chance(0.5)) for (const living of [...network.links]) living.cut();
        return server.restart({ keepLog: random.chance(0.5), code: random.pick([1006, 1012]) });
      case 7:
        return server.shutdown();
      case 8:
        this.badness = random.pick([0, 0.5, 1]);
        return undefined;
      case 9:
        if (conn) conn.drop += 1 + random.below(8);
        return undefined;
      default:
        return world.clock.jump(random.pick([1000, 60_000, 600_000]));
    }
  }

  async #check() {
    const { world, rooms } = this;
    const { server } = world;
    world.checkStreams();
    for (const { codes, code } of this.#questions) {
      assert.ok(code === 'answered' || codes.includes(code), `a question came to ${code}`);
    }
    for (const watch of world.watches) {
      watch.checkSends((room, epoch) => server.logs.get(room)?.get(epoch) ?? [], REJECTIONS);
      if (!watch.closed) assert.equal(watch.client.state.state, 'online');
      for (const room of rooms) this.#checkRoom(watch, room);
      this.#count(watch);
    }
    for (const [room, epochs] of server.logs) {
      for (const log of epochs.values()) for (const watch of world.watches) watch.checkOrder(room, log);
    }
  }

  #checkRoom(watch, room) {
    const { epoch, log, users, members } = this.world.server.room(room);
    assert.equal(members, this.world.watches.filter(({ wanted }) => wanted.has(room)).length, `members of ${room}`);
    const known = watch.rooms.get(room);
    const name = `${watch.name} in ${room}`;
    if (!watch.wanted.has(room)) return assert.ok(!known?.here || watch.closed, name);
    assert.ok(known.here, name);
    assert.deepEqual([...known.users].sort(), [...users].sort(), `${name}: who is there`);
    // The end of the log is reached; a room that was quiet since its restart has shown nothing of it.
    if (log.length > 0) assert.deepEqual(watch.position(room), { epoch, seq: log.length }, `${name}: the last place`);
    for (const { seq, text, from, epoch: at } of watch.of('message', room)) {
      const entry = this.world.server.logs.get(room).get(at)[seq - 1];
      assert.deepEqual([text, from], [entry.text, entry.from], name);
    }
    return undefined;
  }

  #count(watch) {
    for (const { last, next } of watch.of('gap')) saw(last.epoch === next.epoch ? 'gaps' : 'new epochs');
    for (const { recovered, rejoined } of watch.of('joined')) if (rejoined) saw(recovered ? 'recovered' : 'not recovered');
    for (const { error } of watch.sends) saw(error?.code ?? 'stored');
    const ids = this.world.heard(watch.name, 'message').map(({ clientMsgId }) => clientMsgId);
    saw('retries', ids.length - new Set(ids).size);
    saw('resyncs', this.world.heard(watch.name, 'join').filter(({ since, conn }, index, joins) => since && joins.findIndex((join) => join.conn === conn && join.roomId === joins[index].roomId) < index).length);
    saw('messages', watch.of('message').length);
  }
}
