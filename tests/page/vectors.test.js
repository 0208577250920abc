// The vectors of client/vectors, which clients in other languages repeat, too.

import assert from 'node:assert/strict';
import test from 'node:test';

import { chaos } from './chaos.js';
import { recorded } from './record.js';
import { Machine, vectors, written } from './vectors.js';

for (const { name, lines } of vectors()) {
  test(`${name} is repeated`, () => {
    const [options, ...steps] = lines;
    const machine = new Machine(options);
    for (const [index, { at, input, ...expected }] of steps.entries()) {
      assert.deepEqual(machine.step(at, input), expected, `line ${index + 2}: ${JSON.stringify(input)}`);
    }
  });
}

/** Objects where a client breaks a promise: each call is settled once, each message comes once and in order. */
function check(steps) {
  const open = new Set();
  const rooms = new Map();
  const at = ({ epoch, seq }) => `${epoch}:${seq}`;
  const after = ({ epoch, seq }) => ({ epoch, seq: seq + 1 });
  const comes = (room, place, next) => {
    assert.ok(rooms.has(room), `${room} is none of ours`);
    const expected = rooms.get(room);
    if (expected) assert.equal(at(place), at(expected));
    rooms.set(room, next);
  };
  const told = {
    joined: ({ room, rejoined }) => {
      assert.equal(rooms.has(room), rejoined);
      rooms.set(room, rooms.get(room));
    },
    left: ({ room }) => assert.ok(rooms.delete(room)),
    message: ({ room, ...place }) => comes(room, place, after(place)),
    gap: ({ room, last, next }) => comes(room, after(last), next),
    presence: ({ room }) => assert.ok(rooms.has(room)),
    typing: ({ room }) => assert.ok(rooms.has(room), `typing in ${room}, which was left`),
    state: () => {},
    error: () => {},
  };
  for (const { input, outputs } of steps) {
    if (input.call !== undefined) open.add(input.call);
    for (const { do: kind, call, type, event } of outputs) {
      if (kind === 'resolve' || kind === 'reject') assert.ok(open.delete(call), `${call} is settled twice`);
      else if (kind === 'emit') told[type](event);
    }
  }
  if (steps.some(({ input }) => input.do === 'close')) assert.deepEqual([...open], []);
}

for (const { name, lines } of vectors()) test(`${name} keeps what is promised`, () => check(lines.slice(1)));

test('chaos keeps what is promised', () => {
  for (let seed = 0; seed < 300; seed += 1) {
    try {
      check(chaos(seed, 300).slice(1));
    } catch (error) {
      error.message = `chaos(${seed}, 300): ${error.message}`;
      throw error;
    }
  }
});

test('the vectors are those that record.js writes', async () => {
  const texts = (all) => Object.fromEntries(all.map(({ name, lines }) => [name, written(lines)]));
  const [there, fresh] = [texts(vectors()), texts(await recorded())];
  assert.deepEqual(Object.keys(there).sort(), Object.keys(fresh).sort());
  for (const name of Object.keys(fresh)) assert.equal(there[name], fresh[name], name);
});
