// The first lines that somebody writes with the client, in TypeScript and on Node. They are compiled against the
// types of the packed client and run against a server, whose address is the first argument.
import assert from 'node:assert/strict';
import { ParlorClient, ParlorError, type Message } from 'parlor-client';
import WebSocket from 'ws';

const [, , url] = process.argv;
assert(url);

const alice = new ParlorClient(url, { username: 'Alice', WebSocket });
const bob = new ParlorClient(url, { username: 'Bob', WebSocket });

await alice.join('general');
const answered = new Promise<Message>((resolve) => {
  const stop = alice.on('message', (message) => {
    if (message.own) return;
    stop();
    resolve(message);
  });
});
bob.on('message', async ({ own, from, text }) => {
  if (!own) await bob.send('general', `${from} said: ${text}`);
});
const { users, userCount } = await bob.join('general');
assert.deepEqual(users, ['Alice', 'Bob']);
assert.equal(userCount, 2);

const stored = await alice.send('general', 'Hello!');
const answer = await answered;
assert.equal(answer.text, 'Alice said: Hello!');
assert.equal(answer.seq, stored.seq + 1);

const { messages, hasMore } = await alice.history('general', { before: answer.seq });
assert.deepEqual(messages.map(({ from, text }) => [from, text]), [['Alice', 'Hello!']]);
assert.equal(hasMore, false);

const twin = new ParlorClient(url, { username: 'alice', WebSocket });
const refused = await twin.join('general').catch((error: unknown) => error);
assert(refused instanceof ParlorError);
assert.equal(refused.code, 'USERNAME_TAKEN');

for (const client of [alice, bob, twin]) client.close();
console.log('Alice and Bob talked to each other through the packed client');
