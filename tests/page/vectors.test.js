// The vectors of client/vectors, which clients in other languages repeat, too.

import assert from 'node:assert/strict';
import test from 'node:test';

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

test('the vectors are those that record.js writes', async () => {
  const texts = (all) => Object.fromEntries(all.map(({ name, lines }) => [name, written(lines)]));
  const [there, fresh] = [texts(vectors()), texts(await recorded())];
  assert.deepEqual(Object.keys(there).sort(), Object.keys(fresh).sort());
  for (const name of Object.keys(fresh)) assert.equal(there[name], fresh[name], name);
});
