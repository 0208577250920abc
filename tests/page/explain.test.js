// What people are told when they cannot come in.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explain, tokenProblem } from '../../adapters/smol/page/explain.js';

const closed = (code, reason) => ({ state: 'closed', code, reason });
const ONLINE = { state: 'online' };

for (const [what, state, code, without, withOne] of [
  ['refused at hello', closed(4500, 'unauthorized'), 'CLOSED', 'TOKEN_MISSING', 'TOKEN_REFUSED'],
  ['told that its time is over', closed(4500, 'token expired'), 'CLOSED', 'TOKEN_MISSING', 'TOKEN_EXPIRED'],
  ['closed before its hello came', closed(4503, 'no hello in time'), 'CLOSED', 'TOKEN_MISSING', undefined],
  ['refused before its hello', ONLINE, 'NOT_IDENTIFIED', 'TOKEN_MISSING', undefined],
  ['without a name', ONLINE, 'INVALID_USERNAME', undefined, 'TOKEN_UNUSED'],
  ['with a name that somebody has', ONLINE, 'USERNAME_TAKEN', undefined, undefined],
  ['refused by a room', ONLINE, 'FORBIDDEN', undefined, undefined],
  ['closed for another reason', closed(4502, 'internal error'), 'CLOSED', undefined, undefined],
  ['closed by itself', closed(undefined, undefined), 'CLOSED', undefined, undefined],
  ['offline', { state: 'offline', code: 4500, reason: 'token expired' }, undefined, undefined, undefined],
]) {
  test(`whoever is ${what} has a token problem, or none`, () => {
    assert.equal(tokenProblem({ hasToken: false, state, code }), without);
    assert.equal(tokenProblem({ hasToken: true, state, code }), withOne);
  });
}

test('a refusal has one sentence, and what nobody wrote one for has the server\'s', () => {
  const codes = ['TOKEN_MISSING', 'TOKEN_REFUSED', 'TOKEN_EXPIRED', 'TOKEN_UNUSED', 'FORBIDDEN'];
  const sentences = codes.map((code) => explain({ code, message: 'For programs.' }));
  assert.equal(new Set(sentences).size, codes.length);
  for (const sentence of sentences) assert.match(sentence, /^[A-Z].*\.$/);
  assert.ok(!sentences.includes('For programs.'));
  assert.equal(explain({ code: 'ELSE', message: 'For programs.' }), 'For programs.');
});
