// What parlor-client.js promises, one test per promise, in virtual time against a fake server.

import assert from 'node:assert/strict';
import test from 'node:test';

import { ParlorClient, ParlorError, randomId } from './watch.js';
import { FakeStorage, URL_OF_SERVER, World } from './world.js';

/** A test in a world of its own, at whose end every client is closed and leaves nothing behind. */
function holds(name, body, server) {
  test(name, async () => {
    const world = new World(server);
    await body(world);
    await world.end();
  });
}

const numbered = (count, prefix = '') => Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
const HOUR = 3_600_000;

/** A value that is not settled by now. */
async function isPending(world, promise) {
  let settled = false;
  promise.then(() => (settled = true), () => (settled = true));
  await world.run(0);
  return !settled;
}

// Connecting.

holds('it connects in a microtask, and says hello before anything else', async (world) => {
  const alice = world.client('alice');
  assert.equal(world.dials('alice'), 0);
  assert.equal(alice.client.state.state, 'connecting');
  assert.equal(alice.client.state.attempt, 0);
  alice.client.join('r').catch(() => {});
  await world.run(0);
  assert.equal(world.dials('alice'), 1);
  await world.run(1000);
  assert.deepEqual(alice.client.state, { state: 'online' });
  assert.deepEqual(world.heard('alice').map(({ type }) => type).slice(0, 2), ['hello', 'join']);
  assert.equal(world.heard('alice')[0].protocol, 1);
});

holds('hello brings the limits, and the first join the name as the server spells it', async (world) => {
  const alice = await world.member('alice', ['r'], { username: 'Alice' });
  assert.equal(alice.client.username, 'Alice');
  assert.equal(alice.client.limits.text, 2000);
  assert.equal(alice.client.server, 'parlor/fake');
});

for (const [given, expected] of [
  ['ws://h.example:8080/ws', 'ws://h.example:8080/ws'],
  ['wss://h.example/ws', 'wss://h.example/ws'],
  ['http://h.example:8080/ws', 'ws://h.example:8080/ws'],
  ['https://h.example/ws?x=1', 'wss://h.example/ws?x=1'],
  [new URL('https://h.example/ws'), 'wss://h.example/ws'],
  ['/ws', 'wss://page.example/ws'],
]) {
  holds(`${given} (${typeof given}) is a connection to ${expected}`, async (world) => {
    globalThis.location = new URL('https://page.example/chat?x#room=r');
    try {
      world.client('alice', { url: given });
      await world.run(1000);
      assert.equal(world.network.sockets[0].url, expected);
    } finally {
      delete globalThis.location;
    }
  });
}

test('a URL of another kind is refused by the constructor', () => {
  const world = new World();
  for (const url of ['ftp://h.example/ws', 'javascript:alert(1)', 'ws://']) {
    assert.throws(() => world.client('alice', { url }), url);
  }
});

holds('a token is asked for anew at each connection', async (world) => {
  let asked = 0;
  const alice = world.client('alice', { token: async () => `token-${++asked}` });
  await world.until(alice.client.join('r'));
  world.cut('alice');
  await world.run(60_000);
  assert.deepEqual(world.heard('alice', 'hello').map(({ token }) => token), ['token-1', 'token-2']);
});

holds('a fixed token is sent each time', async (world) => {
  world.client('alice', { token: 'abc' });
  await world.run(1000);
  world.cut('alice');
  await world.run(60_000);
  assert.deepEqual(world.heard('alice', 'hello').map(({ token }) => token), ['abc', 'abc']);
});

holds('a token that cannot be had is asked for again later, and somebody is told', async (world) => {
  let asked = 0;
  const alice = world.client('alice', {
    token: () => {
      asked += 1;
      if (asked === 1) throw new Error('no network');
      return asked === 2 ? Promise.reject(new Error('no network')) : 'abc';
    },
  });
  const joined = alice.client.join('r');
  await world.until(joined);
  assert.equal(asked, 3);
  assert.deepEqual(world.heard('alice', 'hello').map(({ token }) => token), ['abc']);
  const told = alice.of('error').length + alice.of('state').filter(({ state, reason }) => state === 'offline' && reason).length;
  assert.ok(told >= 2, 'each failure is reported');
});

holds('a token that never comes times out like a connection', async (world) => {
  let asked = 0;
  const alice = world.client('alice', { token: () => (++asked === 1 ? new Promise(() => {}) : 'abc') });
  await world.until(alice.client.join('r'));
  assert.equal(asked, 2);
});

holds('close() while a token is awaited is final', async (world) => {
  let give;
  const alice = world.client('alice', { token: () => new Promise((resolve) => (give = resolve)) });
  await world.run(10);
  alice.client.close();
  give('abc');
  await world.run(60_000);
  assert.equal(world.dials('alice'), 0);
  assert.equal(alice.client.state.state, 'closed');
});

holds('a connection that never opens times out', async (world) => {
  world.network.mode = () => (world.network.sockets.length === 0 ? 'hang' : 'accept');
  const alice = world.client('alice', { random: () => 0 });
  await world.run(9_900);
  assert.equal(world.dials('alice'), 1);
  await world.run(1000);
  assert.equal(world.dials('alice'), 2);
  assert.equal(alice.client.state.state, 'online');
  assert.ok(world.network.sockets[0].readyState >= 2, 'the first one is given up');
});

holds('a connection that opens but never says hello times out', async (world) => {
  world.server.intercept = (request) => (world.dials('alice') === 1 && request.type === 'hello' ? { code: 'X', bare: false } : undefined);
  const alice = world.client('alice', { random: () => 0 });
  await world.run(5);
  world.link('alice').socket.addEventListener('open', () => world.link('alice').mute('down'));
  await world.run(10_500);
  assert.equal(world.dials('alice'), 2);
  assert.equal(alice.client.state.state, 'online');
});

holds('connectTimeoutMs says how long', async (world) => {
  world.network.mode = () => 'hang';
  world.client('alice', { random: () => 0, connectTimeoutMs: 200 });
  await world.run(150);
  assert.equal(world.dials('alice'), 1);
  await world.run(100);
  assert.equal(world.dials('alice'), 2);
});

holds('an error without a close, as Node 20 tells of a refused connection, is an end as well', async (world) => {
  world.network.mode = () => (world.network.sockets.length < 3 ? 'error only' : 'accept');
  const alice = world.client('alice', { random: () => 0 });
  await world.run(1000);
  assert.equal(alice.client.state.state, 'online');
});

holds('what an abandoned socket says later changes nothing', async (world) => {
  world.network.mode = () => (world.network.sockets.length === 0 ? 'hang' : 'accept');
  const alice = world.client('alice', { random: () => 0 });
  const said = alice.client.join('r').then(() => alice.send('r', 'one'));
  await world.run(9_000);
  await world.until(said);
  const [old] = world.network.sockets;
  const events = alice.events.length;
  old.readyState = 1;
  old.emit('open');
  old.emit('message', { data: JSON.stringify({ type: 'message', roomId: 'r', from: 'x', text: 'late', seq: 2, timestamp: 1 }) });
  old.emit('message', { data: JSON.stringify({ type: 'error', code: 'SERVER_SHUTDOWN', message: '', retryAfterMs: 1 }) });
  old.emit('error');
  old.emit('close', { code: 4500, reason: 'unauthorized', wasClean: true });
  await world.run(20_000);
  assert.equal(alice.events.length, events);
  assert.equal(world.dials('alice'), 2);
  assert.equal(alice.client.state.state, 'online');
});

// Backoff.

for (const random of [0, 0.25, 0.5, 0.999999]) {
  holds(`delays grow twofold up to the cap, times a random of ${random}`, async (world) => {
    world.refuse();
    const alice = world.client('alice', { random: () => random, backoff: { baseMs: 500, capMs: 30_000 } });
    const delays = [];
    alice.client.on('state', (state) => {
      if (state.state === 'offline') delays.push(state.retryAt - world.clock.now());
    });
    await world.when(() => delays.length >= 10);
    const expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000];
    delays.slice(0, 10).forEach((delay, index) => {
      assert.ok(Math.abs(delay - expected[index] * random) <= 1, `delay ${index} is ${delay}, not ${expected[index] * random}`);
    });
  });
}

holds('offline says when the next attempt comes, and then it comes', async (world) => {
  world.refuse();
  const alice = world.client('alice', { random: () => 0.5 });
  await world.run(100);
  for (let attempt = 1; attempt < 5; attempt += 1) {
    const { state, retryAt } = alice.client.state;
    assert.equal(state, 'offline');
    const dials = world.dials('alice');
    await world.run(retryAt - world.clock.now() - 1);
    assert.equal(world.dials('alice'), dials);
    await world.run(1);
    assert.equal(world.dials('alice'), dials + 1);
    assert.equal(alice.client.state.state, 'connecting');
    assert.equal(alice.client.state.attempt, attempt);
    await world.run(20);
  }
});

const lastDelay = (world, watch) => {
  const { state, retryAt } = watch.client.state;
  assert.equal(state, 'offline');
  return retryAt - world.clock.now();
};

holds('a connection that breaks at once does not reset the backoff', async (world) => {
  const alice = world.client('alice', { random: () => 0.999999 });
  let before = 0;
  for (let attempt = 0; attempt < 6; attempt += 1) {
    await world.when(() => alice.client.state.state === 'online');
    await world.run(5);
    world.cut('alice');
    await world.run(0);
    const delay = lastDelay(world, alice);
    assert.ok(delay > before * 1.9, `${delay} ms behind ${before} ms`);
    before = delay;
  }
});

holds('a connection that lasted resets the backoff', async (world) => {
  world.refuse();
  const alice = world.client('alice', { random: () => 0.999999 });
  await world.run(60_000);
  world.accept();
  await world.run(60_000);
  assert.equal(alice.client.state.state, 'online');
  await world.run(HOUR);
  world.cut('alice');
  await world.run(0);
  assert.ok(lastDelay(world, alice) <= 500);
});

holds('retryAfterMs of a server that shuts down is waited for', async (world) => {
  const alice = await world.member('alice', ['r'], { random: () => 0 });
  world.server.intercept = () => undefined;
  const at = world.clock.now();
  world.server.connections.values().next().value.send({ type: 'error', code: 'SERVER_SHUTDOWN', message: '', retryAfterMs: 7000 });
  world.server.connections.values().next().value.close(1001);
  await world.run(6900);
  assert.equal(world.dials('alice'), 1);
  assert.ok(alice.client.state.retryAt >= at + 7000);
  await world.run(1000);
  assert.equal(alice.client.state.state, 'online');
  // Only once: the next break is an ordinary one.
  await world.run(HOUR);
  world.cut('alice');
  await world.run(500);
  assert.equal(alice.client.state.state, 'online');
});

