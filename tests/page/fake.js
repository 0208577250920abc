// A world without clocks and sockets: virtual time, a network that does what it is told, and a
// server that speaks protocol 1 as README.md has it. Everything random comes from one seed.

/** A small seeded generator (mulberry32). */
export function generator(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(next() * n);
  return { next, below, chance: (p) => next() < p, pick: (list) => list[below(list.length)] };
}

/** The seed of a random test: PARLOR_SEED, or a fresh one. Print it before anything else. */
export function seedOf(environment = process.env) {
  const given = environment.PARLOR_SEED;
  return given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given) >>> 0;
}

/** Lets every promise that can go on go on: a macrotask comes behind all microtasks. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Virtual time: a queue of timers that run when somebody advances it. */
export class Clock {
  #time = 1_700_000_000_000;
  #timers = new Map();
  #nextId = 1;

  now = () => this.#time;

  setTimeout = (run, ms = 0, owner = 'network') => {
    const id = this.#nextId++;
    this.#timers.set(id, { due: this.#time + Math.max(0, ms || 0), run, owner });
    return id;
  };

  clearTimeout = (id) => {
    this.#timers.delete(id);
  };

  /** How many timers wait, of one owner or of all. */
  waiting(owner) {
    return [...this.#timers.values()].filter((timer) => !owner || timer.owner === owner).length;
  }

  /** The timers of a client. `late(due)` says when a timer really fires, as in a throttled tab. */
  environment(owner, random, late = (due) => due) {
    return {
      now: this.now,
      setTimeout: (run, ms = 0) => {
        if (typeof run !== 'function' || !Number.isFinite(ms)) throw new TypeError(`setTimeout(${run}, ${ms})`);
        return this.setTimeout(run, late(this.#time + Math.max(0, ms)) - this.#time, owner);
      },
      clearTimeout: this.clearTimeout,
      random,
    };
  }

  /** Time passes and nothing runs, as while a machine sleeps. */
  jump(ms) {
    this.#time += ms;
  }

  /** Runs the next timer that is due by `end`; false if there is none, and it is `end` then. */
  step(end) {
    let next;
    for (const [id, timer] of this.#timers) {
      if (timer.due <= end && (!next || timer.due < next.timer.due)) next = { id, timer };
    }
    if (!next) {
      this.#time = Math.max(this.#time, end);
      return false;
    }
    this.#time = Math.max(this.#time, next.timer.due);
    this.#timers.delete(next.id);
    next.timer.run();
    return true;
  }

  /** Runs everything due within `ms`, and what follows from it. */
  async advance(ms = 0) {
    const end = this.#time + ms;
    await settle();
    while (this.step(end)) await settle();
  }

  /** Advances until `promise` is settled, at most `ms`; answers like the promise. */
  async until(promise, ms = 120_000) {
    let settled = false;
    const done = () => (settled = true);
    promise.then(done, done);
    const end = this.#time + ms;
    await settle();
    while (!settled) {
      if (!this.step(end)) {
        await settle();
        if (!settled) throw new Error(`not settled within ${ms} ms`);
      }
      await settle();
    }
    return promise;
  }
}

/** The browser's WebSocket as far as a client can see it; `network` does the rest. */
class FakeSocket extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  CONNECTING = 0;
  OPEN = 1;
  CLOSING = 2;
  CLOSED = 3;
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  readyState = 0;
  bufferedAmount = 0;
  binaryType = 'blob';

  constructor(network, owner, url) {
    super();
    this.url = String(new URL(url));
    if (!/^wss?:/.test(this.url)) throw new DOMException(`a WebSocket to ${url}`, 'SyntaxError');
    for (const type of ['open', 'message', 'error', 'close']) {
      this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    }
    this.link = new Link(network, owner, this);
  }

  send(data) {
    if (typeof data !== 'string') throw new TypeError('the protocol has text frames only');
    if (this.readyState === 0) throw new DOMException('still connecting', 'InvalidStateError');
    if (this.readyState === 1) this.link.toServer(data);
  }

  close(code = 1000, reason = '') {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) throw new DOMException(`close(${code})`, 'InvalidAccessError');
    if (Buffer.byteLength(reason) > 123) throw new DOMException('reason is too long', 'SyntaxError');
    if (this.readyState > 1) return;
    const connecting = this.readyState === 0;
    this.readyState = 2;
    this.link.closedByClient(connecting);
  }

  /** What the network has for the client, as an event. */
  emit(type, fields = {}) {
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }

  opened() {
    if (this.readyState !== 0) return;
    this.readyState = 1;
    this.emit('open');
  }

  received(data) {
    if (this.readyState === 1) this.emit('message', { data });
  }

  closed(code, reason = '') {
    if (this.readyState === 3) return;
    this.readyState = 3;
    if (code === 1006) this.emit('error');
    this.emit('close', { code, reason, wasClean: code !== 1006 });
  }
}

/** How long a browser waits for the other half of the closing handshake, ms. */
const CLOSING_MS = 30_000;

/** What lies between one socket and the server: two directions, each in its order. */
class Link {
  /** Which directions swallow what they carry. */
  muted = { up: false, down: false };
  conn = null;
  #arrival = { up: 0, down: 0 };
  #alive = true;

