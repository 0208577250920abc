// On a server that lets nobody in without a token.
import assert from 'node:assert/strict';
import { assertAccessible } from './accessible.js';
import { eventually, picture, scenario } from './parlor.js';

const TOKENS = { tokens: true };
const NARROW = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true };

/** The form, filled in and sent; what comes of it is another matter. */
async function asks(person, { name, token, room }) {
  if (name !== undefined) await person.yourName.fill(name);
  if (token !== undefined) await person.token.fill(token);
  if (room !== undefined) await person.room.fill(room);
  await person.joinButton.click();
}

async function assertFocused(locator) {
  await eventually(async () => assert.ok(await locator.evaluate((element) => element === document.activeElement)));
}

/** What the one who sits there is told by an alert. */
async function isTold(person, pattern) {
  await person.page.getByRole('alert').filter({ hasText: pattern }).waitFor();
}

/** What all alerts say. */
function toldBy(person) {
  return person.page.getByRole('alert').filter({ hasText: /./ }).allInnerTexts();
}

async function isIn(person, name) {
  await person.message.waitFor();
  await person.personEntry(name).waitFor();
  assert.equal(await person.yourName.inputValue(), name);
}

/** Everything a browser keeps, says or asks for, as one text, but for what the tab alone knows. */
async function traces(person, said) {
  const { page } = person;
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, document.cookie, history.state, document.body.innerText]));
  return [kept, page.url(), await page.title(), ...said].join('\n');
}

scenario('whoever brings a token comes in, and the tab alone remembers it', TOKENS, async (stage) => {
  const bob = await stage.robot('bob', 'general');
  const token = await stage.issuer.token('alice');
  const profile = await stage.profile();
  const alice = await stage.person({ profile, blank: true });
  const said = [];
  alice.page.on('console', (message) => said.push(message.text()));
  alice.page.on('request', (request) => said.push(request.url()));
  alice.page.on('websocket', (socket) => said.push(socket.url()));
  await alice.arrives();
  await alice.joinButton.waitFor();
  assert.equal(await alice.token.isVisible(), false, 'nobody asked for a token yet');

  await asks(alice, { name: 'Somebody', room: 'general' });
  await assertFocused(alice.token);
  await alice.page.getByText('This server asks for a token. Whoever runs it gives you one.').waitFor();
  assert.equal(await alice.yourName.isVisible(), false, 'the name is in the token');
  assert.equal(await alice.token.getAttribute('type'), 'password');
  assert.equal(await alice.token.getAttribute('autocomplete'), 'off');
  await assertAccessible(alice);
  await picture(alice.page, 'token');

  await asks(alice, {});
  await isTold(alice, 'Enter a token.');
  await asks(alice, { token: 'x'.repeat(8193) });
  await isTold(alice, /too long/);
  await asks(alice, { token: `${token}x` });
  await isTold(alice, /does not accept this token/);
  await assertAccessible(alice);
  await assertFocused(alice.token);
  assert.equal(await alice.token.inputValue(), '');
  await asks(alice, { token: ` ${token}\t` });
  await isIn(alice, 'alice');
  assert.equal(await alice.token.isVisible(), false);
  assert.equal(await alice.yourName.isEditable(), false);
  assert.deepEqual(await toldBy(alice), []);
  await assertAccessible(alice);
  await alice.says('with a token');
  await eventually(() => assert.deepEqual(bob.texts('general'), ['with a token']));
  assert.equal(bob.heard.at(-1).from, 'alice');

  await alice.page.reload();
  await isIn(alice, 'alice');
  await alice.sees('with a token');
  assert.equal(await alice.token.isVisible(), false);
  assert.ok(await alice.page.evaluate((secret) => Object.values(sessionStorage).includes(secret), token));
  assert.ok(!(await traces(alice, said)).includes(token));

  // Another tab has the name and the rooms, and no token.
  const second = await stage.person({ profile });
  await assertFocused(second.token);
  assert.equal(await second.message.isVisible(), false);
  assert.equal(await second.room.inputValue(), 'general');
  assert.equal(await second.token.inputValue(), '');
  await asks(second, { token });
  await isIn(second, 'alice');
  await second.sees('with a token');
  assert.deepEqual(await alice.names(['alice', 'bob']), ['alice', 'bob']);

  // Who left all rooms is still known.
  await alice.leaves('general');
  await alice.page.reload();
  await alice.joinButton.waitFor();
  assert.equal(await alice.token.inputValue(), token);
  await assertFocused(alice.room);
  await asks(alice, { room: 'general' });
  await isIn(alice, 'alice');
});

