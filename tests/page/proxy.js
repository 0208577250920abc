// A TCP proxy on loopback that does to connections what networks do, and a server behind it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Passes bytes on, unless it was told otherwise. `random` is a generator of fake.js. */
export class Proxy {
  /** As long as it is true, connections break in all the ways there are. */
  faulty = true;
  #pairs = new Set();
  #timers = new Set();
  #refusals = 0;
  #passed = () => {};
  /** How often each fault came to pass. */
  counts = { cut: 0, reset: 0, delayed: 0, refused: 0, halfOpen: 0 };

  constructor(random, port) {
    Object.assign(this, { random, port });
    this.server = net.createServer({ noDelay: true }, (client) => this.#accept(client));
  }

  async listen() {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this.server.address().port;
  }

  /** Resolves when something was passed on so many times, in the midst of whatever goes on then. */
  async passes(times) {
    for (; times > 0; times -= 1) await new Promise((resolve) => (this.#passed = resolve));
  }

  /** The network is well again: what is broken is cut, so that nobody waits for it. */
  heal() {
    this.faulty = false;
    for (const pair of this.#pairs) if (pair.isMuted) pair.end();
  }

  async close() {
    for (const pair of this.#pairs) pair.end();
    for (const timer of this.#timers) clearTimeout(timer);
    this.server.close();
    await once(this.server, 'close');
  }

  #later(run, ms) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }

  #accept(client) {
    const { random } = this;
    client.on('error', () => {});
    if (this.faulty && this.#refusals === 0 && random.chance(0.1)) this.#refusals = 1 + random.below(4);
    if (this.faulty && this.#refusals > 0) {
      this.#refusals -= 1;
      this.counts.refused += 1;
      return reset(client);
    }
    const server = net.connect({ port: this.port, host: '127.0.0.1', noDelay: true });
    const pair = { isMuted: false, end: () => [client, server].forEach((socket) => socket.destroy()) };
    this.#pairs.add(pair);
    const fate = this.faulty ? this.#fate() : undefined;
    const carried = { bytes: 0 };
    const ended = () => {
      this.#pairs.delete(pair);
      pair.end();
    };
    server.on('error', () => {});
    client.on('close', ended);
    server.on('close', ended);
    this.#forward(client, server, 'up', { pair, fate, carried });
    this.#forward(server, client, 'down', { pair, fate, carried });
    return undefined;
  }

  /** What becomes of a connection, and after how many bytes of both directions. */
  #fate() {
    const { pick, below, chance } = this.random;
    const kind = pick(['cut', 'cut', 'reset', 'halfOpen', 'halfOpen', 'none']);
    return { kind, after: below(chance(0.3) ? 400 : 4000), directions: pick([['up'], ['down'], ['up', 'down']]), delays: chance(0.4) };
  }

  #forward(from, to, direction, { pair, fate, carried }) {
    // What waits for its time; behind it everything waits, so the order holds.
    const waiting = [];
    const write = (chunk) => {
      if (fate && this.faulty && !pair.isMuted && carried.bytes + chunk.length > fate.after) {
        const rest = fate.after - carried.bytes;
        if (this.#strike(fate, pair, from, to, chunk.subarray(0, Math.max(0, rest)))) return;
      }
      carried.bytes += chunk.length;
      if (!(pair.isMuted && fate.directions.includes(direction))) to.write(chunk);
      this.#passed();
    };
    const next = () => {
      write(waiting.shift());
      if (waiting.length > 0) this.#later(next, 1 + this.random.below(8));
    };
    from.on('data', (chunk) => {
      if (waiting.length === 0 && !(fate?.delays && this.faulty && this.random.chance(0.5))) return write(chunk);
      this.counts.delayed += 1;
      waiting.push(chunk);
      if (waiting.length === 1) this.#later(next, 1 + this.random.below(8));
      return undefined;
    });
  }

  /** Does to a connection what is its fate; true if nothing more is to be carried. */
  #strike({ kind }, pair, from, to, last) {
    switch (kind) {
      case 'cut':
        this.counts.cut += 1;
        to.write(last, () => pair.end());
        return true;
      case 'reset':
        this.counts.reset += 1;
        for (const socket of [from, to]) reset(socket);
        return true;
      case 'halfOpen':
        this.counts.halfOpen += 1;
        pair.isMuted = true;
        return false;
      default:
        return false;
    }
  }
}

/** Node cannot reset a socket that it is shutting down: at its own end it would wait for that socket for ever. */
function reset(socket) {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

// A signal ends this process by way of its `exit` event, so that a server goes with it.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

const REPOSITORY = new URL('../../', import.meta.url);

/** The real server as a process of its own. */
export class Server {
  #storage;
  #child;
  port = 0;

  /** @param {string[]} storage one of storage.js */
  constructor(storage) {
    this.#storage = storage;
  }

  static get path() {
    return process.env.PARLOR_BIN ?? fileURLToPath(new URL('target/release/parlor', REPOSITORY));
  }

  async start() {
    const { path } = Server;
    if (!existsSync(path)) throw new Error(`there is no server at ${path}: build it with \`cargo build --release\`, or set PARLOR_BIN`);
    const args = ['--listen', `127.0.0.1:${this.port}`, '--rate', '0', '--max-connections-per-address', '0', '--log', 'warn'];
    const child = spawn(path, [...args, ...this.#storage], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    const reap = () => child.kill('SIGKILL');
    process.once('exit', reap);
    child.once('exit', () => process.off('exit', reap));
    const lines = createInterface({ input: child.stdout });
    const listening = new Promise((resolve, reject) => {
      lines.once('line', resolve);
      child.once('error', reject);
      child.once('exit', (code, signal) => reject(new Error(`the server ended (${code ?? signal}) before it listened`)));
    });
    const line = await listening;
    const port = /^parlor listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    if (!port) throw new Error(`the server said: ${line}`);
    this.port = Number(port);
  }

  /** Ends the process at once. It may be started again, on the same port. */
  async kill() {
    if (!this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
