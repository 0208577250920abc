// The server goes away and comes back; the pages find it again by themselves.
import assert from 'node:assert/strict';
import { eventually, scenario } from './parlor.js';

/** More than the server has in memory, so that some of them come from the disk. */
const OLD = Array.from({ length: 320 }, (_, n) => `old line ${n + 1}`);
const LOST = /lost|missed/i;

for (const [signal, keeps] of [['SIGKILL', false], ['SIGTERM', false], ['SIGKILL', true], ['SIGTERM', true]]) {
  const options = { losesServer: true, keeps, server: ['--rate', '0'] };
  scenario(`two people type while the server${keeps ? ' with a disk' : ''} gets a ${signal}`, options, async (stage) => {
    const robot = await stage.robot('Carol', 'general');
    for (const text of OLD) await robot.say('general', text);
    const alice = await stage.person();
    const bob = await stage.person();
    await alice.joins('general', 'Alice');
    await bob.joins('general', 'Bob');
    const people = [alice, bob];
    const said = [];
    const says = async (person, text) => {
      said.push(text);
      await person.says(text);
      for (const each of people) await each.sees(text);
    };
    for (const n of [1, 2, 3, 4]) await says(people[n % 2], `line ${n}`);
    for (const person of people) await person.page.evaluate(() => (globalThis.notReloaded = true));

    await alice.message.pressSequentially('line 5');
    await bob.message.pressSequentially('a draft of Bob');
    await stage.server.end(signal);
    await alice.sendButton.click();
    said.push('line 5');
    await alice.log.getByText('line 5', { exact: true }).waitFor();
    await alice.log.getByText(/Sending|Pending/).waitFor();
    await alice.message.pressSequentially('a draft of Alice');
    for (const person of people) {
      await eventually(async () => assert.match(await person.connection.innerText(), /offline.*\b\d+ ?s/is));
    }

    await stage.server.comeBack();
    await eventually(async () => assert.deepEqual(await bob.lines(/^line/), said));
    await eventually(async () => assert.equal(await alice.log.getByText(/Sending|Pending/).count(), 0));
    assert.deepEqual(await alice.lines(/^line/), said);
    for (const person of people) {
      await eventually(async () => assert.doesNotMatch(await person.connection.innerText(), /offline|connecting/i));
      for (const name of ['Alice', 'Bob']) await person.personEntry(name).waitFor();
      // The memory store forgot what was said, and nobody can tell what was lost with it.
      if (!keeps) await person.log.getByText(LOST).waitFor();
    }
    assert.equal(await alice.message.inputValue(), 'a draft of Alice');
    assert.equal(await bob.message.inputValue(), 'a draft of Bob');
    await says(bob, 'line 6');
    await says(alice, 'line 7');
    for (const person of people) {
      assert.deepEqual(await person.lines(/^line/), said);
      assert.equal(await person.page.evaluate(() => globalThis.notReloaded), true);
      if (!keeps) continue;
      await showsAll(person, said);
      await person.page.reload();
      await person.sees('line 7');
      await showsAll(person, said);
    }
  });
}

/** Who scrolls back finds everything that was ever said, once, and nothing else. */
async function showsAll(person, said) {
  await person.scrollsToTheBeginning();
  assert.deepEqual(await person.lines(/line \d/), [...OLD, ...said]);
  assert.equal(await person.log.getByText(LOST).count(), 0);
}

scenario('what was stored before the server was killed, and not answered, is there once', { losesServer: true, keeps: true }, async (stage) => {
  const alice = await stage.person({ blank: true });
  let deaf = false;
  await alice.page.routeWebSocket(/^ws:/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((frame) => deaf || socket.send(frame));
  });
  await alice.arrives();
  await alice.joins('general', 'Alice');
  await alice.says('before');
  await alice.sees('before');
  await alice.log.getByText(/Sending/).waitFor({ state: 'detached' });
  const bob = await stage.robot('Bob', 'general');
  deaf = true;
  await alice.says('not answered');
  await eventually(() => assert.deepEqual(bob.texts('general'), ['before', 'not answered']));
  await alice.log.getByText(/Sending/).waitFor();
  await stage.server.end('SIGKILL');
  deaf = false;
  await stage.server.comeBack();
  await alice.log.getByText(/Sending/).waitFor({ state: 'detached' });
  await alice.says('behind');
  const robot = await stage.robot('Carol', 'general');
  await eventually(() => assert.deepEqual(robot.texts('general'), ['before', 'not answered', 'behind']));
  assert.deepEqual(await alice.lines(/^(before|not answered|behind)/), ['before', 'not answered', 'behind']);
  assert.equal(await alice.log.getByText(LOST).count(), 0);
});