for (const code of [1000, 1001, 1002, 1006, 1011, 1012, 4000, 4001, 4002, 4499]) {
  holds(`it reconnects after ${code}`, async (world) => {
    const alice = await world.member('alice');
    if (code === 1006) world.cut('alice');
    else [...world.server.connections][0].close(code, 'because');
    await world.run(20);
    assert.equal(alice.client.state.state, 'offline');
    assert.equal(alice.client.state.code, code);
    await world.run(60_000);
    assert.equal(alice.client.state.state, 'online');
    assert.deepEqual(world.server.room('r').users, ['alice']);
  });
}

for (const code of [4500, 4501, 4502, 4503, 4504, 4999]) {
  holds(`it never reconnects after ${code}, and rejects whatever waits`, async (world) => {
    const alice = await world.member('alice');
    world.link('alice').mute('up');
    const { client } = alice;
    const waiting = [
      alice.send('r', 'one'), alice.send('r', 'two'), client.join('s'), client.history('r'), client.rooms(), client.users('r'),
    ].map((promise) => promise.then(() => 'resolved', (error) => error));
    await world.run(100);
    [...world.server.connections][0].close(code, 'never again');
    await world.run(100);
    for (const error of await world.until(Promise.all(waiting))) {
      assert.ok(error instanceof ParlorError, `${error}`);
      assert.equal(error.code, 'CLOSED');
    }
    assert.equal(client.state.state, 'closed');
    assert.equal(client.state.code, code);
    assert.equal(client.state.reason, 'never again');
    await world.run(24 * HOUR);
    client.retry();
    await world.run(HOUR);
    assert.equal(world.dials('alice'), 1);
    assert.equal(await world.codeOf(client.send('r', 'three')), 'CLOSED');
    assert.equal(await world.codeOf(client.join('r')), 'CLOSED');
  });
}

holds('retry() connects at once when it is offline', async (world) => {
  world.refuse();
  const alice = world.client('alice', { random: () => 0.999999 });
  await world.run(100_000);
  assert.equal(alice.client.state.state, 'offline');
  world.accept();
  alice.client.retry();
  await world.run(100);
  assert.equal(alice.client.state.state, 'online');
  await world.run(HOUR);
  assert.equal(world.network.of('alice').length, 1);
});

holds('retry() finds out soon that a connection is dead, and keeps one that lives', async (world) => {
  const alice = await world.member('alice', ['r'], { random: () => 0 });
  alice.client.retry();
  await world.run(10_000);
  assert.equal(world.dials('alice'), 1);
  world.link('alice').mute('up', 'down');
  alice.client.retry();
  await world.run(24_000);
  assert.equal(world.dials('alice'), 2);
  assert.equal(alice.client.state.state, 'online');
});

// Dead servers.

for (const directions of [['up'], ['down'], ['up', 'down']]) {
  holds(`a server that is silent for two ping intervals (${directions} mute) is left for a new connection`, async (world) => {
    const alice = await world.member('alice', ['r'], { random: () => 0 });
    await world.run(100_000);
    world.link('alice').mute(...directions);
    await world.run(50_000 + 100);
    assert.equal(world.dials('alice'), 2);
    await world.run(1000);
    assert.equal(alice.client.state.state, 'online');
    assert.deepEqual(world.server.room('r').users, ['alice']);
  });
}

holds('pingIntervalMs is at most what the server says, and may be less', async (world) => {
  const alice = await world.member('alice', ['r'], { random: () => 0, pingIntervalMs: 1000 });
  world.link('alice').mute('down');
  await world.run(2100);
  assert.equal(world.dials('alice'), 2);
  const bob = await world.member('bob', ['r'], { random: () => 0, pingIntervalMs: HOUR });
  world.link('bob').mute('down');
  await world.run(50_100);
  assert.equal(world.dials('bob'), 2);
  assert.ok(alice && bob);
});

holds('an idle connection is kept for hours, and pinged with measure', async (world) => {
  const alice = await world.member('alice');
  await world.run(2 * HOUR);
  assert.equal(world.dials('alice'), 1);
  const pings = world.heard('alice', 'ping').length;
  assert.ok(pings >= (2 * HOUR) / 50_000 - 1 && pings <= (2 * HOUR) / 10_000, `${pings} pings`);
  assert.equal(alice.of('state').filter(({ state }) => state === 'offline').length, 0);
});

holds('answers that take most of a ping interval are no reason to leave', async (world) => {
  const alice = await world.member('alice');
  world.network.delay = (direction) => (direction === 'down' ? 20_000 : 10);
  await world.run(HOUR);
  assert.equal(world.dials('alice'), 1);
  assert.equal(alice.client.state.state, 'online');
});

for (const [name, late] of [
  ['to the full minute', (due) => Math.ceil(due / 60_000) * 60_000],
  ['by five minutes', (due) => due + 300_000],
]) {
  holds(`timers that fire late (${name}), as in a background tab, are no dead server`, async (world) => {
    const alice = await world.member('alice', ['r'], { late });
    await world.run(4 * HOUR);
    assert.equal(world.dials('alice'), 1);
    assert.equal(alice.client.state.state, 'online');
  });

  holds(`timers that fire late (${name}) still find a dead server`, async (world) => {
    const alice = await world.member('alice', ['r'], { late });
    world.link('alice').mute('down');
    await world.run(HOUR);
    assert.equal(alice.client.state.state, 'online');
    assert.ok(world.dials('alice') >= 2);
  });
}

holds('a machine that slept keeps its connection if that still lives', async (world) => {
  const alice = await world.member('alice');
  for (const sleep of [30_000, 10 * 60_000, 8 * HOUR]) {
    world.clock.jump(sleep);
    await world.run(sleep % 100_000);
  }
  await world.run(HOUR);
  assert.equal(world.dials('alice'), 1);
  assert.equal(alice.client.state.state, 'online');
});

holds('a machine that slept through the end of its connection finds out within two ping intervals', async (world) => {
  const alice = await world.member('alice', ['r'], { random: () => 0 });
  world.link('alice').mute('up', 'down');
  world.clock.jump(8 * HOUR);
  await world.run(50_100);
  assert.equal(alice.client.state.state, 'online');
  assert.equal(world.dials('alice'), 2);
});

// Messages.

holds('every message comes once and in order, to its sender too, across reconnects', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  const texts = numbered(30);
  for (const [index, text] of texts.entries()) {
    bob.send('r', text);
    await world.run(37 * (index % 5));
    if (index % 4 === 1) world.cut('alice');
    if (index % 7 === 3) world.cut('bob');
  }
  await world.run(120_000);
  assert.deepEqual(alice.texts('r'), texts);
  assert.deepEqual(bob.texts('r'), texts);
  assert.deepEqual(world.server.room('r').log.map(({ text }) => text), texts);
  assert.ok(bob.of('message').every(({ own, from }) => own && from === 'bob'));
  assert.ok(alice.of('message').every(({ own, from }) => !own && from === 'bob'));
});

holds('a reconnect joins with the place last seen', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  await world.until(bob.send('r', 'one'));
  await world.run(100);
  world.cut('alice');
  await world.until(bob.send('r', 'two'));
  await world.run(60_000);
  const { epoch } = world.server.room('r');
  const [first, second] = world.heard('alice', 'join');
  assert.equal(first.since, undefined);
  assert.deepEqual(second.since, { epoch, seq: 1 });
  const [, rejoined] = alice.of('joined');
  const { users, ...rest } = rejoined;
  assert.deepEqual(rest, { room: 'r', userCount: 2, epoch, seq: 2, recovered: true, rejoined: true });
  assert.deepEqual(alice.texts('r'), ['one', 'two']);
});

holds('a message has all its fields, and what was said before the join is marked so', async (world) => {
  const bob = await world.member('bob');
  const sent = await world.until(bob.send('r', 'one', 'id-1'));
  const { epoch, log } = world.server.room('r');
  const alice = await world.member('alice');
  const expected = { room: 'r', epoch, seq: 1, from: 'bob', text: 'one', timestamp: log[0].timestamp };
  const [shown] = alice.of('message');
  assert.deepEqual({ ...shown }, { ...shown, ...expected, own: false, replayed: true });
  assert.deepEqual({ ...sent }, { ...sent, ...expected, own: true, replayed: false, clientMsgId: 'id-1' });
  await world.until(bob.send('r', 'two'));
  await world.run(100);
  assert.equal(alice.of('message')[1].replayed, false);
});

holds('join says how much history is wanted, and since where one was', async (world) => {
  const bob = await world.member('bob');
  for (const text of numbered(10)) await world.until(bob.send('r', text));
  const { epoch } = world.server.room('r');
  for (const [owner, options, texts] of [
    ['a', { history: 0 }, []],
    ['b', { history: 3 }, ['8', '9', '10']],
    ['c', {}, numbered(10)],
    ['d', { since: { epoch, seq: 6 } }, ['7', '8', '9', '10']],
  ]) {
    const watch = world.client(owner);
    const joined = await world.until(watch.client.join('r', options));
    await world.run(100);
    assert.equal(joined.seq, 10);
    assert.equal(joined.rejoined, false);
    assert.deepEqual(watch.texts('r'), texts);
    assert.equal(watch.of('gap').length, 0);
  }
});

holds('whoever joins without history misses nothing that is said later', async (world) => {
  const bob = await world.member('bob');
  for (const text of numbered(5)) await world.until(bob.send('r', text));
  const alice = world.client('alice');
  await world.until(alice.client.join('r', { history: 0 }));
  world.cut('alice');
  await world.until(bob.send('r', 'six'));
  await world.run(60_000);
  await world.until(bob.send('r', 'seven'));
  await world.run(100);
  assert.deepEqual(alice.texts('r'), ['six', 'seven']);
  assert.equal(alice.of('gap').length, 0);
});

for (const tellsOwn of [true, false]) {
  holds(`what is unacknowledged resolves to the original, in order, ${tellsOwn ? 'when a join shows it' : 'when it is sent again with its id'}`, async (world) => {
    world.server.tellsOwn = tellsOwn;
    const alice = await world.member('alice');
    const bob = await world.member('bob');
    const sends = numbered(3).map((text) => alice.send('r', text));
    await world.run(15);
    // The first is stored, and its acknowledgement is lost.
    assert.equal(world.server.room('r').log.length, 1);
    world.cut('alice');
    await world.until(bob.send('r', 'between'));
    const messages = await world.until(Promise.all(sends));
    assert.deepEqual(messages.map(({ seq, clientMsgId }) => [seq, clientMsgId]), [[1, 'alice-0'], [3, 'alice-1'], [4, 'alice-2']]);
    assert.deepEqual(world.server.room('r').log.map(({ text }) => text), ['1', 'between', '2', '3']);
    const ids = world.heard('alice', 'message').map(({ clientMsgId, text }) => `${text} ${clientMsgId}`);
    assert.deepEqual(ids.slice(tellsOwn ? 0 : 1), ['1 alice-0', '2 alice-1', '3 alice-2']);
    assert.equal(ids[0], '1 alice-0');
    assert.deepEqual(alice.texts('r'), ['1', 'between', '2', '3']);
  });
}