  constructor(network, owner, socket) {
    Object.assign(this, { network, owner, socket, clock: network.clock });
    network.links.push(this);
    const mode = network.mode(this);
    if (mode === 'hang') return;
    if (mode === 'refuse') this.#later('down', () => this.#end(1006));
    // Node 20 tells of a refused connection by an error alone, and stays in CONNECTING.
    else if (mode === 'error only') this.#later('down', () => this.#end());
    else this.#later('up', () => this.#accept());
  }

  get alive() {
    return this.#alive;
  }

  #later(direction, run) {
    const { clock } = this;
    const at = Math.max(this.#arrival[direction], clock.now() + this.network.delay(direction, this));
    this.#arrival[direction] = at;
    clock.setTimeout(() => !this.muted[direction] && run(), at - clock.now());
  }

  #accept() {
    if (!this.#alive) return;
    this.conn = this.network.server.connect({
      owner: this.owner,
      send: (data) => this.#later('down', () => this.#alive && this.socket.received(data)),
      close: (code, reason) => this.#later('down', () => this.#end(code, reason)),
    });
    this.#later('down', () => this.#alive && this.socket.opened());
  }

  #end(code, reason) {
    if (!this.#alive) return;
    this.#alive = false;
    this.network.links = this.network.links.filter((link) => link !== this);
    if (code === undefined) this.socket.emit('error');
    else this.socket.closed(code, reason);
  }

  toServer(data) {
    this.#later('up', () => this.conn?.receive(data));
  }

  closedByClient(connecting) {
    if (connecting) {
      this.clock.setTimeout(() => this.#end(1006), 0);
      this.conn?.gone();
      return;
    }
    this.#later('up', () => {
      this.conn?.gone();
      this.#later('down', () => this.#end(1000));
    });
    this.clock.setTimeout(() => this.#end(1006), CLOSING_MS, 'closing');
  }

  /** The connection breaks: the client sees it at once, the server after `serverAfter` ms. */
  cut({ code = 1006, serverAfter = 0 } = {}) {
    const { conn } = this;
    if (serverAfter === 0) conn?.gone();
    else this.clock.setTimeout(() => conn?.gone(), serverAfter);
    this.#end(code);
  }

  /** Bytes vanish from now on, and nobody is told. The server misses the pongs in the end. */
  mute(...directions) {
    for (const direction of directions) this.muted[direction] = true;
    const { conn } = this;
    const look = () => {
      if (!conn?.alive) return;
      if (this.clock.now() - conn.heardAt >= PING_MS + PONG_MS) conn.close(4001, 'no pong in time');
      else this.clock.setTimeout(look, 5000);
    };
    if (conn) look();
  }
}

/** All links; `mode` and `delay` may be replaced at any time. */
export class Network {
  links = [];
  /** Sockets that were ever made, oldest first. */
  sockets = [];
  mode = () => 'accept';
  delay = () => 10;

