// The real server behind a proxy that cuts, resets, delays, refuses and half-opens connections:
// seeded rounds of a few clients each, in which nothing is lost, nothing doubled and the order holds.
//
// PARLOR_SEED=… repeats the faults (not what the kernel makes of their timing), PARLOR_ROUNDS=… changes
// how many rounds there are, PARLOR_BIN=… says which server. Node 20 needs --experimental-websocket.

import assert from 'node:assert/strict';
import test from 'node:test';

import { generator, seedOf } from './fake.js';
import { Proxy, Server } from './proxy.js';
import { IN_MEMORY, onDisk } from './storage.js';
import { ParlorClient, Watch } from './watch.js';

const ROUNDS = Number(process.env.PARLOR_ROUNDS ?? 500);
const AT_ONCE = 8;
const ROUNDS_IN_MEMORY = 6;
const ROUNDS_ON_DISK = 10;
/** How long anything may take once the network is well, ms: far beyond what it does take. */
const PATIENCE_MS = 20_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Rejects when `promise` takes too long; `what` says what it was. */
async function inTime(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took too long: ${what()}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What the server itself has to say of a room: its epoch, its log and who is there. */
class Observer {
  #socket;
  #frames = [];
  #waiting = undefined;

  constructor(port) {
    this.#socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
    this.#socket.onmessage = ({ data }) => {
      this.#frames.push(JSON.parse(data));
      this.#waiting?.();
    };
    this.open = new Promise((resolve, reject) => {
      this.#socket.onopen = resolve;
      this.#socket.onerror = () => reject(new Error('the observer cannot connect'));
    });
  }

  async #next(isWanted) {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame === undefined) await new Promise((resolve) => (this.#waiting = resolve));
      else if (isWanted(frame)) return frame;
    }
  }

  #ask(request) {
    this.#socket.send(JSON.stringify(request));
  }

  async users(roomId) {
    this.#ask({ type: 'list_users', roomId });
    return (await this.#next(({ type }) => type === 'user_list')).users;
  }

  /** Everything in the log, which is shorter than the server's memory of it. */
  async log(roomId, username) {
    this.#ask({ type: 'join', roomId, username, history: 0 });
    const { epoch, seq } = await this.#next(({ type }) => type === 'joined');
    const entries = [];
    while (entries.length < seq) {
      this.#ask({ type: 'get_history', roomId, before: seq - entries.length + 1, limit: 100 });
      const page = [];
      for (;;) {
        const frame = await this.#next(({ type }) => type === 'message' || type === 'history');
        if (frame.type === 'history') break;
        if (frame.seq <= seq) page.push(frame);
      }
      assert.ok(page.length > 0, 'the server has the whole log');
      entries.unshift(...page);
    }
    this.#ask({ type: 'leave', roomId });
    await this.#next(({ type }) => type === 'left');
    return { epoch, entries };
  }

  close() {
    this.#socket.close();
  }
}

class Round {
  #said = 0;
  #joins = [];
  watches = [];

  constructor(seed, server, rooms) {
    this.random = generator(seed);
    Object.assign(this, { seed, server });
    this.proxy = new Proxy(this.random, server.port);
    this.rooms = rooms ?? Array.from({ length: 1 + this.random.below(2) }, (_, index) => `room-${seed}-${index}`);
  }

  /** `disturb` happens in the middle of it. */
  async play(disturb = async () => {}) {
    const port = await this.proxy.listen();
    try {
      for (let count = 2 + this.random.below(2); count > 0; count -= 1) this.#arrive(port, `user-${this.seed}-${count}`);
      await this.talk();
      await disturb();
      await this.talk();
      await pause(this.random.below(150));
      this.proxy.heal();
      await inTime(Promise.all(this.#joins), () => 'joins');
      const sends = this.watches.flatMap(({ sends }) => sends.map(({ promise }) => promise));
      await inTime(Promise.all(sends), () => `${sends.length} messages`);
      await this.#check();
    } finally {
      for (const { client } of this.watches) client.close();
      await this.proxy.close();
    }
  }

  #arrive(port, username) {
    const client = new ParlorClient(`ws://127.0.0.1:${port}/ws`, {
      username,
      pingIntervalMs: 30,
      connectTimeoutMs: 200,
      backoff: { baseMs: 1 + this.random.below(2), capMs: 20 },
    });
    this.watches.push(new Watch(username, client));
    for (const room of this.rooms) {
      const joined = client.join(room);
      joined.catch(() => {});
      this.#joins.push(joined);
    }
  }

  async talk() {
    const { random } = this;
    for (let count = 8 + random.below(10); count > 0; count -= 1) {
      const watch = random.pick(this.watches);
      watch.send(random.pick(this.rooms), `${watch.name} says ${this.#said++}`).catch(() => {});
      if (random.chance(0.5)) await pause(random.below(15));
    }
  }

  async #check() {
    const observer = new Observer(this.server.port);
    await inTime(observer.open, () => 'the observer');
    try {
      for (const room of this.rooms) await this.#checkRoom(room, observer);
    } finally {
      observer.close();
    }
  }