holds('what never reached the server is sent again with its id, and before what follows', async (world) => {
  const alice = await world.member('alice');
  const sends = numbered(3).map((text) => alice.send('r', text));
  await world.run(5);
  world.cut('alice');
  await world.until(Promise.all(sends));
  const ids = world.server.room('r').log.map(({ clientMsgId, text }) => `${text} ${clientMsgId}`);
  assert.deepEqual(ids, ['1 alice-0', '2 alice-1', '3 alice-2']);
});

holds('what a join shows as stored is not stored again, however much is said before the retry', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  const sent = alice.send('r', 'in flight');
  await world.run(15);
  world.cut('alice');
  for (const text of numbered(8)) await world.until(bob.send('r', text));
  await world.when(() => world.heard('alice', 'join').length >= 2);
  // The log moves on behind the join: the original is no longer among its last entries.
  for (const text of numbered(5, 'more ')) bob.send('r', text);
  await world.until(sent);
  await world.run(10_000);
  assert.equal(world.server.room('r').log.filter(({ text }) => text === 'in flight').length, 1);
}, { tail: 10 });

holds('a client makes ids of its own, each another one', async (world) => {
  const alice = await world.member('alice');
  await world.until(Promise.all(numbered(5).map((text) => alice.client.send('r', text))));
  const ids = world.heard('alice', 'message').map(({ clientMsgId }) => clientMsgId);
  assert.equal(new Set(ids).size, 5);
  for (const id of ids) assert.match(id, /^[\x20-\x7e]{1,64}$/);
});

holds('an id may be all that the server allows: 64 printable characters, spaces too', async (world) => {
  const alice = await world.member('alice');
  for (const clientMsgId of ['with a space', '~'.repeat(64), '"\\"']) {
    assert.equal((await world.until(alice.client.send('r', clientMsgId, { clientMsgId }))).clientMsgId, clientMsgId);
  }
});

holds('two clients never make the same id, even with the same random numbers', async (world) => {
  const [one, two] = [await world.member('one', ['r'], { random: () => 0.5 }), await world.member('two', ['r'], { random: () => 0.5 })];
  await world.until(Promise.all([one.client.send('r', '1'), two.client.send('r', '2')]));
  const [first, second] = world.server.room('r').log;
  assert.notEqual(first.clientMsgId, second.clientMsgId);
});

holds('a message that the lost answer was about is sent again even if nothing else is', async (world) => {
  const alice = await world.member('alice');
  const sent = alice.send('r', 'one');
  world.link('alice').mute('up');
  await world.run(120_000);
  assert.equal((await world.until(sent)).seq, 1);
});

holds('offline messages wait, and are stored in order when the server is back', async (world) => {
  const alice = await world.member('alice', ['r', 's']);
  world.refuse();
  world.cut('alice');
  const sends = numbered(10).flatMap((text) => [alice.send('r', `r${text}`), alice.send('s', `s${text}`)]);
  await world.run(HOUR);
  assert.ok(await isPending(world, sends[0]));
  world.accept();
  await world.until(Promise.all(sends));
  for (const room of ['r', 's']) {
    assert.deepEqual(world.server.room(room).log.map(({ text }) => text), numbered(10, room));
    assert.deepEqual(alice.texts(room), numbered(10, room));
  }
});

holds('messages may be sent while the join is on its way', async (world) => {
  const alice = world.client('alice');
  const joined = alice.client.join('r');
  const sends = numbered(3).map((text) => alice.send('r', text));
  await world.until(Promise.all([joined, ...sends]));
  assert.deepEqual(world.server.room('r').log.map(({ text }) => text), numbered(3));
});

for (const refusal of [
  { code: 'RATE_LIMITED', retryAfterMs: 700 },
  { code: 'STORE_UNAVAILABLE' },
  { code: 'RATE_LIMITED', retryAfterMs: 300, bare: true },
]) {
  holds(`the order of a room holds although a middle message meets ${refusal.code}${refusal.bare ? ' without a ref' : ''}`, async (world) => {
    const alice = await world.member('alice', ['r', 's']);
    let refusals = 0;
    world.server.intercept = (request) => (request.text === '3' && refusals++ < 3 ? refusal : undefined);
    const started = world.clock.now();
    const sends = numbered(6).map((text) => alice.send('r', text));
    const other = alice.send('s', 'meanwhile');
    await world.until(other, 1000);
    await world.until(Promise.all(sends));
    assert.equal(refusals, 4);
    assert.deepEqual(world.server.room('r').log.map(({ text }) => text), numbered(6));
    assert.deepEqual(alice.texts('r'), numbered(6));
    if (refusal.retryAfterMs) assert.ok(world.clock.now() - started >= 3 * refusal.retryAfterMs, 'it waits as long as it is told');
    assert.ok(world.heard('alice', 'message').length < 20, 'and does not hammer');
  });
}

holds('a long burst is said at the rate of the server, in order, and nothing is lost', async (world) => {
  const alice = await world.member('alice');
  const texts = numbered(200);
  await world.until(Promise.all(texts.map((text) => alice.send('r', text))));
  assert.deepEqual(world.server.room('r').log.map(({ text }) => text), texts);
  assert.equal(world.dials('alice'), 1, 'and it is not cut for flooding');
});

holds('flood control that reads nothing loses no request of any kind', async (world) => {
  for (const type of ['hello', 'join', 'message', 'get_history', 'list_rooms', 'list_users', 'leave']) {
    const owner = `owner-${type}`;
    let refused = 0;
    world.server.intercept = (request, conn) =>
      conn.owner === owner && request.type === type && refused++ < 2 ? { code: 'RATE_LIMITED', retryAfterMs: 200, bare: true } : undefined;
    const watch = world.client(owner);
    const { client } = watch;
    await world.until(client.join('r'));
    const answers = Promise.all([watch.send('r', `by ${owner}`), client.history('r'), client.rooms(), client.users('r')]);
    const [message, history, rooms, users] = await world.until(answers);
    assert.equal(message.text, `by ${owner}`);
    assert.equal(history.room, 'r');
    assert.deepEqual(rooms.rooms.map(({ id }) => id), ['r']);
    assert.ok(users.users.includes(owner));
    await world.until(client.leave('r'));
    assert.equal(world.server.room('r').members, 0);
    assert.equal(refused, 3, `${type} was refused twice and said again`);
    await world.run(1000);
  }
});

holds('a refused ping is no dead server and no lost request', async (world) => {
  const alice = await world.member('alice');
  let refused = 0;
  world.server.intercept = (request) => (request.type === 'ping' && refused++ < 10 ? { code: 'RATE_LIMITED', retryAfterMs: 200, bare: true } : undefined);
  await world.run(HOUR);
  assert.ok(refused > 10);
  assert.equal(world.dials('alice'), 1);
  await world.until(alice.send('r', 'one'));
  assert.deepEqual(alice.texts('r'), ['one']);
});

holds('a whole flood of requests is answered in the end, all of them', async (world) => {
  const alice = await world.member('alice');
  const answers = [];
  for (let index = 0; index < 250; index += 1) {
    answers.push(alice.client.rooms(), alice.client.users('r'), alice.client.history('r', { limit: 1 }));
    if (index % 10 === 0) answers.push(alice.send('r', `${index}`));
  }
  await world.until(Promise.all(answers), HOUR);
  assert.deepEqual(world.server.room('r').log.map(({ text }) => text), Array.from({ length: 25 }, (_, index) => `${index * 10}`));
});

holds('everything in flight refused unread, whatever there is of it, is asked again', async (world) => {
  const rooms = numbered(40, 'room ');
  const alice = await world.member('alice', rooms);
  const until = world.clock.now() + 500;
  world.server.intercept = () => (world.clock.now() < until ? { code: 'RATE_LIMITED', retryAfterMs: until - world.clock.now(), bare: true } : undefined);
  const answers = rooms.flatMap((room) => [alice.send(room, `in ${room}`), alice.client.users(room)]);
  await world.until(Promise.all(answers), HOUR);
  for (const room of rooms) assert.deepEqual(alice.texts(room), [`in ${room}`]);
});

for (const [name, isRefused] of [
  ['typing', ({ type }) => type === 'typing'],
  ['the message behind it', ({ type }) => type === 'message'],
  ['both', ({ type }) => type === 'typing' || type === 'message'],
]) {
  holds(`typing has no answer, and yet it is found out what was refused unread: ${name}`, async (world) => {
    const alice = await world.member('alice');
    const until = world.clock.now() + 50;
    world.server.intercept = (request) => (isRefused(request) && world.clock.now() < until ? { code: 'RATE_LIMITED', retryAfterMs: 200, bare: true } : undefined);
    alice.client.typing('r');
    await world.until(alice.send('r', 'one'), 5000);
    assert.deepEqual(world.server.room('r').log.map(({ text }) => text), ['one']);
    assert.equal(world.dials('alice'), 1);
  });
}

holds('a hundred rooms are rejoined although the server allows few frames', async (world) => {
  const rooms = numbered(100, 'room ');
  const alice = await world.member('alice', rooms);
  world.cut('alice');
  await world.run(10 * 60_000);
  for (const room of rooms) assert.deepEqual(world.server.room(room).users, ['alice'], room);
  assert.equal(world.dials('alice'), 2);
}, { limits: { messagesPerSecond: 1, burst: 1 } });

holds('DUPLICATE_ID and other refusals reject one message and let the next one pass', async (world) => {
  const alice = await world.member('alice');
  await world.until(alice.send('r', 'one', 'same'));
  const second = alice.client.send('r', 'two', { clientMsgId: 'same' });
  const third = alice.send('r', 'three');
  const error = await world.until(second.catch((error) => error));
  assert.ok(error instanceof ParlorError && error instanceof Error);
  assert.deepEqual([error.code, error.room, error.clientMsgId], ['DUPLICATE_ID', 'r', 'same']);
  assert.equal((await world.until(third)).seq, 2);
});

holds('a message to a room that was never joined is rejected, not kept for ever', async (world) => {
  const alice = await world.member('alice');
  const code = await world.codeOf(alice.client.send('nowhere', 'hello?'));
  assert.ok(['NOT_IN_ROOM', 'LEFT'].includes(code), code);
});

holds('beyond maxPending a message is refused at once, and those before it are kept', async (world) => {
  const alice = await world.member('alice', ['r'], { maxPending: 3 });
  world.refuse();
  world.cut('alice');
  await world.run(0);
  const kept = numbered(3).map((text) => alice.send('r', text));
  assert.equal(await world.codeOf(alice.client.send('r', 'four'), 1), 'QUEUE_FULL');
  world.accept();
  await world.until(Promise.all(kept));
  assert.deepEqual(world.server.room('r').log.map(({ text }) => text), numbered(3));
  await world.until(alice.send('r', 'five'));
});

