// People who find each other, talk and go.
import assert from 'node:assert/strict';
import { eventually, scenario } from './parlor.js';

scenario('two people meet, type and talk', {}, async (stage) => {
  const alice = await stage.person();
  const bob = await stage.person();
  await alice.joins('general', 'Alice');
  await bob.joins('general', 'Bob');
  for (const person of [alice, bob]) {
    await person.personEntry('Alice').waitFor();
    await person.personEntry('Bob').waitFor();
    assert.equal(await person.people.getByRole('listitem').count(), 2);
    await eventually(async () => assert.match(await person.roomEntry('general').innerText(), /\b2\b/));
  }

  const typing = (name) => new RegExp(`${name} is typing`);
  await bob.message.pressSequentially('Hello, Alice');
  await alice.page.getByText(typing('Bob')).waitFor();
  assert.equal(await bob.page.getByText(typing('Bob')).count(), 0, 'nobody is told of their own typing');
  await bob.sendButton.click();
  await alice.sees('Hello, Alice');
  await alice.page.getByText(typing('Bob')).waitFor({ state: 'hidden' });

  await alice.says('Hello, Bob');
  await bob.sees('Hello, Bob');
  await alice.message.fill('Said with Enter');
  await alice.message.press('Enter');
  await bob.sees('Said with Enter');
  for (const person of [alice, bob]) {
    assert.deepEqual(await person.lines(/^(Hello, |Said)/), ['Hello, Alice', 'Hello, Bob', 'Said with Enter']);
    assert.equal(await person.message.inputValue(), '');
  }

  await bob.leaves('general');
  await alice.personEntry('Bob').waitFor({ state: 'detached' });
  await bob.message.waitFor({ state: 'hidden' });
  for (const person of [alice, bob]) {
    await eventually(async () => assert.match(await person.roomEntry('general').innerText(), /\b1\b/));
  }
  // The list of rooms leads back.
  await bob.opens('general');
  await alice.personEntry('Bob').waitFor();
  await bob.sees('Said with Enter');
});

scenario('who stops typing without a word is forgotten', {}, async (stage) => {
  const alice = await stage.person();
  await alice.joins('general', 'Alice');
  const bob = await stage.robot('Bob', 'general');
  bob.typing('general');
  await alice.page.getByText(/Bob is typing/).waitFor();
  await alice.page.getByText(/Bob is typing/).waitFor({ state: 'hidden' });
});

scenario('another room counts what was not read there', {}, async (stage) => {
  const alice = await stage.person();
  await alice.joins('games', 'Alice');
  const bob = await stage.robot('Bob', 'games');
  await bob.say('games', 'Seen at once');
  await alice.sees('Seen at once');
  await alice.joins('general');
  for (const n of [1, 2, 3]) await bob.say('games', `Not seen ${n}`);
  await alice.roomEntry('games').getByText('3', { exact: true }).or(alice.roomEntry('games').getByText(/3 (unread|new)/)).first().waitFor();
  assert.doesNotMatch(await alice.roomEntry('general').innerText(), /unread|new/);
  assert.match(await alice.page.title(), /3/);

  await alice.opens('games');
  await alice.sees('Not seen 3');
  assert.deepEqual(await alice.lines(/seen|new messages/i), ['Seen at once', 'New messages', 'Not seen 1', 'Not seen 2', 'Not seen 3']);
  await eventually(async () => assert.doesNotMatch(await alice.roomEntry('games').innerText(), /3/));
});

scenario('who talks too fast is heard in order', { server: ['--rate', '5', '--burst', '1'] }, async (stage) => {
  const alice = await stage.person();
  await alice.joins('general', 'Alice');
  const bob = await stage.robot('Bob', 'general');
  const said = [1, 2, 3, 4, 5].map((n) => `line ${n}`);
  for (const text of said) await alice.says(text);
  await eventually(() => assert.deepEqual(bob.texts('general'), said));
  await eventually(async () => assert.deepEqual(await alice.lines(/^line/), said));
});

scenario('what the server refuses can be tried again', {}, async (stage) => {
  const alice = await stage.person({ blank: true });
  let refuses = true;
  await alice.page.routeWebSocket(/^ws:/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((data) => {
      const { type, ref, clientMsgId, roomId } = JSON.parse(data);
      if (type !== 'message' || !refuses) return server.send(data);
      const error = { type: 'error', code: 'FORBIDDEN', message: 'Not here.', ref, clientMsgId, roomId };
      socket.send(JSON.stringify(error));
    });
  });
  await alice.arrives();
  await alice.joins('general', 'Alice');
  const bob = await stage.robot('Bob', 'general');
  await alice.says('Let me in');
  await alice.log.getByText(/Not sent/).waitFor();
  await alice.says('Refused as well');
  await eventually(async () => assert.equal(await alice.log.getByText(/Not sent/).count(), 2));
  refuses = false;
  await alice.log.getByRole('button', { name: /Retry/ }).first().click();
  await eventually(() => assert.deepEqual(bob.texts('general'), ['Let me in']));
  await eventually(async () => assert.equal(await alice.log.getByText(/Not sent/).count(), 1));
  await alice.log.getByRole('button', { name: /Retry/ }).click();
  await eventually(() => assert.deepEqual(bob.texts('general'), ['Let me in', 'Refused as well']));
  await alice.log.getByText(/Not sent/).waitFor({ state: 'detached' });
  assert.deepEqual(await alice.lines(/^(Let me|Refused)/), ['Let me in', 'Refused as well']);
});

scenario('a name that somebody has is refused where it is asked for', {}, async (stage) => {
  await stage.robot('Alice', 'general');
  const alice = await stage.person();
  await alice.yourName.fill('alice');
  await alice.room.fill('general');
  await alice.joinButton.click();
  await alice.page.getByText(/name/i).and(alice.page.getByText(/taken|another|already/i)).first().waitFor();
  await alice.joins('general', 'Alice the second');
  await alice.personEntry('Alice the second').waitFor();
});