  constructor(clock, server) {
    Object.assign(this, { clock, server });
  }

  /** A WebSocket class whose connections belong to `owner`. */
  socketClass(owner) {
    const network = this;
    return class extends FakeSocket {
      constructor(url) {
        super(network, owner, url);
        network.sockets.push(this);
      }
    };
  }

  /** The living links of a client. */
  of(owner) {
    return this.links.filter((link) => link.owner === owner);
  }
}

const PING_MS = 25_000;
const PONG_MS = 10_000;

export const LIMITS = {
  username: 32, text: 2000, roomId: 64, clientMsgId: 64, frameBytes: 65536, historyPage: 100, replay: 50,
  roomsPerConnection: 100, membersPerRoom: 1000, messagesPerSecond: 10, burst: 20,
};

/** GCRA in ms: how long to wait, 0 if it is taken. */
class Bucket {
  #next = 0;
  take(perSecond, burst, now) {
    if (perSecond === 0) return 0;
    const interval = 1000 / perSecond;
    const early = this.#next - now - interval * (burst - 1);
    if (early > 0) return Math.ceil(early);
    this.#next = Math.max(this.#next, now) + interval;
    return 0;
  }
}

const keyOf = (name) => name.normalize('NFKC').toLowerCase();
const scalars = (text) => [...text].length;
const isToken = (value) => typeof value === 'string' && /^[\x20-\x7e]{1,64}$/.test(value);
const isVisible = (value, most) =>
  typeof value === 'string' && value !== '' && scalars(value) <= most && value === value.trim() && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(value);
const isSeq = (value) => Number.isSafeInteger(value) && value >= 0;

/** A server of one process: `restart` is the next process, `shutdown` its polite end. */
export class FakeServer {
  /** Every request that was read: {owner, at, ...request}. */
  heard = [];
  /** Every log there ever was: room -> epoch -> entries. Nothing is ever taken out of it. */
  logs = new Map();
  connections = new Set();
  /** May answer in the server's place: (request, conn) => undefined, or {code, retryAfterMs?, bare?}
   * (`bare` is flood control, which has read nothing and echoes nothing). */
  intercept = () => undefined;
  /** Whether what a join replays has the ids of one's own messages. */
  tellsOwn = true;

  #rooms = new Map();
  #guests = new Map();
  #nextToken = 1;
  #nextEpoch = 1;

  constructor(clock, { limits = {}, tail = 300, pingIntervalMs = PING_MS } = {}) {
    this.limits = { ...LIMITS, ...limits };
    Object.assign(this, { clock, tail, pingIntervalMs });
  }

  /** What a room has, for tests: its epoch, its whole log of this epoch, its users in order. */
  room(id) {
    const room = this.#rooms.get(id);
    return { epoch: room?.epoch, log: room?.log ?? [], users: room ? this.#users(room) : [], members: room?.members.size ?? 0 };
  }

  connect(outlet) {
    this.#nextToken += 1;
    const conn = {
      owner: outlet.owner, alive: true, guest: null, rooms: new Set(), heardAt: this.clock.now(),
      token: this.#nextToken.toString(16).padStart(32, '0'),
      messages: new Bucket(), frames: new Bucket(), typing: new Bucket(), refusals: 0,
      /** How many of the next broadcast messages get lost on their way to it. */
      drop: 0,
      send: (message) => outlet.send(JSON.stringify(message)),
      raw: outlet.send,
      receive: (data) => conn.alive && this.#receive(conn, data),
      gone: () => this.#remove(conn, 'disconnected'),
      close: (code, reason) => {
        if (!conn.alive) return;
        outlet.close(code, reason);
        this.#remove(conn, { 4000: 'slow', 4001: 'timeout', 4002: 'flooding' }[code] ?? 'disconnected');
      },
    };
    this.connections.add(conn);
    return conn;
  }

  /** All connections break, and the next process begins, with the logs or without. */
  restart({ keepLog = false, code = 1006 } = {}) {
    this.#forgetPresence();
    for (const conn of [...this.connections]) this.#drop(conn, code);
    if (!keepLog) this.#rooms.clear();
  }

  /** Says goodbye to everybody; what comes next is up to the network's mode. */
  shutdown() {
    this.#forgetPresence();
    let retryAfterMs = 1000;
    for (const conn of [...this.connections]) {
      conn.send({ type: 'error', code: 'SERVER_SHUTDOWN', message: 'Reconnect.', retryAfterMs: retryAfterMs++ });
      this.#drop(conn, 1001);
    }
  }

  /** Takes everybody of an owner out of a room, unasked. */
  putOut(owner, roomId, reason) {
    for (const conn of this.connections) {
      if (conn.owner !== owner || !conn.rooms.has(roomId)) continue;
      this.#exit(conn, roomId, reason);
      conn.send({ type: 'left', roomId, reason });
    }
  }

  // Everybody goes at once, so nobody is told that anybody left.
  #forgetPresence() {
    this.#guests.clear();
    for (const room of this.#rooms.values()) room.members.clear();
    for (const conn of this.connections) conn.rooms.clear();
  }

  #drop(conn, code) {
    conn.close(code, code === 1001 ? 'server is going away' : '');
  }