holds('a text that is too long is refused before anything is sent', async (world) => {
  const alice = await world.member('alice');
  const heard = world.heard('alice').length;
  for (const text of ['', 'x'.repeat(2001), '👋'.repeat(2001), `${'x'.repeat(2000)}👋`, 'a lone \ud800 surrogate', '\udc00', 7, null, undefined, {}]) {
    assert.equal(await world.codeOf(alice.client.send('r', text), 1), 'INVALID_MESSAGE', `${text}`.slice(0, 30));
  }
  assert.equal(world.heard('alice').length, heard);
  for (const text of ['x'.repeat(2000), '👋'.repeat(2000), ' ', '\0', '<b>']) {
    assert.equal((await world.until(alice.send('r', text))).text, text);
  }
});

holds('the limit of hello counts, whatever it is', async (world) => {
  const alice = await world.member('alice');
  assert.equal(await world.codeOf(alice.client.send('r', 'x'.repeat(11)), 1), 'INVALID_MESSAGE');
  await world.until(alice.send('r', 'x'.repeat(10)));
}, { limits: { text: 10 } });

holds('a text that turns out too long when the server is met is rejected then, and the next one passes', async (world) => {
  const alice = world.client('alice');
  alice.client.join('r').catch(() => {});
  const long = alice.client.send('r', 'x'.repeat(11)).then(() => 'stored', (error) => error.code);
  const short = alice.send('r', 'short');
  assert.equal((await world.until(short)).seq, 1);
  assert.equal(await world.until(long), 'INVALID_MESSAGE');
}, { limits: { text: 10 } });

holds('a bad room is rejected, and harms nothing', async (world) => {
  const alice = await world.member('alice');
  for (const room of ['', ' r', 'r\n', 'x'.repeat(65), '\u200b']) {
    assert.equal(await world.codeOf(alice.client.join(room)), 'INVALID_ROOM_ID', JSON.stringify(room));
  }
  world.cut('alice');
  await world.run(60_000);
  assert.equal(alice.client.state.state, 'online');
  await world.until(alice.send('r', 'one'));
});

holds('a bad id is rejected, and the next message passes', async (world) => {
  const alice = await world.member('alice');
  for (const clientMsgId of ['', 'ü', 'x'.repeat(65)]) {
    const code = await world.codeOf(alice.client.send('r', 'one', { clientMsgId }));
    assert.ok(['INVALID_FIELD', 'INVALID_MESSAGE'].includes(code), `${code}`);
  }
  assert.equal((await world.until(alice.send('r', 'two'))).seq, 1);
});

// Gaps.

holds('a gap within an epoch is announced with its places, before the message behind it', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  for (const text of numbered(3)) await world.until(bob.send('r', text));
  world.refuse('alice');
  world.cut('alice');
  for (const text of numbered(30, 'missed ')) await world.until(bob.send('r', text));
  world.accept();
  await world.run(60_000);
  const { epoch } = world.server.room('r');
  const story = alice.events.filter(([type]) => ['joined', 'gap', 'message'].includes(type)).slice(4);
  assert.deepEqual(story.map(([type]) => type), ['joined', 'gap', ...Array(10).fill('message')]);
  assert.equal(story[0][1].recovered, false);
  assert.deepEqual(story[1][1], { room: 'r', last: { epoch, seq: 3 }, next: { epoch, seq: 24 } });
  assert.equal(story[2][1].seq, 24);
  // What was missed can be had from history as long as the server has it.
  const page = await world.until(alice.client.history('r', { before: 24 }));
  assert.ok(page.messages.every(({ seq }) => seq < 24));
}, { tail: 10 });

holds('no gap is announced when the last messages reach back to what was seen', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  for (const text of numbered(5)) await world.until(bob.send('r', text));
  await world.run(100);
  world.cut('alice');
  // The server cannot recover, yet its last messages overlap.
  world.server.intercept = (request) => {
    if (request?.type === 'join' && request.since) request.since.epoch = 'elsewhere';
  };
  await world.until(bob.send('r', '6'));
  await world.run(60_000);
  assert.deepEqual(alice.texts('r'), numbered(6));
  assert.equal(alice.of('gap').length, 0);
  assert.equal(alice.of('joined').at(-1).recovered, false);
  // What was seen already is no part of a page of history, either.
  const page = await world.until(alice.client.history('r', { before: 4, limit: 2 }));
  assert.deepEqual(page.messages.map(({ text }) => text), ['2', '3']);
});

holds('a new epoch is announced as a gap before its first message', async (world) => {
  const alice = await world.member('alice');
  for (const text of numbered(4)) await world.until(alice.send('r', text));
  const old = world.server.room('r').epoch;
  world.server.restart();
  await world.run(60_000);
  await world.until(alice.send('r', 'after'));
  await world.run(100);
  const { epoch } = world.server.room('r');
  assert.notEqual(epoch, old);
  const story = alice.events.filter(([type]) => ['gap', 'message'].includes(type)).slice(4);
  assert.deepEqual(story.map(([type]) => type), ['gap', 'message']);
  assert.deepEqual(story[0][1], { room: 'r', last: { epoch: old, seq: 4 }, next: { epoch, seq: 1 } });
  assert.deepEqual([story[1][1].epoch, story[1][1].seq], [epoch, 1]);
});

holds('a new epoch with more messages than are replayed begins where they begin', async (world) => {
  const alice = await world.member('alice');
  for (const text of numbered(2)) await world.until(alice.send('r', text));
  const old = world.server.room('r').epoch;
  world.refuse('alice');
  world.server.restart();
  const bob = await world.member('bob');
  for (const text of numbered(60, 'new ')) await world.until(bob.send('r', text));
  world.accept();
  await world.run(60_000);
  const { epoch } = world.server.room('r');
  assert.deepEqual(alice.of('gap'), [{ room: 'r', last: { epoch: old, seq: 2 }, next: { epoch, seq: 11 } }]);
  assert.deepEqual(alice.texts('r').slice(2), numbered(60, 'new ').slice(10));
});

holds('a server that restarts with its log is no gap', async (world) => {
  const alice = await world.member('alice');
  await world.until(alice.send('r', 'one'));
  world.server.restart({ keepLog: true, code: 1012 });
  await world.until(alice.send('r', 'two'));
  assert.deepEqual(alice.texts('r'), ['one', 'two']);
  assert.equal(alice.of('gap').length, 0);
});

holds('what is unacknowledged at a restart without the log is stored in the new epoch', async (world) => {
  const alice = await world.member('alice');
  const sends = numbered(3).map((text) => alice.send('r', text));
  await world.run(15);
  assert.equal(world.server.room('r').log.length, 1);
  world.cut('alice');
  world.server.restart();
  const messages = await world.until(Promise.all(sends));
  assert.deepEqual(messages.map(({ seq }) => seq), [1, 2, 3]);
  assert.deepEqual(new Set(messages.map(({ epoch }) => epoch)), new Set([world.server.room('r').epoch]));
});

for (const dropped of [1, 3]) {
  holds(`${dropped} missing on a living connection: the client catches up, and nothing is lost or doubled`, async (world) => {
    const alice = await world.member('alice');
    const bob = await world.member('bob');
    await world.until(bob.send('r', '1'));
    await world.run(100);
    [...world.server.connections].find(({ owner }) => owner === 'alice').drop = dropped;
    const texts = numbered(dropped + 4);
    // Some come while the client catches up.
    for (const text of texts.slice(1)) await world.until(bob.send('r', text));
    await world.run(10_000);
    assert.deepEqual(alice.texts('r'), texts);
    assert.equal(alice.of('gap').length, 0);
    assert.equal(world.dials('alice'), 1);
    const joins = world.heard('alice', 'join');
    assert.equal(joins[1].since.seq, 1);
    assert.ok(joins.length <= 2 + dropped, 'it asks with measure');
  });
}

holds('catching up on a living connection may end in a gap', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  await world.until(bob.send('r', '1'));
  await world.run(100);
  [...world.server.connections].find(({ owner }) => owner === 'alice').drop = 20;
  for (const text of numbered(25).slice(1)) await world.until(bob.send('r', text));
  await world.run(10_000);
  const gaps = alice.of('gap');
  assert.equal(gaps.length, 1);
  assert.equal(gaps[0].last.seq, 1);
  assert.equal(alice.texts('r').at(-1), '25');
  assert.ok(alice.texts('r').length >= 6);
}, { tail: 10 });

holds('its own acknowledged message that jumps ahead waits for what lies before it', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  await world.until(bob.send('r', '1'));
  await world.run(100);
  [...world.server.connections].find(({ owner }) => owner === 'alice').drop = 1;
  await world.until(bob.send('r', '2'));
  const sent = await world.until(alice.send('r', '3'));
  assert.equal(sent.seq, 3);
  await world.run(1000);
  assert.deepEqual(alice.texts('r'), ['1', '2', '3']);
});

holds('OUTCOME_UNKNOWN: when too much was said meanwhile to tell, the sender is told, and only about what was on its way', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  const [first, second] = [alice.send('r', 'in flight'), alice.send('r', 'queued')];
  await world.run(15);
  world.refuse('alice');
  world.cut('alice');
  for (const text of numbered(30)) await world.until(bob.send('r', text));
  world.accept();
  const error = await world.until(first.catch((error) => error));
  assert.equal(error.code, 'OUTCOME_UNKNOWN');
  assert.equal(error.room, 'r');
  assert.equal(error.clientMsgId, 'alice-0');
  assert.equal((await world.until(second)).text, 'queued');
  assert.equal(world.server.room('r').log.filter(({ text }) => text === 'in flight').length, 1);
}, { tail: 10 });

holds('a message that is in sight again is not unknown', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  for (const text of numbered(20)) await world.until(bob.send('r', text));
  const sent = alice.send('r', 'in flight');
  await world.run(15);
  world.refuse('alice');
  world.cut('alice');
  for (const text of numbered(5, 'later ')) await world.until(bob.send('r', text));
  world.accept();
  assert.equal((await world.until(sent)).seq, 21);
}, { tail: 10 });

// Joining and leaving.

holds('join waits for a connection', async (world) => {
  world.refuse();
  const alice = world.client('alice');
  const joined = alice.client.join('r');
  await world.run(HOUR);
  assert.ok(await isPending(world, joined));
  world.accept();
  const { users, userCount, seq, recovered, rejoined, room } = await world.until(joined);
  assert.deepEqual({ users, userCount, seq, recovered, rejoined, room }, { users: ['alice'], userCount: 1, seq: 0, recovered: false, rejoined: false, room: 'r' });
});

holds('a join whose connection breaks is said again', async (world) => {
  const alice = world.client('alice');
  const joined = alice.client.join('r');
  await world.run(45);
  world.cut('alice');
  await world.until(joined);
  assert.deepEqual(world.server.room('r').users, ['alice']);
  assert.equal(alice.of('joined').length, 1);
});

holds('a room joined twice is one room', async (world) => {
  const alice = world.client('alice');
  const { client } = alice;
  const codes = await Promise.all([world.codeOf(client.join('r')), world.codeOf(client.join('r'))]);
  codes.push(await world.codeOf(client.join('r')));
  assert.equal(codes[0], undefined);
  for (const code of codes) assert.ok(code === undefined || code === 'ALREADY_IN_ROOM', `${code}`);
  await world.until(alice.send('r', 'one'));
  world.cut('alice');
  await world.run(60_000);
  await world.until(alice.send('r', 'two'));
  assert.deepEqual(alice.texts('r'), ['one', 'two']);
  await world.until(client.leave('r'));
  assert.equal(world.server.room('r').members, 0);
});