scenario('who was named so while the server was away keeps the name', { losesServer: true }, async (stage) => {
  const alice = await stage.person({ blank: true });
  let held = false;
  await alice.page.routeWebSocket(/^ws:/, (socket) => (held ? socket.close() : socket.connectToServer()));
  await alice.arrives();
  await alice.joins('general', 'Alice');
  held = true;
  await stage.server.end('SIGKILL');
  await alice.says('not to be lost');
  await stage.server.comeBack();
  const other = await stage.robot('Alice', 'general');
  held = false;
  await eventually(async () => {
    const retry = alice.page.getByRole('button', { name: 'Retry now' });
    if (await retry.isVisible()) await retry.click({ timeout: 100 });
    assert.match(await alice.page.getByRole('alert').allInnerTexts().then((texts) => texts.join(' ')), /name/i);
  });
  await alice.yourName.fill('Alice the first');
  await alice.page.getByRole('button', { name: 'Change' }).click();
  await alice.personEntry('Alice the first').waitFor();
  await alice.log.getByText(/Not sent/).waitFor();
  await alice.log.getByRole('button', { name: 'Retry' }).click();
  await eventually(() => assert.deepEqual(other.texts('general'), ['not to be lost']));
  await eventually(async () => assert.equal(await alice.log.getByText(/Not sent|Sending/).count(), 0));
  assert.deepEqual(await alice.lines(/^not to/), ['not to be lost']);
});

scenario('the network of one person goes away and comes back', { losesServer: true }, async (stage) => {
  const alice = await stage.person();
  await alice.joins('general', 'Alice');
  const bob = await stage.robot('Bob', 'general');
  await bob.say('general', 'line 1');
  await alice.sees('line 1');
  await alice.page.context().setOffline(true);
  await bob.say('general', 'line 2');
  await alice.says('line 3');
  await alice.log.getByText(/Sending/).waitFor();
  await alice.page.context().setOffline(false);
  await eventually(async () => assert.deepEqual(await alice.lines(/^line/), ['line 1', 'line 2', 'line 3']));
  await eventually(() => assert.deepEqual(bob.texts('general'), ['line 1', 'line 2', 'line 3']));
  await alice.log.getByText(/Sending/).waitFor({ state: 'detached' });
});

scenario('two tabs are one person, before and after the server was killed', { losesServer: true }, async (stage) => {
  const alice = await stage.profile();
  const first = await stage.person({ profile: alice });
  await first.joins('general', 'Alice');
  let carol = await stage.robot('Carol', 'general');
  const second = await stage.person({ profile: alice, hash: '#room=general' });
  await second.message.waitFor();
  const bob = await stage.person();
  await bob.joins('general', 'Bob');
  const names = ['Alice', 'Bob', 'Carol'];
  await eventually(async () => assert.deepEqual(await bob.names(names), names));

  await first.says('from the first');
  await second.says('from the second');
  for (const person of [first, second, bob]) {
    await eventually(async () => assert.deepEqual((await person.lines(/^from the/)).sort(), ['from the first', 'from the second']));
  }

  await stage.server.end('SIGKILL');
  await stage.server.comeBack();
  carol = await stage.robot('Carol', 'general');
  for (const person of [first, second, bob]) {
    await eventually(async () => assert.deepEqual(await person.names(names), names));
  }
  await first.says('from the first again');
  await second.says('from the second again');
  await eventually(() => assert.deepEqual(carol.texts('general').sort(), ['from the first again', 'from the second again']));

  await first.page.close();
  await second.says('from the second alone');
  await bob.sees('from the second alone');
  assert.deepEqual(await bob.names(names), names);
  assert.deepEqual(carol.heard.filter((frame) => frame.type === 'user_left'), []);

  await second.page.close();
  await bob.personEntry('Alice').waitFor({ state: 'detached' });
});

scenario('a reload remembers name and rooms', {}, async (stage) => {
  const alice = await stage.person({ hash: '#room=games' });
  await alice.yourName.fill('Alice');
  assert.equal(await alice.room.inputValue(), 'games');
  await alice.joinButton.click();
  await alice.message.waitFor();
  await alice.joins('general');
  await alice.says('before the reload');
  await alice.sees('before the reload');
  await alice.page.reload();
  await alice.message.waitFor();
  await alice.roomEntry('games').waitFor();
  await alice.sees('before the reload');
  assert.deepEqual(await alice.names(['Alice']), ['Alice']);

  await alice.page.goto(`${stage.server.url}#room=a%20third%20%26%20last`);
  await alice.roomEntry('a third & last').waitFor();
  await alice.says('in the third');
  const bob = await stage.robot('Bob', 'a third & last');
  await eventually(() => assert.deepEqual(bob.texts('a third & last'), ['in the third']));
});
