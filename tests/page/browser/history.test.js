// Scrolling back.
import assert from 'node:assert/strict';
import { eventually, scenario } from './parlor.js';

const line = (n) => `line ${n}`;
const lines = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => line(first + n));

scenario('who scrolls back through 300 messages sees each once, and the view stays', { server: ['--rate', '0'] }, async (stage) => {
  const writers = [await stage.robot('Alice', 'general'), await stage.robot('Bob', 'general')];
  for (let n = 1; n <= 300; n += 1) await writers[Math.floor(n / 7) % 2].say('general', line(n));

  const carol = await stage.person();
  await carol.joins('general', 'Carol');
  await carol.sees(line(300));
  await eventually(async () => assert.ok(await carol.isAtEnd(), 'a room opens at its end'));

  for (let first = 301 - (await carol.lines(/^line/)).length; first > 1; ) {
    const anchor = carol.log.getByText(line(first), { exact: true });
    const before = await anchor.evaluate((element) => {
      element.closest('[role=log]').scrollTop = 0;
      return element.getBoundingClientRect().top;
    });
    const shown = await eventually(async () => {
      const shown = await carol.lines(/^line/);
      assert.ok(shown.length > 300 - first + 1, `nothing above ${line(first)}`);
      return shown;
    });
    assert.deepEqual(shown, lines(301 - shown.length, 300));
    const after = await anchor.evaluate((element) => element.getBoundingClientRect().top);
    assert.ok(Math.abs(after - before) <= 2, `${line(first)} jumped from ${before} to ${after}`);
    first = 301 - shown.length;
  }

  // Who reads the past is not torn away from it by what is said meanwhile.
  const oldest = carol.log.getByText(line(1), { exact: true });
  await oldest.scrollIntoViewIfNeeded();
  const top = () => oldest.evaluate((element) => element.getBoundingClientRect().top);
  const before = await top();
  await writers[0].say('general', line(301));
  await carol.log.getByText(line(301), { exact: true }).waitFor({ state: 'attached' });
  assert.equal(await top(), before);
  assert.deepEqual(await carol.lines(/^line/), lines(1, 301));

  // What one says oneself is always seen.
  await carol.says(line(302));
  await eventually(async () => assert.ok(await carol.isAtEnd()));
  assert.deepEqual(await carol.lines(/^line/), lines(1, 302));
});

scenario('a view at the end follows what is said', { server: ['--rate', '0'] }, async (stage) => {
  const carol = await stage.person();
  await carol.joins('general', 'Carol');
  const bob = await stage.robot('Bob', 'general');
  for (let n = 1; n <= 60; n += 1) await bob.say('general', line(n));
  await carol.sees(line(60));
  await eventually(async () => assert.ok(await carol.isAtEnd()));
  assert.deepEqual(await carol.lines(/^line/), lines(1, 60));
});