for (const wait of [0, 15, 25, 35, 45, 55, 65]) {
  holds(`leaving while a join is on its way (${wait} ms) ends outside`, async (world) => {
    const alice = world.client('alice');
    const joined = alice.client.join('r').then(() => 'joined', (error) => error.code);
    await world.run(wait);
    const left = alice.client.leave('r');
    assert.ok(['joined', 'LEFT'].includes(await world.until(joined)));
    await world.until(left);
    await world.run(1000);
    assert.equal(world.server.room('r').members, 0);
    world.cut('alice');
    await world.run(60_000);
    assert.equal(world.server.room('r').members, 0);
    const story = alice.events.filter(([type]) => type === 'joined' || type === 'left').map(([type]) => type);
    assert.ok(story.length === 0 || story.at(-1) === 'left', story.join());
  });

  holds(`joining while a leave is on its way (${wait} ms) ends inside`, async (world) => {
    const alice = await world.member('alice');
    const left = alice.client.leave('r');
    await world.run(wait);
    const joined = alice.client.join('r');
    await world.until(left);
    await world.until(joined);
    await world.until(alice.send('r', 'one'));
    assert.deepEqual(world.server.room('r').users, ['alice']);
    world.cut('alice');
    await world.run(60_000);
    assert.deepEqual(world.server.room('r').users, ['alice']);
  });
}

holds('leaving and joining in one breath, many times, ends where the last call says', async (world) => {
  const alice = await world.member('alice');
  const { client } = alice;
  const calls = [];
  for (let index = 0; index < 5; index += 1) calls.push(client.leave('r'), client.join('r'));
  await world.until(Promise.allSettled(calls));
  await world.run(1000);
  assert.deepEqual(world.server.room('r').users, ['alice']);
  await world.until(alice.send('r', 'one'));
  calls.push(client.leave('r'), client.join('r'), client.leave('r'));
  await world.until(Promise.allSettled(calls));
  await world.run(1000);
  assert.equal(world.server.room('r').members, 0);
});

for (const prelude of ['a message in flight', 'a join in flight', 'flood control', 'a refusal of the leave', 'a connection that breaks']) {
  holds(`leaving and joining again behind ${prelude} settles both`, async (world) => {
    const alice = await world.member('alice');
    const { client } = alice;
    if (prelude === 'a message in flight') alice.send('r', 'one');
    if (prelude === 'a join in flight') {
      world.cut('alice');
      await world.when(() => world.heard('alice', 'join').length >= 2);
    }
    if (prelude === 'flood control') {
      [...world.server.connections][0].send({ type: 'error', code: 'RATE_LIMITED', message: '', retryAfterMs: 5000 });
      await world.run(20);
    }
    let refused = 0;
    world.server.intercept = (request) =>
      prelude === 'a refusal of the leave' && request.type === 'leave' && refused++ < 1 ? { code: 'RATE_LIMITED', retryAfterMs: 500, bare: true } : undefined;
    const left = client.leave('r');
    const joined = client.join('r');
    if (prelude === 'a connection that breaks') world.cut('alice');
    await world.until(left, 10_000);
    await world.until(joined, 10_000);
    await world.run(1000);
    assert.deepEqual(world.server.room('r').users, ['alice']);
    await world.until(alice.send('r', 'two'));
  });
}

for (const bare of [true, false]) {
  holds(`leaving while a join is refused for a while (${bare ? 'unread' : 'with its ref'}) ends outside`, async (world) => {
    const alice = await world.member('alice');
    let refused = 0;
    world.server.intercept = (request) => (request.type === 'join' && refused++ < 1 ? { code: 'RATE_LIMITED', retryAfterMs: 500, bare } : undefined);
    world.cut('alice');
    await world.when(() => refused > 0);
    await world.until(alice.client.leave('r'), 10_000);
    await world.run(10_000);
    assert.equal(world.server.room('r').members, 0);
  });

  holds(`leaving while catching up is refused for a while (${bare ? 'unread' : 'with its ref'}) ends outside`, async (world) => {
    const alice = await world.member('alice');
    const bob = await world.member('bob');
    let refused = 0;
    world.server.intercept = (request, { owner }) =>
      request.type === 'join' && owner === 'alice' && refused++ < 1 ? { code: 'RATE_LIMITED', retryAfterMs: 500, bare } : undefined;
    [...world.server.connections][0].drop = 1;
    for (const text of numbered(2)) await world.until(bob.send('r', text));
    await world.when(() => refused > 0);
    await world.until(alice.client.leave('r'), 10_000);
    await world.run(10_000);
    assert.deepEqual(world.server.room('r').users, ['bob']);
    assert.equal(world.dials('alice'), 1);
  });

  holds(`catching up that is refused for a while (${bare ? 'unread' : 'with its ref'}) is done later`, async (world) => {
    const alice = await world.member('alice');
    const bob = await world.member('bob');
    let refused = 0;
    world.server.intercept = (request, { owner }) =>
      request.type === 'join' && owner === 'alice' && refused++ < 2 ? { code: 'RATE_LIMITED', retryAfterMs: 500, bare } : undefined;
    [...world.server.connections][0].drop = 1;
    for (const text of numbered(4)) await world.until(bob.send('r', text));
    await world.until(alice.send('r', '5'));
    await world.run(1000);
    assert.deepEqual(alice.texts('r'), numbered(5));
  });
}

holds('leaving offline needs no server, and is not forgotten', async (world) => {
  const alice = await world.member('alice', ['r', 's']);
  world.refuse();
  world.cut('alice', { serverAfter: HOUR });
  await world.run(0);
  await world.until(alice.client.leave('r'), 1000);
  assert.deepEqual(alice.of('left').map(({ room }) => room), ['r']);
  world.accept();
  await world.run(2 * HOUR);
  assert.equal(world.server.room('r').members, 0);
  assert.deepEqual(world.server.room('s').users, ['alice']);
});

holds('leaving a room that one is not in is refused or done, but not left open', async (world) => {
  const alice = await world.member('alice');
  const code = await world.codeOf(alice.client.leave('elsewhere'));
  assert.ok(code === undefined || code === 'NOT_IN_ROOM', `${code}`);
});

holds('LEFT: what waits when its room is left is rejected', async (world) => {
  const alice = await world.member('alice');
  world.refuse();
  world.cut('alice');
  await world.run(0);
  const sends = numbered(3).map((text) => alice.send('r', text).catch((error) => error));
  await world.until(alice.client.leave('r'));
  for (const error of await world.until(Promise.all(sends), 1000)) assert.equal(error.code, 'LEFT');
  world.accept();
  await world.run(60_000);
  assert.equal(world.server.room('r').log.length, 0);
});

holds('LEFT: a message on its way when its room is left is either stored or rejected', async (world) => {
  const alice = await world.member('alice');
  const [first, second] = [alice.send('r', 'first'), alice.send('r', 'second')].map((promise) => promise.then((message) => message, (error) => error));
  const left = alice.client.leave('r');
  await world.until(left);
  const outcome = await world.until(first);
  assert.ok(outcome.code === 'LEFT' || outcome.seq === 1);
  assert.equal((await world.until(second)).code, 'LEFT');
});

holds('being put out of a room by the server is told, and what waits there is rejected', async (world) => {
  const alice = await world.member('alice', ['r', 's']);
  const sends = ['on its way', 'queued'].map((text) => alice.send('r', text).then(() => 'stored', (error) => error.code));
  world.server.putOut('alice', 'r', 'forbidden');
  await world.run(1000);
  const [{ room, reason }] = alice.of('left');
  assert.deepEqual([room, reason], ['r', 'forbidden']);
  const [first, second] = await world.until(Promise.all(sends));
  assert.ok(['LEFT', 'NOT_IN_ROOM', 'OUTCOME_UNKNOWN'].includes(first), first);
  assert.ok(['LEFT', 'NOT_IN_ROOM'].includes(second), second);
  world.cut('alice');
  await world.run(60_000);
  assert.equal(world.server.room('r').members, 0);
  assert.deepEqual(world.server.room('s').users, ['alice']);
});

holds('a join that the server refuses is rejected with its code, and not said again', async (world) => {
  const alice = await world.member('alice');
  world.server.intercept = (request) => (request.type === 'join' && request.roomId === 'full' ? { code: 'ROOM_FULL' } : undefined);
  assert.equal(await world.codeOf(alice.client.join('full')), 'ROOM_FULL');
  world.cut('alice');
  await world.run(HOUR);
  assert.equal(world.heard('alice', 'join').filter(({ roomId }) => roomId === 'full').length, 1);
});

holds('a rejoin that is refused for good leaves the room and says so', async (world) => {
  const alice = await world.member('alice', ['r', 's']);
  world.server.intercept = (request) => (request.type === 'join' && request.roomId === 'r' ? { code: 'FORBIDDEN' } : undefined);
  world.refuse();
  world.cut('alice');
  await world.run(0);
  const waiting = alice.send('r', 'one').then(() => 'stored', (error) => error.code);
  world.accept();
  await world.run(HOUR);
  assert.deepEqual(alice.of('left').map(({ room, code }) => [room, code]), [['r', 'FORBIDDEN']]);
  assert.ok(['LEFT', 'FORBIDDEN'].includes(await world.until(waiting)));
  assert.deepEqual(world.server.room('s').users, ['alice']);
});

for (const code of ['STORE_UNAVAILABLE', 'RATE_LIMITED']) {
  holds(`a rejoin that meets ${code} for a while comes back`, async (world) => {
    const alice = await world.member('alice');
    const until = world.clock.now() + 5000;
    world.server.intercept = (request) => (request.type === 'join' && world.clock.now() < until ? { code, retryAfterMs: 500 } : undefined);
    world.cut('alice');
    await world.run(60_000);
    assert.deepEqual(world.server.room('r').users, ['alice']);
    assert.equal(alice.of('left').length, 0);
    await world.until(alice.send('r', 'one'));
  });
}

// Names and tabs.

holds('a name that is taken rejects the first join', async (world) => {
  await world.member('alice', ['r'], { username: 'Alice' });
  const other = world.client('other', { username: 'ALICE' });
  assert.equal(await world.codeOf(other.client.join('r')), 'USERNAME_TAKEN');
  await world.run(HOUR);
  assert.deepEqual(world.server.room('r').users, ['Alice']);
});

holds('a connection that the server still believes in does not take the name away', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  world.cut('alice', { serverAfter: 35_000 });
  await world.run(10_000);
  assert.equal(alice.client.state.state, 'online');
  await world.until(alice.send('r', 'one'));
  await world.run(60_000);
  assert.equal(bob.of('presence').length, 0, 'nobody saw it go or come');
});

