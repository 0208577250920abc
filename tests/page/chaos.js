// A server and an application without sense: frames that look like answers, and calls at any moment.
// What a client does about it is recorded, so that clients in other languages can be compared.

import { generator } from './fake.js';
import { Machine } from './vectors.js';

const JUNK = [null, -1, 0.5, 0, 7, '', 'x', 'r', true, [], {}, 1e300, 2 ** 53];
const CODES = ['RATE_LIMITED', 'RATE_LIMITED', 'STORE_UNAVAILABLE', 'NOT_IN_ROOM', 'USERNAME_TAKEN', 'ROOM_FULL', 'FORBIDDEN', 'SERVER_SHUTDOWN', 'MOON'];

class Chaos {
  #seq = new Map();
  #asked = [];
  #calls = 0;
  #now = 1000;
  #isDialling = false;

  constructor(seed) {
    this.random = generator(seed);
    const { pick, chance, below } = this.random;
    const options = {
      username: pick(['Ann', 'Ann', undefined]), resumeToken: pick([undefined, 'token-1']), shares: chance(0.5), pingIntervalMs: pick([undefined, 0, 3000]),
      connectTimeoutMs: pick([undefined, 0, 700]), backoff: pick([undefined, { baseMs: 0, capMs: 0 }, { baseMs: 10, capMs: 100 }]), maxPending: pick([undefined, 2, 5]), idPrefix: 'i', seed: below(2 ** 32),
    };
    this.lines = [JSON.parse(JSON.stringify(options))];
    this.machine = new Machine(this.lines[0]);
  }

  play(steps) {
    this.#does({ do: 'connect' });
    for (; steps > 0; steps -= 1) {
      this.#pass();
      this.#does(this.#input());
    }
    this.#does({ do: 'close' });
    return this.lines;
  }