scenario('a token that was refused when one comes back is forgotten', TOKENS, async (stage) => {
  const alice = await stage.person();
  await asks(alice, { name: 'alice', room: 'general' });
  await asks(alice, { token: await stage.issuer.token('alice') });
  await isIn(alice, 'alice');
  await alice.page.evaluate(() => sessionStorage.setItem('parlor.token', 'no token'));
  await alice.page.reload();
  await isTold(alice, /does not accept this token/);
  await assertFocused(alice.token);
  assert.equal(await alice.page.evaluate(() => sessionStorage.length), 0);
  await asks(alice, { token: await stage.issuer.token('alice') });
  await isIn(alice, 'alice');
});

scenario('who writes when the token expires goes on with a fresh one', { tokens: true, server: ['--rate', '0'] }, async (stage) => {
  const bob = await stage.robot('bob', 'general');
  await bob.ask({ type: 'join', roomId: 'games' });
  await bob.say('games', 'game 0');
  const alice = await stage.person();
  let joins = [];
  alice.page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => {
    const { type, roomId, since } = JSON.parse(payload);
    if (type === 'join') joins.push([roomId, since?.seq]);
  }));
  await asks(alice, { name: 'alice', room: 'games' });
  await assertFocused(alice.token);
  await asks(alice, { token: await stage.issuer.token('alice', { ttl: '10s' }) });
  await isIn(alice, 'alice');
  await alice.sees('game 0');
  await alice.joins('general');
  await alice.says('before');
  await alice.sees('before');
  await alice.message.fill('a draft');
  await eventually(async () => assert.match(await alice.connection.innerText(), /token has expired/));
  await assertAccessible(alice);
  await picture(alice.page, 'token-expired');
  await assertFocused(alice.message);
  assert.equal(await alice.page.evaluate(() => sessionStorage.length), 0);
  await alice.says('not sent yet');
  await alice.log.getByText(/Not sent/).waitFor();
  await alice.message.fill('a draft');
  joins = [];
  // More than a join replays to whoever does not say what was seen last.
  const missed = Array.from({ length: 60 }, (_, n) => `game ${n + 1}`);
  for (const text of missed) {
    await bob.say('games', text);
    await bob.say('general', text);
  }
  await bob.say('general', 'meanwhile');

  await alice.page.getByRole('button', { name: 'Enter a token' }).click();
  await assertFocused(alice.token);
  await asks(alice, { token: 'no token' });
  await isTold(alice, /does not accept this token/);
  await alice.sees('before');
  await asks(alice, { token: await stage.issuer.token('alice') });
  await alice.sees('meanwhile');
  await alice.roomEntry('games').getByText('60 unread messages').waitFor();
  assert.deepEqual(joins, [['general', 1], ['games', 1]]);
  assert.equal(await alice.message.inputValue(), 'a draft');
  await eventually(async () => assert.match(await alice.connection.innerText(), /online/i));
  await alice.log.getByRole('button', { name: 'Retry' }).click();
  const talk = ['before', ...missed, 'meanwhile', 'not sent yet'];
  await eventually(() => assert.deepEqual(bob.texts('general'), talk));
  await eventually(async () => assert.deepEqual(await alice.lines(/^(before|game|meanwhile|not sent yet)/), talk));
  assert.deepEqual(await alice.names(['alice', 'bob']), ['alice', 'bob']);
  await alice.opens('games');
  await eventually(async () => assert.deepEqual(await alice.lines(/^game/), ['game 0', ...missed]));
});

scenario('on a narrow screen the banner leads to the form', TOKENS, async (stage) => {
  const bob = await stage.robot('bob', 'general');
  const alice = await stage.person({ ...NARROW, blank: true });
  let ends;
  await alice.page.routeWebSocket(/^ws:/, (socket) => {
    const server = socket.connectToServer();
    ends = async () => {
      // The server's own close would come as another one.
      server.onClose(() => {});
      await socket.close({ code: 4500, reason: 'token expired' });
      await server.close();
    };
  });
  await alice.arrives();
  await asks(alice, { name: 'alice', room: 'general' });
  await assertFocused(alice.token);
  await asks(alice, { token: await stage.issuer.token('alice') });
  await alice.message.fill('a draft');
  await ends();
  await alice.page.getByRole('button', { name: 'Enter a token' }).tap();
  await assertFocused(alice.token);
  await assertAccessible(alice);
  await picture(alice.page, 'token-narrow');
  await asks(alice, { token: await stage.issuer.token('alice') });
  await alice.token.waitFor({ state: 'hidden' });
  assert.equal(await alice.message.inputValue(), 'a draft');
  await alice.sendButton.tap();
  await eventually(() => assert.deepEqual(bob.texts('general'), ['a draft']));
});