holds('a name that somebody took while one was away is retried, and had again when it is free', async (world) => {
  const alice = await world.member('alice', ['r'], { username: 'Alice' });
  world.refuse('alice');
  world.server.restart();
  const mallory = world.client('mallory', { username: 'Alice' });
  await world.until(mallory.client.join('elsewhere'));
  world.accept();
  const sent = alice.send('r', 'one');
  await world.run(3000);
  mallory.client.close();
  assert.equal((await world.until(sent)).from, 'Alice');
  assert.deepEqual(world.server.room('r').users, ['Alice']);
  assert.equal(alice.of('left').length, 0);
});

holds('a name that was ours is asked for until it is free again, and each refusal is told', async (world) => {
  const alice = await world.member('alice', ['r', 's'], { username: 'Alice' });
  world.refuse('alice');
  world.server.restart();
  const mallory = await world.member('mallory', ['elsewhere'], { username: 'Alice' });
  world.accept();
  const sent = alice.send('r', 'one');
  await world.run(HOUR);
  const refusals = alice.of('error').filter(({ code }) => code === 'USERNAME_TAKEN').length;
  assert.ok(refusals > 100 && refusals < 400, `${refusals} refusals: one for both rooms, every 15 s on the average in the end`);
  assert.equal(alice.of('left').length, 0);
  mallory.client.close();
  await world.until(sent, 60_000);
  await world.run(1000);
  assert.deepEqual(world.server.room('s').users, ['Alice']);
});

holds('a name that is taken by another tab is had with the token that it stored', async (world) => {
  const storage = new FakeStorage();
  const one = await world.member('one', ['r'], { username: 'Alice', storage });
  world.refuse('one');
  world.server.restart();
  await world.member('two', ['s'], { username: 'Alice', storage });
  world.accept();
  await world.run(60_000);
  assert.equal(one.client.state.state, 'online');
  assert.deepEqual(world.server.room('r').users, ['Alice']);
  assert.equal(one.of('left').length, 0);
});

holds('two clients with one storage are one guest, and one of them closing changes nothing for others', async (world) => {
  const storage = new FakeStorage();
  const carol = await world.member('carol');
  const one = await world.member('one', ['r'], { username: 'Alice', storage });
  const two = await world.member('two', ['r'], { username: 'Alice', storage });
  assert.deepEqual(carol.of('presence').map(({ joined }) => joined), ['Alice']);
  assert.deepEqual(world.server.room('r').users, ['carol', 'Alice']);
  assert.equal(world.server.room('r').members, 3);
  await world.until(one.send('r', 'hello'));
  await world.run(100);
  assert.deepEqual(two.texts('r'), ['hello']);
  assert.equal(two.of('message')[0].own, true, 'it is the same person');
  one.client.close();
  await world.run(60_000);
  assert.equal(carol.of('presence').length, 1);
  await world.until(two.send('r', 'still here'));
  two.client.close();
  await world.run(1000);
  assert.deepEqual(carol.of('presence').map(({ left }) => left), [undefined, 'Alice']);
});

holds('the token is kept under the url and the name', async (world) => {
  const storage = new FakeStorage();
  const keys = [];
  const spy = { getItem: storage.getItem, setItem: (key, value) => (keys.push(key), storage.setItem(key, value)) };
  await world.member('one', ['r'], { username: 'Alice', storage: spy });
  assert.deepEqual([...new Set(keys)], [`parlor ${URL_OF_SERVER} Alice`]);
  assert.match(storage.getItem(keys[0]), /^[0-9a-f]{32}$/);
});

holds('a token that is given is used without a storage', async (world) => {
  const one = await world.member('one', ['r'], { username: 'Alice' });
  const { token } = [...world.server.connections][0];
  await world.member('two', ['r'], { username: 'Alice', resumeToken: token });
  assert.deepEqual(world.server.room('r').users, ['Alice']);
  assert.equal(one.of('presence').length, 0);
});

for (const delays of [[10, 10], [10, 11], [11, 10], [10, 40], [40, 10]]) {
  holds(`two tabs that come back at once after a restart (${delays} ms away) are one guest again`, async (world) => {
    const storage = new FakeStorage();
    const options = { username: 'Alice', storage, random: () => 0.5 };
    const [one, two] = [await world.member('one', ['r'], options), await world.member('two', ['r'], options)];
    const carol = await world.member('carol', ['r'], { random: () => 0 });
    world.network.delay = (_, { owner }) => ({ one: delays[0], two: delays[1] })[owner] ?? 1;
    await world.run(HOUR);
    world.server.restart();
    await world.run(60_000);
    assert.deepEqual(world.server.room('r').users, ['carol', 'Alice']);
    assert.equal(world.server.room('r').members, 3);
    await world.until(Promise.all([one.send('r', '1'), two.send('r', '2')]));
    assert.equal(carol.of('presence').filter(({ left }) => left).length, 0);
    assert.equal(one.of('left').length + two.of('left').length, 0);
  });
}

for (const remembered of [undefined, 'f'.repeat(32)]) {
  holds(`two tabs opened at once are one guest, with ${remembered ? 'a token of yesterday' : 'nothing'} in the storage`, async (world) => {
    const storage = new FakeStorage();
    if (remembered) storage.setItem(`parlor ${URL_OF_SERVER} Alice`, remembered);
    const tabs = ['one', 'two'].map((owner) => world.client(owner, { username: 'Alice', storage }));
    await world.until(Promise.all(tabs.map(({ client }) => client.join('r'))));
    assert.deepEqual(world.server.room('r').users, ['Alice']);
    assert.equal(world.server.room('r').members, 2);
  });
}

holds('two tabs opened at once are one guest even if the second hello is refused unread', async (world) => {
  const storage = new FakeStorage();
  const hellos = new Map();
  world.server.intercept = (request, conn) => {
    if (request.type !== 'hello') return undefined;
    hellos.set(conn, (hellos.get(conn) ?? 0) + 1);
    return hellos.get(conn) === 2 ? { code: 'RATE_LIMITED', retryAfterMs: 300, bare: true } : undefined;
  };
  const tabs = ['one', 'two'].map((owner) => world.client(owner, { username: 'Alice', storage }));
  await world.until(Promise.all(tabs.map(({ client }) => client.join('r'))));
  assert.deepEqual(world.server.room('r').users, ['Alice']);
});

holds('rooms that a tab joins in one breath are all had under the token of the other tab', async (world) => {
  const storage = new FakeStorage();
  const options = { username: 'Alice', storage, random: () => 0 };
  const two = world.client('two', options);
  await world.run(1000);
  await world.member('one', ['r'], options);
  world.network.delay = () => 50;
  const first = two.client.join('r');
  // It is asked before the first refusal is heard, and refused behind the second hello.
  await world.run(60);
  const second = two.client.join('s');
  await world.until(Promise.all([first, second]));
  assert.deepEqual([world.server.room('r').users, world.server.room('s').users], [['Alice'], ['Alice']]);
});

holds('a tab that was refused under its name once looks for the token of the other tab again', async (world) => {
  const storage = new FakeStorage();
  const mallory = await world.member('mallory', ['r'], { username: 'Alice' });
  const two = world.client('two', { username: 'Alice', storage });
  assert.equal(await world.codeOf(two.client.join('r')), 'USERNAME_TAKEN');
  mallory.client.close();
  await world.run(1000);
  await world.member('one', ['r'], { username: 'Alice', storage });
  await world.until(two.client.join('r'));
  assert.equal(world.server.room('r').members, 2);
});

holds('a tab that was refused under its name on a connection that broke asks again on the next one', async (world) => {
  const storage = new FakeStorage();
  const tab = world.client('tab', { username: 'Alice', storage });
  const refused = new Set();
  world.server.intercept = (request, conn) => {
    if (request.type !== 'join' || refused.has(conn) || refused.size === 2) return undefined;
    refused.add(conn);
    // Another tab had the name first, and its token is there to be read a moment later.
    storage.setItem(`parlor ${URL_OF_SERVER} Alice`, `${refused.size}`.repeat(32));
    return { code: 'USERNAME_TAKEN' };
  };
  const joined = tab.client.join('r');
  await world.when(() => refused.size === 1);
  await world.run(15);
  world.cut('tab');
  await world.until(joined);
  assert.equal(refused.size, 2);
});

for (const storage of [
  { getItem: () => { throw new Error('denied'); }, setItem: () => { throw new Error('denied'); } },
  { getItem: () => 'rubbish', setItem: () => {} },
  { getItem: () => '', setItem: () => {} },
]) {
  holds(`a storage that is of no use (${storage.getItem.toString().slice(6, 20)}) does no harm`, async (world) => {
    const alice = await world.member('alice', ['r'], { storage });
    world.cut('alice');
    await world.until(alice.send('r', 'one'));
  });
}

// Asking.

holds('history comes page by page, as promised and not as events', async (world) => {
  const bob = await world.member('bob');
  for (const text of numbered(25)) await world.until(bob.send('r', text));
  const alice = world.client('alice');
  await world.until(alice.client.join('r', { history: 5 }));
  await world.run(100);
  const { epoch } = world.server.room('r');
  const first = await world.until(alice.client.history('r', { before: 21, limit: 10 }));
  assert.equal(first.room, 'r');
  assert.equal(first.epoch, epoch);
  assert.equal(first.hasMore, true);
  assert.deepEqual(first.messages.map(({ seq, text }) => `${seq} ${text}`), numbered(10).map((_, index) => `${index + 11} ${index + 11}`));
  assert.ok(first.messages.every((message) => message.room === 'r' && message.epoch === epoch && message.from === 'bob' && message.timestamp > 0));
  const second = await world.until(alice.client.history('r', { before: 11, limit: 50 }));
  assert.deepEqual(second.messages.map(({ seq }) => seq), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.equal(second.hasMore, false);
  const newest = await world.until(alice.client.history('r'));
  assert.deepEqual(newest.messages.map(({ text }) => text), numbered(25));
  const none = await world.until(alice.client.history('r', { before: 1 }));
  assert.deepEqual([none.messages, none.hasMore], [[], false]);
  assert.deepEqual(alice.texts('r'), ['21', '22', '23', '24', '25']);
});

holds('history is not mixed up with what is said, acknowledged or said twice meanwhile', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  for (const text of numbered(10)) await world.until(bob.send('r', text));
  await world.until(alice.send('r', '11', 'again'));
  // In one breath: two pages of one room, a message, a retry of what is stored, and others talk.
  const talk = numbered(5, 'live ').map((text) => bob.send('r', text));
  const one = alice.client.history('r', { before: 6, limit: 3 });
  const own = alice.send('r', 'own');
  const retry = alice.client.send('r', '11', { clientMsgId: 'again' });
  const two = alice.client.history('r', { limit: 4 });
  const [first, second, repeated] = await world.until(Promise.all([one, two, retry, own, ...talk]));
  await world.run(1000);
  assert.deepEqual(first.messages.map(({ text }) => text), ['3', '4', '5']);
  assert.equal(second.messages.length, 4);
  const log = world.server.room('r').log.map(({ text }) => text);
  assert.deepEqual(second.messages.map(({ text, seq }) => [text, log[seq - 1]]).filter(([a, b]) => a !== b), []);
  assert.equal(repeated.seq, 11);
  assert.deepEqual(alice.texts('r'), log);
  assert.equal(log.length, 17);
});