  #does(input) {
    const step = this.machine.step(this.#now, input);
    for (const output of step.outputs) {
      if (output.do === 'transmit') this.#asked.push(output.frame);
      if (output.do === 'connect') this.#isDialling = true;
      if (output.do === 'connect' || output.do === 'hangUp') this.#asked = [];
    }
    this.lines.push(JSON.parse(JSON.stringify({ at: this.#now, input, ...step })));
  }

  #pass() {
    const { deadline } = this.lines.at(-1);
    const { pick, chance } = this.random;
    if (deadline && deadline !== undefined && chance(0.1)) this.#now = Math.max(this.#now, deadline);
    else this.#now += pick([0, 0, 0, 1, 20, 20, 300, 3000]);
  }

  #input() {
    const { chance, pick, below } = this.random;
    if (this.#isDialling && chance(0.7)) {
      this.#isDialling = false;
      return { do: 'opened', token: pick([undefined, 'jwt']) };
    }
    const { deadline } = this.lines.at(-1);
    if (deadline !== null && deadline <= this.#now) return { do: 'tick' };
    if (chance(0.35) && this.#asked.length > 0) return this.#frame(this.#answer());
    if (chance(0.45)) return this.#frame(this.#news());
    return pick([() => this.#call(), () => this.#call(), () => this.#call(), () => this.#call(), () => this.#call(), () => this.#rare(below(8))])();
  }

  #room() {
    return this.random.pick(['r', 's', 't']);
  }

  #call() {
    const { pick, chance, below } = this.random;
    const call = ++this.#calls;
    const room = this.#room();
    switch (below(9)) {
      case 0: case 1: return { do: 'join', call, room, history: pick([undefined, 3]), since: pick([undefined, undefined, { epoch: 'e', seq: below(5) }]) };
      case 2: return { do: 'leave', call, room };
      case 3: return { do: 'typing', room, active: chance(0.7) };
      case 4: return { do: 'history', call, room, before: pick([undefined, 5]), limit: pick([undefined, 0, 2]) };
      case 5: return pick([{ do: 'rooms', call, after: pick([undefined, 'r']) }, { do: 'users', call, room }]);
      default: return { do: 'send', call, room, text: `text ${call}`, clientMsgId: pick([undefined, `own-${call}`]) };
    }
  }

  #rare(which) {
    const { pick } = this.random;
    switch (which) {
      case 0: return { do: 'retry' };
      case 1: return { do: 'tick' };
      case 2: return { do: 'opened' };
      case 3: return { do: 'connect' };
      case 4: return { do: 'received', text: pick(['nonsense', '[]', '{"type":"pong","ref":5}']) };
      case 5: return { do: 'remembered', resumeToken: pick([undefined, 'token-1', 'token-2', 'token-3']) };
      default: return { do: 'closed', code: pick([undefined, 1000, 1006, 1012, 4000, 4499]), reason: pick([undefined, '', 'because']) };
    }
  }

  #frame(frame) {
    const { chance, pick } = this.random;
    if (chance(0.04)) frame[pick(Object.keys(frame))] = pick(JUNK);
    else if (chance(0.02)) delete frame[pick(Object.keys(frame))];
    return { do: 'received', frame };
  }

  /** What somebody asked is answered, mostly in its turn. */
  #answer() {
    const { chance, below } = this.random;
    const index = chance(0.9) ? 0 : below(this.#asked.length);
    const request = this.#asked.splice(0, index + 1).at(-1);
    const { ref } = request;
    if (chance(0.15)) return { ...this.#error(), ref: chance(0.8) ? ref : undefined };
    return { ...this.#answerTo(request), ref };
  }

  #answerTo({ type, roomId, text, clientMsgId }) {
    const { pick, chance, below } = this.random;
    const seq = this.#seq.get(roomId) ?? 0;
    switch (type) {
      case 'hello': return { type, protocol: 1, server: 'chaos', resumeToken: pick(['token-1', 'token-2', 'token-3', undefined]), username: pick([undefined, 'Ann', 'ANN']), pingIntervalMs: pick([2000, 25_000]), limits: pick([undefined, {}, { historyPage: 2 }]) };
      case 'join': {
        const now = seq + below(4);
        this.#seq.set(roomId, now);
        return { type: 'joined', roomId, users: ['Ann', 'Bob'], userCount: pick([2, 5]), epoch: chance(0.9) ? 'e' : 'f', seq: now, recovered: chance(0.5), history: below(4) };
      }
      case 'leave': return { type: 'left', roomId };
      case 'message': return this.#message(roomId, { from: 'Ann', text, clientMsgId });
      case 'list_rooms': return { type: 'room_list', rooms: [{ id: 'r', userCount: 1 }], roomCount: 1 };
      case 'list_users': return { type: 'user_list', roomId, users: ['Bob'], userCount: 1 };
      case 'get_history': return { type: 'history', roomId, epoch: 'e', count: below(3), hasMore: chance(0.5) };
      default: return { type: 'pong', time: 1 };
    }
  }

  #news() {
    const { pick, chance, below } = this.random;
    const roomId = this.#room();
    const username = pick(['Ann', 'Bob', 'Eve']);
    switch (below(12)) {
      case 0: return { type: 'user_joined', roomId, username };
      case 1: return { type: 'user_left', roomId, username, reason: pick(['left', undefined]) };
      case 2: case 3: return { type: 'typing', roomId, username, active: chance(0.6) };
      case 4: return chance(0.5) ? { type: 'left', roomId, reason: 'forbidden' } : this.#error();
      case 5: return chance(0.7) ? { type: 'pong', time: 1 } : { type: 'moon', roomId };
      default: return this.#message(roomId, { from: username, text: 'hm', clientMsgId: chance(0.3) ? pick([`i-${1 + below(9)}`, `own-${1 + below(this.#calls + 1)}`]) : undefined });
    }
  }

  #message(roomId, fields) {
    const { chance, below } = this.random;
    const last = this.#seq.get(roomId) ?? 0;
    const seq = chance(0.75) ? last + 1 : below(last + 4);
    this.#seq.set(roomId, Math.max(last, seq));
    return { type: 'message', roomId, timestamp: 9, seq, ...fields };
  }

  #error() {
    const { pick } = this.random;
    const code = pick(CODES);
    return { type: 'error', code, message: `It is ${code}.`, roomId: pick([undefined, 'r']), retryAfterMs: pick([undefined, 40, 1e9]) };
  }
}

/** A vector of so many steps. */
export const chaos = (seed, steps) => new Chaos(seed).play(steps);