  async #checkRoom(room, observer) {
    const { epoch, entries } = await inTime(observer.log(room, `observer-${this.seed}`), () => `the log of ${room}`);
    assert.deepEqual(entries.map(({ seq }) => seq), entries.map((_, index) => index + 1));
    const end = `${epoch}:${entries.length}`;
    const everybody = this.watches.map(({ name }) => name).sort().join();
    for (const watch of this.watches) {
      const where = () => {
        const { epoch: at, seq } = watch.position(room) ?? {};
        return `${at}:${seq} ${[...(watch.rooms.get(room)?.users ?? [])].sort().join()}`;
      };
      await inTime(this.#until(watch, () => where() === `${end} ${everybody}`), () => `${watch.name} is at ${where()}, not ${end} ${everybody}`);
      watch.check();
      assert.deepEqual(watch.of('left'), []);
      for (const message of watch.of('message', room)) {
        if (message.epoch !== epoch) continue;
        const { text, from, timestamp } = entries[message.seq - 1];
        assert.deepEqual([message.text, message.from, message.timestamp], [text, from, timestamp]);
      }
      watch.checkOrder(room, entries);
      for (const { message, text } of watch.sends.filter((said) => said.room === room)) {
        const stored = entries.filter((entry) => entry.text === text).map(({ seq }) => seq);
        // What was acknowledged in an epoch that is over is gone with it, and not said again.
        assert.deepEqual(stored, message.epoch === epoch ? [message.seq] : [], `${text} is stored once`);
      }
    }
    // A busy machine may make 30 ms without an answer look like the end, so somebody may be away again.
    let there = '';
    const converged = async () => {
      while ((there = (await observer.users(room)).sort().join()) !== everybody) await pause(5);
    };
    await inTime(converged(), () => `in ${room} there are ${there}, not ${everybody}`);
  }

  /** Waits for events until something holds. */
  #until(watch, holds) {
    return new Promise((resolve) => {
      const stops = ['message', 'joined', 'presence', 'state'].map((type) => watch.client.on(type, () => look()));
      const look = () => {
        if (!holds()) return;
        for (const stop of stops) stop();
        resolve();
      };
      look();
    });
  }
}

const seed = seedOf();
console.log(`PARLOR_SEED=${seed} (${ROUNDS} rounds)`);

/** Plays a round, and names its seed when it fails. */
async function play(round, disturb) {
  try {
    await round.play(disturb);
  } catch (error) {
    error.message = `round ${round.seed} (PARLOR_SEED=${seed}): ${error.message}`;
    throw error;
  }
}

