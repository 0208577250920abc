// Thousands of rounds in virtual time.
//
// PARLOR_SEED=… PARLOR_ROUNDS=1 repeats one round; a failure names its seed.

import assert from 'node:assert/strict';
import test from 'node:test';

import { seedOf } from './fake.js';
import { Round, seen } from './round.js';

const ROUNDS = Number(process.env.PARLOR_ROUNDS ?? 1500);

test('whatever happens, nothing is lost, nothing is doubled and the order holds', async (t) => {
  const seed = seedOf();
  console.log(`PARLOR_SEED=${seed} (${ROUNDS} rounds)`);
  for (let round = 0; round < ROUNDS; round += 1) {
    const roundSeed = (seed + round) >>> 0;
    try {
      await new Round(roundSeed).play();
    } catch (error) {
      error.message = `PARLOR_SEED=${roundSeed} PARLOR_ROUNDS=1: ${error.message}`;
      throw error;
    }
  }
  t.diagnostic(JSON.stringify(Object.fromEntries(seen)));
  if (ROUNDS < 1000) return;
  for (const what of ['stored', 'LEFT', 'CLOSED', 'OUTCOME_UNKNOWN', 'QUEUE_FULL', 'gaps', 'new epochs', 'recovered', 'not recovered', 'retries', 'resyncs', 'half-open', 'tabs', 'refusals', 'messages']) {
    assert.ok(seen.get(what) > 0, `it never came to: ${what}`);
  }
});