holds('history of two rooms at once is told apart', async (world) => {
  const alice = await world.member('alice', ['r', 's']);
  for (const text of numbered(5)) await world.until(Promise.all([alice.send('r', `r${text}`), alice.send('s', `s${text}`)]));
  const pages = await world.until(Promise.all([alice.client.history('r'), alice.client.history('s'), alice.client.history('r', { limit: 1 })]));
  assert.deepEqual(pages.map(({ messages }) => messages.map(({ text }) => text)), [numbered(5, 'r'), numbered(5, 's'), ['r5']]);
});

holds('a question whose connection breaks is asked again or rejected, but not left open', async (world) => {
  for (const wait of [0, 5, 15, 20]) {
    const alice = await world.member(`alice-${wait}`);
    await world.until(alice.send('r', `by ${wait}`));
    const questions = [alice.client.history('r'), alice.client.rooms(), alice.client.users('r')].map((promise) => world.codeOf(promise));
    await world.run(wait);
    world.cut(`alice-${wait}`);
    const codes = await world.until(Promise.all(questions));
    assert.ok(codes.every((code) => code === undefined), codes.join());
  }
});

holds('history of a broken connection is not mixed with the new one', async (world) => {
  const alice = await world.member('alice');
  for (const text of numbered(10)) await world.until(alice.send('r', text));
  const page = alice.client.history('r');
  await world.run(10);
  world.network.delay = () => 1;
  await world.run(2);
  world.cut('alice');
  assert.deepEqual((await world.until(page)).messages.map(({ text }) => text), numbered(10));
  assert.deepEqual(alice.texts('r'), numbered(10));
});

holds('history of a room that one is not in is refused', async (world) => {
  const alice = await world.member('alice');
  assert.equal(await world.codeOf(alice.client.history('elsewhere')), 'NOT_IN_ROOM');
});

holds('rooms and users are listed', async (world) => {
  const alice = await world.member('alice', ['a', 'b', 'c']);
  await world.member('bob', ['b']);
  const all = await world.until(alice.client.rooms());
  assert.deepEqual(all.rooms.map(({ id, userCount }) => [id, userCount]), [['a', 1], ['b', 2], ['c', 1]]);
  assert.equal(all.roomCount, 3);
  const rest = await world.until(alice.client.rooms({ after: 'a' }));
  assert.deepEqual(rest.rooms.map(({ id }) => id), ['b', 'c']);
  const users = await world.until(alice.client.users('b'));
  assert.deepEqual([users.room, users.users, users.userCount], ['b', ['alice', 'bob'], 2]);
  assert.deepEqual((await world.until(alice.client.users('empty'))).users, []);
});

holds('refusals of questions are rejections with their code', async (world) => {
  const alice = await world.member('alice');
  world.server.intercept = (request) => (request.type === 'get_history' ? { code: 'HISTORY_FETCH_FAILED' } : undefined);
  assert.equal(await world.codeOf(alice.client.history('r')), 'HISTORY_FETCH_FAILED');
  assert.equal(alice.of('error').length, 0, 'what a promise reports is no event');
});

// Presence and typing.

holds('presence follows who comes and goes, and why', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  await world.until(bob.client.leave('r'));
  await world.until(bob.client.join('r'));
  world.cut('bob');
  world.refuse('bob');
  await world.run(100);
  const story = alice.of('presence').map(({ room, users, userCount, joined, left, reason }) => ({ room, users, userCount, joined, left, reason }));
  const none = undefined;
  assert.deepEqual(story, [
    { room: 'r', users: ['alice', 'bob'], userCount: 2, joined: 'bob', left: none, reason: none },
    { room: 'r', users: ['alice'], userCount: 1, joined: none, left: 'bob', reason: 'left' },
    { room: 'r', users: ['alice', 'bob'], userCount: 2, joined: 'bob', left: none, reason: none },
    { room: 'r', users: ['alice'], userCount: 1, joined: none, left: 'bob', reason: 'disconnected' },
  ]);
});

holds('a reconnect brings presence up to date', async (world) => {
  const alice = await world.member('alice');
  await world.member('bob');
  world.refuse('alice');
  world.cut('alice');
  world.cut('bob');
  await world.member('carol');
  world.accept();
  await world.run(60_000);
  assert.deepEqual([...alice.rooms.get('r').users].sort(), ['alice', 'bob', 'carol']);
});

const typists = (watch) => watch.of('typing').map(({ users }) => users.join('+'));

holds('who types is shown, until it stops or six seconds have passed', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  bob.client.typing('r');
  await world.run(100);
  assert.deepEqual(typists(alice), ['bob']);
  assert.deepEqual(typists(bob), [], 'oneself is not told of oneself');
  bob.client.typing('r', false);
  await world.run(100);
  assert.deepEqual(typists(alice), ['bob', '']);
  bob.client.typing('r');
  await world.run(5900);
  assert.deepEqual(typists(alice), ['bob', '', 'bob']);
  await world.run(200);
  assert.deepEqual(typists(alice), ['bob', '', 'bob', '']);
});

holds('typing ends with what was typed, and with leaving', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  bob.client.typing('r');
  await world.run(100);
  await world.until(bob.send('r', 'typed'));
  await world.run(100);
  assert.deepEqual(typists(alice), ['bob', '']);
  await world.run(10_000);
  bob.client.typing('r');
  await world.run(100);
  await world.until(bob.client.leave('r'));
  await world.run(100);
  assert.deepEqual(typists(alice), ['bob', '', 'bob', '']);
});

holds('several who type are all named, and typing goes on as long as keys are struck', async (world) => {
  const alice = await world.member('alice');
  const [bob, carol] = [await world.member('bob'), await world.member('carol')];
  for (let second = 0; second < 20; second += 1) {
    bob.client.typing('r');
    if (second === 3) carol.client.typing('r');
    await world.run(1000);
  }
  assert.deepEqual(typists(alice), ['bob', 'bob+carol', 'bob']);
  await world.run(10_000);
  assert.equal(typists(alice).at(-1), '');
});

holds('one who types in another tab is not told of oneself', async (world) => {
  const storage = new FakeStorage();
  const one = await world.member('one', ['r'], { username: 'Alice', storage });
  const two = await world.member('two', ['r'], { username: 'Alice', storage });
  one.client.typing('r');
  await world.run(100);
  assert.deepEqual(typists(two), []);
});

holds('keystrokes are throttled', async (world) => {
  await world.member('alice');
  const bob = await world.member('bob');
  for (let stroke = 0; stroke < 600; stroke += 1) {
    bob.client.typing('r');
    await world.run(50);
  }
  const sent = world.heard('bob', 'typing').length;
  assert.ok(sent >= 5 && sent <= 35, `${sent} in 30 s`);
});

holds('typing after a message is told anew', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  bob.client.typing('r');
  await world.run(50);
  await world.until(bob.send('r', 'typed'));
  await world.run(50);
  bob.client.typing('r');
  await world.run(100);
  assert.deepEqual(typists(alice), ['bob', '', 'bob']);
});

holds('typing offline or elsewhere is nothing', async (world) => {
  const alice = await world.member('alice');
  alice.client.typing('elsewhere');
  await world.run(100);
  world.refuse();
  world.cut('alice');
  alice.client.typing('r');
  await world.run(10_000);
  world.accept();
  await world.run(60_000);
  assert.equal(world.heard('alice', 'typing').filter(({ roomId }) => roomId === 'elsewhere').length, 0);
  assert.equal(alice.of('error').length, 0);
});

holds('a broken connection forgets who typed', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  bob.client.typing('r');
  await world.run(100);
  world.refuse();
  world.cut('alice');
  await world.run(7000);
  assert.deepEqual(typists(alice), ['bob', '']);
});

// Ends.

holds('close() rejects everything and is final', async (world) => {
  const alice = await world.member('alice');
  const { client } = alice;
  const calls = [alice.send('r', 'one'), alice.send('r', 'two'), client.join('s'), client.history('r'), client.rooms(), client.users('r')];
  const waiting = calls.map((promise) => promise.then(() => 'resolved', (error) => error));
  client.close();
  for (const error of await world.until(Promise.all(waiting), 1)) {
    assert.ok(error instanceof ParlorError);
    assert.equal(error.code, 'CLOSED');
  }
  assert.equal(client.state.state, 'closed');
  assert.equal(world.clock.waiting('alice'), 0);
  const events = alice.events.length;
  for (const call of [() => client.join('r'), () => client.leave('r'), () => client.send('r', 'x'), () => client.history('r'), () => client.rooms(), () => client.users('r')]) {
    const code = await world.codeOf(call(), 1);
    assert.ok(code === 'CLOSED', `${call}: ${code}`);
  }
  client.typing('r');
  client.retry();
  client.close();
  await world.run(24 * HOUR);
  assert.equal(world.dials('alice'), 1);
  assert.equal(alice.events.length, events);
  assert.deepEqual(world.server.room('r').users, []);
});

for (const when of ['before anything', 'while connecting', 'while offline', 'within a listener']) {
  holds(`close() ${when} is final, too`, async (world) => {
    if (when === 'while offline') world.refuse();
    const alice = world.client('alice');
    const { client } = alice;
    const joined = client.join('r').then(() => 'joined', (error) => error.code);
    if (when === 'within a listener') client.on('joined', () => client.close());
    if (when === 'while connecting') await world.run(15);
    if (when === 'while offline') await world.run(100);
    if (when !== 'within a listener') client.close();
    assert.ok(['CLOSED', when === 'within a listener' && 'joined'].includes(await world.until(joined)));
    await world.run(HOUR);
    assert.equal(client.state.state, 'closed');
    assert.ok(world.dials('alice') <= (when === 'before anything' ? 0 : 1));
    assert.equal(world.server.connections.size, 0);
  });
}

holds('a listener can be taken off again', async (world) => {
  const alice = await world.member('alice');
  const heard = [];
  const off = alice.client.on('message', ({ text }) => heard.push(text));
  await world.until(alice.send('r', 'one'));
  off();
  off();
  await world.until(alice.send('r', 'two'));
  assert.deepEqual(heard, ['one']);
});

holds('a listener that throws does no harm to the others, nor to the client', async (world) => {
  const { error } = console;
  console.error = () => {};
  try {
    const alice = world.client('alice');
    for (const type of ['state', 'joined', 'message', 'presence', 'typing', 'gap', 'left', 'error']) {
      alice.client.on(type, () => {
        throw new Error(`thrown by a listener of ${type}`);
      });
    }
    const after = [];
    alice.client.on('message', ({ text }) => after.push(text));
    await world.until(alice.client.join('r'));
    const bob = await world.member('bob');
    await world.until(bob.send('r', 'one'));
    world.cut('alice');
    await world.until(alice.send('r', 'two'));
    assert.deepEqual(after, ['one', 'two']);
    assert.deepEqual(alice.texts('r'), ['one', 'two']);
  } finally {
    console.error = error;
  }
});