scenario('rooms that a token does not cover are neither listed nor entered', TOKENS, async (stage) => {
  await stage.robot('bob', 'general');
  await stage.robot('carol', 'team-b');
  const alice = await stage.person();
  await asks(alice, { name: 'alice', room: 'general' });
  await assertFocused(alice.token);
  const ofTeams = await stage.issuer.token('alice', { rooms: 'team-*' });
  await asks(alice, { token: ofTeams });
  await isTold(alice, 'You are not allowed into this room.');
  await assertFocused(alice.room);
  assert.equal(await alice.token.inputValue(), ofTeams, 'the token was good');
  await asks(alice, { room: 'team-a' });
  await isIn(alice, 'alice');
  await alice.roomEntry('team-b').waitFor();
  assert.equal(await alice.roomEntry('general').count(), 0);
  await asks(alice, { room: 'general' });
  await isTold(alice, 'You are not allowed into this room.');
  assert.equal(await alice.roomEntry('general').count(), 0);
  assert.equal(await alice.roomEntry('team-a').getByText('not joined').count(), 0);

  // A token for other rooms: one is out of those of the first, and may come back.
  await alice.changeButton.click();
  await asks(alice, { token: await stage.issuer.token('alice', { rooms: 'general' }), room: 'general' });
  await alice.personEntry('bob').waitFor();
  await alice.roomEntry('team-a').getByText('not joined').waitFor();
  await alice.roomEntry('team-b').waitFor({ state: 'detached' });
  await alice.page.reload();
  await alice.personEntry('bob').waitFor();
  await alice.roomEntry('team-a').getByText('not joined').waitFor();
  await alice.opens('team-a');
  await isTold(alice, 'You are not in this room: You are not allowed into this room.');
  await alice.changeButton.click();
  await asks(alice, { token: ofTeams });
  await alice.roomEntry('general').getByText('not joined').waitFor();
  await alice.says('in the team');
  await alice.log.getByText(/Sending|Not sent/).waitFor({ state: 'detached' });
  await alice.sees('in the team');
});

scenario('"Change" asks for another token, and takes the question back', TOKENS, async (stage) => {
  const bob = await stage.robot('bob', 'general');
  const alice = await stage.person();
  await asks(alice, { name: 'alice', room: 'general' });
  await assertFocused(alice.token);
  const token = await stage.issuer.token('alice');
  await asks(alice, { token });
  await isIn(alice, 'alice');
  await alice.changeButton.click();
  await assertFocused(alice.token);
  assert.equal(await alice.changeButton.getAttribute('aria-expanded'), 'true');
  await assertAccessible(alice);
  await asks(alice, { token: 'no token' });
  await isTold(alice, /does not accept this token/);
  assert.match(await alice.connection.innerText(), /online/i);
  assert.ok(await alice.page.evaluate((secret) => Object.values(sessionStorage).includes(secret), token));
  await alice.changeButton.click();
  await alice.token.waitFor({ state: 'hidden' });
  assert.equal(await alice.page.getByText(/does not accept this token/).count(), 0);

  await alice.changeButton.click();
  await asks(alice, { room: 'games' });
  await alice.page.getByRole('heading', { name: 'games' }).waitFor();
  await isIn(alice, 'alice');
  await asks(alice, { token: await stage.issuer.token('carol') });
  await alice.personEntry('carol').waitFor();
  await isIn(alice, 'carol');
  await eventually(() => {
    const seen = bob.heard.filter(({ type }) => type === 'user_joined' || type === 'user_left').map(({ type, username }) => `${type} ${username}`);
    assert.deepEqual(seen.sort(), ['user_joined alice', 'user_joined carol', 'user_left alice']);
  });
  await alice.page.reload();
  await isIn(alice, 'carol');
});