  #remove(conn, reason) {
    if (!conn.alive) return;
    conn.alive = false;
    this.connections.delete(conn);
    for (const id of [...conn.rooms]) this.#exit(conn, id, reason);
    conn.guest?.connections.delete(conn);
    if (conn.guest?.connections.size === 0 && this.#guests.get(conn.guest.key) === conn.guest) this.#guests.delete(conn.guest.key);
  }

  #exit(conn, id, reason) {
    const room = this.#rooms.get(id);
    conn.rooms.delete(id);
    room.members.delete(conn);
    const stays = [...room.members].some((member) => member.guest === conn.guest);
    if (!stays) this.#broadcast(room, conn, { type: 'user_left', roomId: id, username: conn.guest.name, reason });
  }

  #users(room) {
    return [...new Set([...room.members].map((member) => member.guest))].sort((a, b) => room.arrivals.get(a) - room.arrivals.get(b)).map((guest) => guest.name);
  }

  #broadcast(room, except, message) {
    for (const member of room.members) {
      if (member === except) continue;
      if (message.type === 'message' && member.drop > 0) member.drop -= 1;
      else member.send(message);
    }
  }

  #receive(conn, data) {
    conn.heardAt = this.clock.now();
    const refuse = (code, request, more) => {
      const { ref, roomId, clientMsgId } = request ?? {};
      const known = { ref: isToken(ref) ? ref : undefined, roomId: isVisible(roomId, 64) ? roomId : undefined, clientMsgId: isToken(clientMsgId) ? clientMsgId : undefined };
      conn.send({ type: 'error', code, message: `It is ${code}.`, ...known, ...more });
    };
    let request;
    try {
      request = JSON.parse(data);
    } catch {}
    const scripted = this.intercept(request, conn);
    const { messagesPerSecond: rate, burst } = this.limits;
    const wait = scripted?.bare ? (scripted.retryAfterMs ?? 100) : conn.frames.take(rate * 10, burst * 10, this.clock.now());
    if (wait > 0) {
      conn.refusals += 1;
      return conn.refusals >= 100 ? conn.close(4002, 'flooding') : refuse('RATE_LIMITED', {}, { retryAfterMs: wait });
    }
    conn.refusals = 0;
    if (request === null || typeof request !== 'object' || Array.isArray(request)) return refuse('INVALID_JSON');
    this.heard.push({ owner: conn.owner, at: this.clock.now(), conn, ...request });
    // A message is refused by the store or its rate only behind the look for its original.
    const refused = scripted && request.type !== 'message' ? scripted : this.#answer(conn, request, scripted);
    if (refused) refuse(refused.code ?? refused, request, { retryAfterMs: refused.retryAfterMs });
  }

  /** Answers a request; or the code with which it is refused. */
  #answer(conn, request, scripted) {
    const { type, ref, roomId } = request;
    if (ref !== undefined && !isToken(ref)) return 'INVALID_FIELD';
    const needsRoom = ['join', 'leave', 'message', 'typing', 'list_users', 'get_history'].includes(type);
    if (needsRoom && !isVisible(roomId, this.limits.roomId)) return 'INVALID_ROOM_ID';
    const room = this.#rooms.get(roomId);
    const needsMember = ['leave', 'message', 'typing', 'get_history'].includes(type);
    const member = needsMember && !conn.rooms.has(roomId) ? 'NOT_IN_ROOM' : undefined;
    switch (type) {
      case 'hello': return this.#hello(conn, request);
      case 'ping': return void conn.send({ type: 'pong', time: this.clock.now(), ref });
      case 'join': return this.#join(conn, request);
      case 'leave': return member ?? (this.#exit(conn, roomId, 'left'), conn.send({ type: 'left', roomId, ref }));
      case 'message': return this.#message(conn, request, member, scripted);
      case 'typing':
        if (typeof request.active !== 'boolean') return 'INVALID_FIELD';
        if (conn.typing.take(this.limits.messagesPerSecond, this.limits.burst, this.clock.now()) > 0) return undefined;
        return member ?? this.#broadcast(room, conn, { type, roomId, username: conn.guest.name, active: request.active });
      case 'list_rooms': {
        const open = [...this.#rooms.entries()].filter(([id, { members }]) => members.size > 0).sort(([a], [b]) => (a < b ? -1 : 1));
        const rooms = open.filter(([id]) => !request.after || id > request.after).slice(0, 1000).map(([id, open]) => ({ id, userCount: this.#users(open).length }));
        return void conn.send({ type: 'room_list', rooms, roomCount: open.length, ref });
      }
      case 'list_users': {
        const users = room ? this.#users(room) : [];
        return void conn.send({ type: 'user_list', roomId, users, userCount: users.length, ref });
      }
      case 'get_history': return this.#history(conn, request, member);
      default: return 'UNKNOWN_MESSAGE';
    }
  }

  #hello(conn, { protocol, resumeToken, ref }) {
    if (protocol !== 1) {
      conn.send({ type: 'error', code: 'UNSUPPORTED_PROTOCOL', message: 'Update.', ref });
      return conn.close(4501, 'unsupported protocol version');
    }
    if (resumeToken != null) {
      if (conn.guest) return 'INVALID_FIELD';
      const guest = [...this.#guests.values()].find((guest) => guest.token === resumeToken);
      guest?.connections.add(conn);
      conn.guest = guest ?? null;
    }
    const { guest, token } = conn;
    const { limits, pingIntervalMs } = this;
    conn.send({ type: 'hello', protocol: 1, server: 'parlor/fake', resumeToken: guest?.token ?? token, username: guest?.name, time: this.clock.now(), pingIntervalMs, limits, ref });
  }

  #join(conn, { roomId, username, since, history = LIMITS.replay, ref }) {
    if (username != null && !isVisible(username, this.limits.username)) return 'INVALID_USERNAME';
    if (since != null && !(isToken(since.epoch) && isSeq(since.seq))) return 'INVALID_FIELD';
    if (!isSeq(history)) return 'INVALID_LIMIT';
    if (!conn.guest && username == null) return 'INVALID_USERNAME';
    if (conn.guest && username != null && keyOf(username) !== conn.guest.key) return 'USERNAME_MISMATCH';
    if (!conn.guest && this.#guests.has(keyOf(username))) return 'USERNAME_TAKEN';
    if (conn.rooms.has(roomId) && since == null) return 'ALREADY_IN_ROOM';
    if (conn.rooms.size >= this.limits.roomsPerConnection) return 'TOO_MANY_ROOMS';
    if (!conn.guest) {
      conn.guest = { name: username, key: keyOf(username), token: conn.token, connections: new Set([conn]) };
      this.#guests.set(conn.guest.key, conn.guest);
    }
    const room = this.#rooms.get(roomId) ?? this.#open(roomId);
    if (!conn.rooms.has(roomId)) {
      const here = [...room.members].some((member) => member.guest === conn.guest);
      if (!here) {
        room.arrivals.set(conn.guest, room.nextArrival++);
        this.#broadcast(room, conn, { type: 'user_joined', roomId, username: conn.guest.name });
      }
      room.members.add(conn);
      conn.rooms.add(roomId);
    }
    const { epoch, log } = room;
    const missed = since?.epoch === epoch && since.seq <= log.length ? log.length - since.seq : Infinity;
    const recovered = missed <= this.tail;
    const count = recovered ? missed : Math.min(history, this.limits.historyPage, this.tail);
    const entries = count === 0 ? [] : log.slice(-count);
    const users = this.#users(room);
    conn.send({ type: 'joined', roomId, users, userCount: users.length, epoch, seq: log.length, recovered, history: entries.length, ref });
    const idOf = ({ from, clientMsgId }) => (this.tellsOwn && keyOf(from) === conn.guest.key ? clientMsgId : undefined);
    for (const entry of entries) conn.send({ ...plain(roomId, entry), clientMsgId: idOf(entry) });
  }

  #open(roomId) {
    const room = { epoch: `epoch-${this.#nextEpoch++}`, log: [], members: new Set(), arrivals: new Map(), nextArrival: 0 };
    this.#rooms.set(roomId, room);
    const epochs = this.logs.get(roomId) ?? new Map();
    this.logs.set(roomId, epochs.set(room.epoch, room.log));
    return room;
  }

  #message(conn, { roomId, text, clientMsgId, ref }, member, scripted) {
    if (typeof text !== 'string' || text === '' || scalars(text) > this.limits.text || !text.isWellFormed()) return 'INVALID_MESSAGE';
    if (clientMsgId != null && !isToken(clientMsgId)) return 'INVALID_FIELD';
    if (member) return member;
    const room = this.#rooms.get(roomId);
    const acknowledge = (entry, duplicate) => conn.send({ ...plain(roomId, entry), clientMsgId, ref, duplicate });
    const tail = room.log.slice(-this.tail);
    const original = clientMsgId != null && tail.find((entry) => entry.clientMsgId === clientMsgId && keyOf(entry.from) === conn.guest.key);
    if (original) return original.text === text ? acknowledge(original, true) : 'DUPLICATE_ID';
    if (scripted) return scripted;
    const retryAfterMs = conn.messages.take(this.limits.messagesPerSecond, this.limits.burst, this.clock.now());
    if (retryAfterMs > 0) return { code: 'RATE_LIMITED', retryAfterMs };
    const entry = { seq: room.log.length + 1, from: conn.guest.name, text, timestamp: this.clock.now(), clientMsgId };
    room.log.push(entry);
    const acknowledged = clientMsgId != null || ref != null;
    this.#broadcast(room, acknowledged ? conn : null, plain(roomId, entry));
    if (acknowledged) acknowledge(entry);
  }

  #history(conn, { roomId, before, limit = LIMITS.replay, ref }, member) {
    if (!Number.isSafeInteger(limit) || limit < 1) return 'INVALID_LIMIT';
    if (before != null && !isSeq(before)) return 'INVALID_FIELD';
    if (member) return member;
    const { epoch, log } = this.#rooms.get(roomId);
    const first = Math.max(0, log.length - this.tail);
    const end = Math.min((before ?? Infinity) - 1, log.length);
    const start = Math.max(first, end - Math.min(limit, this.limits.historyPage));
    const page = log.slice(start, Math.max(start, end));
    for (const entry of page) conn.send(plain(roomId, entry));
    conn.send({ type: 'history', roomId, epoch, count: page.length, hasMore: page.length > 0 && start > first, ref });
  }
}

function plain(roomId, { from, text, timestamp, seq }) {
  return { type: 'message', roomId, from, text, timestamp, seq };
}

/** localStorage, as far as clients use it. */
export class FakeStorage {
  #items = new Map();
  getItem = (key) => this.#items.get(String(key)) ?? null;
  setItem = (key, value) => void this.#items.set(String(key), String(value));
}