test('through a bad network nothing is lost, nothing is doubled and the order holds', async (t) => {
  const server = new Server(IN_MEMORY);
  await server.start();
  const counts = new Map();
  const count = (what, by) => counts.set(what, (counts.get(what) ?? 0) + by);
  try {
    let next = 0;
    let failure;
    const worker = async () => {
      while (next < ROUNDS && !failure) {
        const round = new Round((seed + next++) >>> 0, server);
        await play(round).catch((error) => (failure ??= error));
        for (const [fault, times] of Object.entries(round.proxy.counts)) count(fault, times);
        for (const watch of round.watches) {
          count('reconnects', watch.of('joined').filter(({ rejoined }) => rejoined).length);
          count('messages', watch.of('message').length);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (failure) throw failure;
  } finally {
    await server.kill();
  }
  t.diagnostic(JSON.stringify(Object.fromEntries(counts)));
  if (ROUNDS < 100) return;
  for (const what of ['cut', 'reset', 'delayed', 'refused', 'halfOpen', 'reconnects', 'messages']) {
    assert.ok(counts.get(what) > 0, `it never came to: ${what}`);
  }
});

test('through a kill -9 the streams stay in order, and what was not acknowledged is stored anew, once', async () => {
  for (let number = 0; number < ROUNDS_IN_MEMORY; number += 1) {
    const server = new Server(IN_MEMORY);
    await server.start();
    const round = new Round((seed + 1_000_000 + number) >>> 0, server);
    try {
      await play(round, async () => {
        // Everybody has seen something of the epoch that ends.
        await inTime(Promise.all(round.watches.flatMap(({ sends }) => sends.slice(0, 1).map(({ promise }) => promise))), () => 'a first message');
        await server.kill();
        await pause(round.random.below(60));
        await server.start();
      });
      const gaps = round.watches.flatMap((watch) => watch.of('gap'));
      assert.ok(gaps.length > 0 && gaps.every(({ last, next }) => last.epoch !== next.epoch), 'the end of the epoch is told');
    } finally {
      await server.kill();
    }
  }
});

/** Kills the server in the midst of talk, and lets it come back, some times. */
async function killWhileTheyTalk(round, server, count) {
  for (let kills = 1 + round.random.below(3); kills > 0; kills -= 1) {
    const talked = round.talk();
    await inTime(round.proxy.passes(round.random.below(80)), () => 'what is to be passed on before the kill');
    await server.kill();
    count('kills', 1);
    count('underWay', round.watches.filter(({ client }) => client.pending > 0).length);
    await server.start();
    await talked;
  }
}

/** All that is stored of a room, page by page from its end. */
async function readBack(client, room) {
  const entries = [];
  for (let hasMore = true; hasMore; ) {
    const page = await inTime(client.history(room, { before: entries[0]?.seq, limit: 100 }), () => `the history of ${room}`);
    entries.unshift(...page.messages);
    ({ hasMore } = page);
  }
  return entries;
}

/** On a disk an epoch goes on: whatever is missing can be recovered, and what was seen is what is stored. */
function checkNothingLost(watch, room, epoch, entries) {
  assert.deepEqual(watch.of('gap', room), []);
  for (const joined of watch.of('joined', room)) {
    assert.equal(joined.epoch, epoch);
    assert.equal(joined.recovered, joined.rejoined, `${watch.name} goes on in ${room} from where it was`);
  }
  const acknowledged = watch.sends.filter((said) => said.room === room).map(({ message }) => message);
  for (const { epoch: of, seq, from, text, timestamp } of [...watch.of('message', room), ...acknowledged]) {
    assert.equal(of, epoch);
    const stored = entries[seq - 1];
    assert.deepEqual([stored?.from, stored?.text, stored?.timestamp], [from, text, timestamp], `${watch.name} saw ${seq} in ${room}`);
  }
}

test('through kill -9 upon kill -9 a server on a disk loses nothing that anybody saw', async (t) => {
  const server = new Server(await onDisk(t));
  const rooms = ['kept-0', 'kept-1'];
  const watches = [];
  const counts = { kills: 0, underWay: 0 };
  const count = (what, by) => (counts[what] += by);
  const arrive = (name) => {
    const watch = new Watch(name, new ParlorClient(`ws://127.0.0.1:${server.port}/ws`, { username: name }));
    watches.push(watch);
    return watch;
  };
  const join = (watch) => Promise.all(rooms.map((room) => watch.client.join(room)));
  const speak = (watch) => Promise.all(rooms.map((room) => watch.send(room, `${watch.name} was in ${room}`)));
  await server.start();
  try {
    // A room in which nothing was said yet goes on, too.
    const first = arrive('the first');
    await inTime(join(first), () => 'the first joins');
    await server.kill();
    await server.start();
    await inTime(speak(first), () => 'the first messages');
    first.client.close();
    for (let number = 0; number < ROUNDS_ON_DISK; number += 1) {
      const round = new Round((seed + 2_000_000 + number) >>> 0, server, rooms);
      await play(round, () => killWhileTheyTalk(round, server, count));
      watches.push(...round.watches);
    }
    await server.kill();
    await server.start();

    const last = arrive('the last');
    await inTime(join(last).then(() => speak(last)), () => 'the last messages');
    for (const room of rooms) {
      const entries = await readBack(last.client, room);
      assert.deepEqual(entries.map(({ seq }) => seq), entries.map((_, index) => index + 1));
      assert.deepEqual([entries[0].text, entries.at(-1).text], [`the first was in ${room}`, `the last was in ${room}`]);
      const [{ epoch }, again] = first.of('joined', room);
      assert.ok(again.rejoined);
      for (const watch of watches) checkNothingLost(watch, room, epoch, entries);
    }
    last.client.close();
  } finally {
    for (const { client } of watches) client.close();
    await server.kill();
  }
  t.diagnostic(JSON.stringify(counts));
  assert.ok(counts.underWay > 0, 'nobody was sending when the server was killed');
});
