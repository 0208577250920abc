// Clients, a fake network and a fake server in one virtual time.

import { Clock, FakeServer, FakeStorage, Network } from './fake.js';
import { ParlorClient, Watch } from './watch.js';

export const URL_OF_SERVER = 'ws://parlor.example/ws';

export class World {
  watches = [];

  constructor(server = {}) {
    this.clock = new Clock();
    this.server = new FakeServer(this.clock, server);
    this.network = new Network(this.clock, this.server);
  }

  /** A client under the name of its owner in the network, which is unique; `username` is the guest's. */
  client(owner, { username = owner, random = () => 0.5, late, url = URL_OF_SERVER, ...options } = {}) {
    const environment = this.clock.environment(owner, random, late);
    const WebSocket = this.network.socketClass(owner);
    const client = new ParlorClient(url, { username, WebSocket, environment, ...options });
    const watch = new Watch(owner, client);
    this.watches.push(watch);
    return watch;
  }

  /** A client that has joined `rooms`. */
  async member(owner, rooms = ['r'], options = {}) {
    const watch = this.client(owner, options);
    for (const room of rooms) await this.until(watch.client.join(room));
    await this.run(100);
    return watch;
  }

  run(ms = 0) {
    return this.clock.advance(ms);
  }

  until(promise, ms) {
    return this.clock.until(promise, ms);
  }

  /** The code with which a promise is rejected, or undefined if it is resolved. */
  async codeOf(promise, ms) {
    return this.until(promise.then(() => undefined, (error) => error.code ?? error), ms);
  }

  /** The one living connection of an owner. */
  link(owner) {
    const links = this.network.of(owner);
    if (links.length !== 1) throw new Error(`${owner} has ${links.length} connections`);
    return links[0];
  }

  cut(owner, how) {
    for (const link of this.network.of(owner)) link.cut(how);
  }

  refuse(owner) {
    this.network.mode = (link) => (!owner || link.owner === owner ? 'refuse' : 'accept');
  }

  accept() {
    this.network.mode = () => 'accept';
  }

  /** What the server heard of an owner, optionally of one type. */
  heard(owner, type) {
    return this.server.heard.filter((request) => request.owner === owner && (!type || request.type === type));
  }

  /** How many sockets an owner ever made. */
  dials(owner) {
    return this.network.sockets.filter((socket) => socket.link.owner === owner).length;
  }

  checkStreams() {
    for (const watch of this.watches) watch.check();
  }

  /** Ends all clients. Nothing may be left of them. */
  async end() {
    for (const { client } of this.watches) client.close();
    await this.run(60_000);
    this.checkStreams();
    for (const { name } of this.watches) {
      if (this.clock.waiting(name) > 0) throw new Error(`${name} left a timer behind`);
      if (this.network.of(name).length > 0) throw new Error(`${name} left a connection behind`);
    }
  }
}

export { FakeStorage };