holds('a listener may call the client', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  bob.client.on('message', ({ text, own }) => {
    if (!own) bob.send('r', `re: ${text}`);
  });
  bob.client.on('joined', ({ rejoined }) => rejoined && bob.send('r', 'back'));
  await world.until(alice.send('r', 'one'));
  await world.run(1000);
  world.cut('bob');
  await world.run(60_000);
  assert.deepEqual(alice.texts('r'), ['one', 're: one', 'back']);
});

// Hostile servers.

const HOSTILE = [
  'not JSON', '', 'null', '7', '"text"', '[]', '[{"type":"message"}]', '{}', '{"type":null}', '{"type":7}', '{"type":{}}',
  '{"type":"future","roomId":"r","seq":1}', '{"type":"__proto__"}', '{"type":"constructor"}', '{"type":"toString","roomId":"r"}',
  '{"type":"message"}', '{"type":"message","roomId":"r"}', '{"type":"message","roomId":7,"seq":"1"}',
  '{"type":"message","roomId":"r","from":"x","text":"x","timestamp":1,"seq":"2"}',
  '{"type":"message","roomId":"r","from":"x","text":"x","timestamp":1,"seq":-1}',
  '{"type":"message","roomId":"r","from":"x","text":"x","timestamp":1,"seq":1.5}',
  '{"type":"message","roomId":"r","from":"x","text":"x","timestamp":1,"seq":1e300}',
  '{"type":"message","roomId":"r","from":{},"text":[],"timestamp":"","seq":2}',
  '{"type":"message","roomId":"__proto__","from":"x","text":"x","timestamp":1,"seq":1}',
  '{"type":"message","roomId":"elsewhere","from":"x","text":"x","timestamp":1,"seq":1}',
  '{"type":"joined"}', '{"type":"joined","roomId":"r"}', '{"type":"joined","roomId":"r","users":7,"userCount":"x","epoch":7,"seq":{}}',
  '{"type":"joined","roomId":"elsewhere","users":["x"],"userCount":1,"epoch":"e","seq":9,"recovered":false,"history":3}',
  '{"type":"left"}', '{"type":"left","roomId":"elsewhere"}', '{"type":"left","roomId":{}}',
  '{"type":"user_joined","roomId":"r"}', '{"type":"user_joined","roomId":"r","username":7}', '{"type":"user_joined","roomId":"constructor","username":"x"}',
  '{"type":"user_left","roomId":"r","username":{}}', '{"type":"user_left","roomId":"r","username":"nobody","reason":7}', '{"type":"user_left"}',
  '{"type":"typing","roomId":"r"}', '{"type":"typing","roomId":"r","username":[],"active":"yes"}', '{"type":"typing","roomId":"__proto__","username":"x","active":true}',
  '{"type":"room_list"}', '{"type":"room_list","rooms":7,"ref":"1"}', '{"type":"user_list","ref":"zzz"}', '{"type":"user_list","users":{},"roomId":"r"}',
  '{"type":"history"}', '{"type":"history","roomId":"r","epoch":"e","count":1e9,"hasMore":7}', '{"type":"history","roomId":"r","count":-5,"ref":"x"}',
  '{"type":"pong"}', '{"type":"pong","ref":{}}', '{"type":"pong","time":"x","ref":"nobody"}',
  '{"type":"error"}', '{"type":"error","code":7}', '{"type":"error","code":"NEVER_HEARD_OF","message":"x"}', '{"type":"error","code":"__proto__","message":"x","ref":"x"}',
  '{"type":"error","code":"RATE_LIMITED","message":"x","ref":"nobody","retryAfterMs":"soon"}', '{"type":"error","code":"RATE_LIMITED","retryAfterMs":-5}',
  '{"__proto__":{"type":"message"},"constructor":7}', '{"type":"hello"}', '{"type":"hello","protocol":1,"limits":7,"pingIntervalMs":-1}',
  '{"type":"hello","protocol":1,"limits":{"text":"many","__proto__":{}},"pingIntervalMs":"x","server":{},"resumeToken":{}}',
];

for (const frame of HOSTILE) {
  holds(`a hostile frame does no harm: ${frame.slice(0, 100)}`, async (world) => {
    const alice = await world.member('alice');
    await world.until(alice.send('r', 'one'));
    await world.run(100);
    const conn = [...world.server.connections].find(({ owner }) => owner === 'alice');
    conn.raw(frame);
    const requests = Promise.all([alice.send('r', 'two'), alice.client.history('r'), alice.client.rooms(), alice.client.users('r')]);
    conn.raw(frame);
    const [, history, rooms, users] = await world.until(requests, 10 * 60_000);
    await world.run(10 * 60_000);
    assert.deepEqual(alice.texts('r').filter((text) => text !== 'x'), ['one', 'two']);
    assert.deepEqual(history.messages.map(({ text }) => text).slice(0, 1), ['one']);
    assert.deepEqual(rooms.rooms.map(({ id }) => id), ['r']);
    assert.deepEqual(users.users, ['alice']);
    assert.equal(alice.client.state.state, 'online');
    assert.equal({}.polluted, undefined);
    assert.deepEqual(alice.rooms.get('r').users.filter((user) => typeof user !== 'string'), []);
    assert.ok(world.dials('alice') <= 2);
  });
}

holds('a binary frame does no harm', async (world) => {
  const alice = await world.member('alice');
  for (const data of [new ArrayBuffer(3), new Blob(['x']), undefined]) world.link('alice').socket.emit('message', { data });
  await world.until(alice.send('r', 'one'));
  assert.equal(alice.client.state.state, 'online');
});

for (const frame of ['{"type":"hello"}', '{"type":"hello","protocol":1,"limits":null,"pingIntervalMs":0}', '{"type":"hello","protocol":1,"pingIntervalMs":1e-9,"limits":[]}', 'rubbish']) {
  holds(`a hello without sense neither hangs nor spins: ${frame}`, async (world) => {
    const connect = world.server.connect.bind(world.server);
    let broken = true;
    world.server.connect = (outlet) =>
      connect({ ...outlet, send: (data) => outlet.send(broken && data.includes('"type":"hello"') ? frame : data) });
    const alice = world.client('alice');
    const joined = alice.client.join('r');
    joined.catch(() => {});
    await world.run(60_000);
    broken = false;
    world.cut('alice');
    await world.until(joined);
    await world.until(alice.send('r', 'one'));
    assert.ok(world.dials('alice') < 30, `${world.dials('alice')} connections`);
    assert.ok(world.heard('alice', 'ping').length < 1000, `${world.heard('alice', 'ping').length} pings in a minute`);
  });
}

holds('rooms and people may be called whatever objects have', async (world) => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];
  const alice = await world.member('alice', names);
  const others = [];
  for (const name of names) others.push(await world.member(`owner-of-${name}`, names, { username: name }));
  for (const room of names) {
    await world.until(Promise.all([alice.send(room, `a ${room}`), ...others.map((other) => other.send(room, `${other.name} in ${room}`))]));
    others[0].client.typing(room);
  }
  await world.run(100);
  world.cut('alice');
  await world.run(60_000);
  for (const room of names) {
    assert.equal(alice.texts(room).length, names.length + 1);
    assert.deepEqual([...alice.rooms.get(room).users].sort(), ['alice', ...names].sort());
    assert.deepEqual((await world.until(alice.client.users(room))).users.length, names.length + 1);
    assert.equal((await world.until(alice.client.history(room))).messages.length, names.length + 1);
  }
  assert.equal({}.polluted, undefined);
});

holds('an answer to another question is not taken for one', async (world) => {
  const alice = await world.member('alice');
  const { server } = world;
  let wrong = 2;
  server.intercept = (request, conn) => {
    if (request.type !== 'list_rooms' && request.type !== 'message') return undefined;
    if (wrong-- <= 0) return undefined;
    conn.send({ type: 'pong', time: 1, ref: request.ref });
    return { code: 'RATE_LIMITED', bare: true, retryAfterMs: 1 };
  };
  const asked = alice.client.rooms();
  const { rooms } = await world.until(asked);
  assert.deepEqual(rooms, [{ id: 'r', userCount: 1 }]);
  wrong = 1;
  await world.until(alice.send('r', 'once'));
  assert.deepEqual(server.room('r').log.map(({ text }) => text), ['once']);
});

holds('an acknowledgement that says nothing is none', async (world) => {
  const alice = await world.member('alice');
  let wrong = 1;
  world.server.intercept = (request, conn) => {
    if (request.type !== 'message' || wrong-- <= 0) return undefined;
    conn.send({ type: 'message', roomId: 'r', ref: request.ref });
    return undefined;
  };
  const { seq } = await world.until(alice.send('r', 'once'));
  assert.equal(seq, 1);
  assert.deepEqual(world.server.room('r').log.map(({ text }) => text), ['once']);
});

holds('a room that one was put out of does not come back by the answer to an older join', async (world) => {
  const alice = await world.member('alice');
  const bob = await world.member('bob');
  const { server } = world;
  [...server.connections].find(({ owner }) => owner === 'alice').drop = 1;
  let isOut = false;
  server.intercept = (request, conn) => {
    if (request.type !== 'join' || conn.owner !== 'alice' || isOut) return;
    isOut = true;
    server.putOut('alice', 'r', 'forbidden');
  };
  let joined;
  alice.client.on('left', () => (joined = alice.client.join('r')));
  bob.send('r', 'lost');
  bob.send('r', 'seen');
  await world.when(() => joined);
  await world.until(joined);
  bob.send('r', 'heard');
  await world.run(1000);
  assert.equal(alice.of('left').length, 1);
  assert.equal(alice.texts('r').at(-1), 'heard');
  assert.deepEqual(server.room('r').users.sort(), ['alice', 'bob']);
});

holds('a backoff of nothing is one for ever', async (world) => {
  world.refuse();
  const alice = world.client('alice', { backoff: { baseMs: 0 } });
  await world.when(() => world.dials('alice') > 1100);
  world.accept();
  await world.until(alice.client.join('r'));
});

holds('limits that a server does not tell are those of protocol 1', async (world) => {
  world.server.limits.toJSON = () => ({ text: 3 });
  const alice = await world.member('alice');
  assert.equal(alice.client.limits.roomId, 64);
  assert.equal(await world.codeOf(alice.client.send('r', 'four')), 'INVALID_MESSAGE');
  assert.equal(await world.codeOf(alice.client.join('room')), undefined);
});

test('randomId is 128 random bits in hex', () => {
  const ids = new Set(Array.from({ length: 1000 }, () => randomId()));
  assert.equal(ids.size, 1000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});

test('an error is an Error with a code and a message for people', () => {
  assert.ok(ParlorError.prototype instanceof Error);
  assert.equal(typeof ParlorClient, 'function');
});