scenario('a name that somebody has in another spelling is refused until it is free', TOKENS, async (stage) => {
  const other = await stage.robot('Alice', 'general');
  const alice = await stage.person();
  await asks(alice, { name: 'alice', room: 'general' });
  await assertFocused(alice.token);
  const token = await stage.issuer.token('alice');
  await asks(alice, { token });
  await isTold(alice, /nearly the same name/);
  const left = await stage.robot('bob', 'general');
  other.leave();
  await eventually(() => assert.ok(left.heard.some(({ type, username }) => type === 'user_left' && username === 'Alice')));
  await asks(alice, { token });
  await isIn(alice, 'alice');
});

/** The server, told otherwise than before whether it asks for tokens. */
async function comesBack({ server }, ...args) {
  await server.end('SIGKILL');
  await server.comeBack(['--memory', ...args]);
}

scenario('a server that asks for tokens from one day on, and no more from another', { tokens: true, losesServer: true }, async (stage) => {
  await comesBack(stage);
  const alice = await stage.person();
  await alice.joins('games', 'Alice');
  await alice.joins('general');
  assert.equal(await alice.token.isVisible(), false);
  await alice.message.fill('a draft');

  await comesBack(stage, ...stage.issuer.arguments);
  await alice.page.getByRole('button', { name: 'Enter a token' }).click();
  assert.match(await alice.connection.innerText(), /This server asks for a token/);
  assert.equal(await alice.yourName.isVisible(), false);
  await asks(alice, { token: await stage.issuer.token('alice') });
  await isIn(alice, 'alice');
  assert.equal(await alice.message.inputValue(), 'a draft');

  await comesBack(stage);
  await isTold(alice, /without a token/);
  await assertFocused(alice.yourName);
  assert.equal(await alice.token.isVisible(), false);
  assert.equal(await alice.yourName.inputValue(), 'alice');
  assert.equal(await alice.room.inputValue(), 'general');
  assert.equal(await alice.page.evaluate(() => sessionStorage.length), 0);
  await asks(alice, {});
  await isIn(alice, 'alice');
  assert.equal(await alice.message.inputValue(), 'a draft');
  await alice.sendButton.click();
  const bob = await stage.robot('bob', 'games');
  await alice.opens('games');
  await alice.personEntry('bob').waitFor();
  assert.deepEqual(bob.joined.users, ['alice', 'bob']);
  assert.equal(await alice.yourName.isEditable(), true);
});

scenario('who is in no room learns that there is no use for a token on the way to one', { tokens: true, losesServer: true }, async (stage) => {
  const alice = await stage.person();
  await asks(alice, { name: 'whoever', room: 'general' });
  await assertFocused(alice.token);
  await asks(alice, { token: await stage.issuer.token('alice') });
  await isIn(alice, 'alice');
  await alice.leaves('general');
  await comesBack(stage);
  await asks(alice, { room: 'games' });
  await isTold(alice, /without a token/);
  await assertFocused(alice.yourName);
  assert.equal(await alice.yourName.inputValue(), 'alice');
  assert.equal(await alice.room.inputValue(), 'games');
  await asks(alice, { name: 'Alice' });
  await isIn(alice, 'Alice');
});

scenario('who comes back to a server with another secret is asked for another token', { tokens: true, losesServer: true }, async (stage) => {
  const alice = await stage.person();
  await asks(alice, { name: 'alice', room: 'general' });
  await assertFocused(alice.token);
  await asks(alice, { token: await stage.issuer.token('alice') });
  await isIn(alice, 'alice');
  await alice.message.fill('a draft');
  await stage.server.end('SIGKILL');
  await alice.says('not sent');
  await alice.message.fill('a draft');
  await stage.issuer.changesSecret();
  await stage.server.comeBack();
  await eventually(async () => assert.match(await alice.connection.innerText(), /does not accept this token/));
  await alice.log.getByText(/Not sent/).waitFor();
  assert.deepEqual(await toldBy(alice), [], 'the banner alone says it');
  await assertFocused(alice.message);
  await asks(alice, { token: await stage.issuer.token('alice') });
  await alice.log.getByRole('button', { name: 'Retry' }).click();
  const bob = await stage.robot('bob', 'general');
  await eventually(() => assert.deepEqual(bob.texts('general'), ['not sent']));
  assert.equal(await alice.message.inputValue(), 'a draft');
});
