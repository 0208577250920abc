// Alice, with Node's ws: joins, waits for Bob (who is started with the command given), hears him, and
// checks what she got.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import WebSocket from 'ws';

const alice = new WebSocket('ws://127.0.0.1:8080/ws');
const got = [];
let bob;

alice.on('open', () => alice.send('{"type":"join","roomId":"general","username":"Alice"}'));
alice.on('message', (data) => {
  const message = JSON.parse(data.toString());
  got.push(message);
  if (message.type === 'joined') {
    bob = spawn(process.argv[2], [process.argv[3]], { stdio: 'inherit' });
    bob.on('exit', (code) => assert.equal(code, 0));
  } else if (message.type === 'user_left') {
    alice.close(1000);
  }
});
alice.on('close', (code) => {
  assert.equal(code, 1000);
  assert.deepEqual(got.map((message) => message.type), ['joined', 'user_joined', 'message', 'user_left']);
  assert.deepEqual(got[0].users, ['Alice']);
  assert.equal(got[2].from, 'Bob');
  assert.equal(got[2].text, 'Hello, Alice!');
  assert.equal(got[2].seq, 1);
});
