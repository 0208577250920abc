// @ts-check
/**
 * The JavaScript client of Parlor, for browsers and for Node 20 and later. No dependencies.
 *
 * Two halves, like the server. {@link ClientCore} decides: a state machine without a clock, a socket
 * or randomness of its own, which is handed what happened and answers with what is to be done.
 * {@link ParlorClient} carries it out with a WebSocket and a timer, and turns answers into promises
 * and events.
 *
 * What an application can rely on, however often the connection breaks:
 * - every message of a room arrives once, in the order of its seq; what could not be recovered is
 *   announced by a `gap` where it is missing;
 * - what `send` was given is stored once and in order, or its promise is rejected with a code;
 * - nothing waits for ever without a word: either the client is trying, and `state` says so, or the
 *   promise is settled.
 */

/**
 * @typedef {object} Limits What the server allows, from its `hello`: lengths in Unicode scalar values.
 * @property {number} username
 * @property {number} text
 * @property {number} roomId
 * @property {number} clientMsgId
 * @property {number} frameBytes
 * @property {number} historyPage
 * @property {number} replay
 * @property {number} roomsPerConnection
 * @property {number} membersPerRoom
 * @property {number} messagesPerSecond
 * @property {number} burst
 */

/**
 * @typedef {object} Position A place in a room's log. Numbers count within an epoch only.
 * @property {string} epoch
 * @property {number} seq
 */

/**
 * @typedef {object} Message A stored message. Its identity is room, epoch and seq.
 * @property {string} room
 * @property {string} epoch
 * @property {number} seq
 * @property {string} from
 * @property {string} text
 * @property {number} timestamp When it was stored, ms since the Unix epoch, on the server's clock.
 * @property {boolean} own Whether it was said under this client's name.
 * @property {boolean} replayed Whether it was said before the join that brought it.
 * @property {string} [clientMsgId] On messages that this very client sent.
 */

/**
 * @typedef {object} Joined
 * @property {string} room
 * @property {string[]} users In order of joining, oneself included; at most the first 999 and oneself.
 * @property {number} userCount
 * @property {string} epoch
 * @property {number} seq The last one so far; messages up to it are replayed.
 * @property {boolean} recovered Whether exactly what was missed follows.
 * @property {boolean} rejoined Whether this client was in the room before.
 */

/**
 * @typedef {{ state: 'connecting', attempt: number }
 *   | { state: 'online' }
 *   | { state: 'offline', attempt: number, retryAt: number, retryInMs: number, code?: number, reason?: string }
 *   | { state: 'closed', code?: number, reason?: string }} State
 * `attempt` counts from 0 and begins anew after a connection that lasted; `retryAt` is on the clock
 * of `environment.now`; `code` and `reason` are those with which the connection was closed. `closed`
 * is for ever: by `close()`, or because the server said never to return (4500 to 4999).
 */

/**
 * @typedef {object} Failure What an error is made of.
 * @property {string} code A code of the server, or one of {@link CLIENT_ERRORS}.
 * @property {string} message A sentence that says what to do.
 * @property {string} [room]
 * @property {string} [clientMsgId]
 * @property {number} [retryAfterMs]
 */

/**
 * @typedef {object} Events
 * @property {State} state
 * @property {Joined} joined Also after each reconnect; its messages follow.
 * @property {{ room: string, code?: string, reason?: string }} left With the code of the refusal
 *   when the room could not be joined again, or the server's reason when one was put out.
 * @property {Message} message Each once, in the order of seq.
 * @property {{ room: string, last: Position, next: Position }} gap Comes before the message `next`.
 *   In one epoch: what lies between was missed, and `history` may still have it. In two: the server
 *   began a new log, and whatever followed `last` in the old one is lost.
 * @property {{ room: string, users: string[], userCount: number, joined?: string, left?: string, reason?: string }} presence
 * @property {{ room: string, users: string[] }} typing Everybody else who is typing.
 * @property {ParlorError} error What no promise reports.
 */

/**
 * @typedef {object} WebSocketLike What a browser's WebSocket, Node's and that of the package ws have in common.
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 * @property {(text: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/**
 * @typedef {object} Environment Time and chance, for tests.
 * @property {() => number} now Milliseconds; never goes back.
 * @property {(call: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random At least 0 and less than 1.
 */

/**
 * @typedef {object} Options
 * @property {string} [username] The guest's name, on servers without tokens. Fixed for the life of the client.
 * @property {string | (() => string | Promise<string>)} [token] Asked for anew at each connection.
 * @property {string} [resumeToken] Of a guest who is there already: this client becomes another
 *   connection of that guest.
 * @property {{ getItem(key: string): string | null, setItem(key: string, value: string): void }} [storage] Such as `localStorage`. Clients that share one, with the
 *   same server and name, are connections of one guest. Key: `parlor ${url} ${username}`.
 * @property {new (url: string) => WebSocketLike} [WebSocket] `globalThis.WebSocket` if absent.
 * @property {number} [pingIntervalMs] At most; the server's own if that is smaller. A server that is
 *   silent for two of them is given up.
 * @property {number} [connectTimeoutMs] From dialling to the server's hello; 10,000 if absent.
 * @property {{ baseMs?: number, capMs?: number }} [backoff] The delay before an attempt is random,
 *   below `min(capMs, baseMs * 2 ** attempt)`; 500 and 30,000 if absent.
 * @property {number} [maxPending] Messages that may wait to be stored, and questions that may wait
 *   to be asked; 1000 each if absent.
 * @property {Environment} [environment]
 */

/** Codes that this client adds to those of the server, and what to do. */
export const CLIENT_ERRORS = Object.freeze({
  CLOSED: 'Open another client: this one is closed.',
  LEFT: 'Join the room again to send this: it was left before.',
  QUEUE_FULL: 'Wait until some of what is pending has been answered.',
  OUTCOME_UNKNOWN:
    'Look whether the message is there before sending it again: the connection broke and too much was said meanwhile to tell.',
  TOKEN_FAILED: 'See why no token could be had: the client tries again.',
});

/** The server's sentences for what is refused before it is sent. */
const REFUSALS = Object.freeze({
  INVALID_USERNAME: 'Send a username of 1 to 32 visible characters without white space at either end.',
  INVALID_ROOM_ID: 'Send a roomId of 1 to 64 visible characters without white space at either end.',
  INVALID_MESSAGE: 'Send a text of 1 to 2000 characters.',
  INVALID_LIMIT: 'Send a whole number: limit is at least 1, history at least 0.',
  INVALID_FIELD: 'A field has the wrong type or value, or stands there twice: see the protocol table.',
  NOT_IN_ROOM: 'Join the room first.',
});

const PROTOCOL = 1;
/** Protocol 1's, until the server has said its own. @type {Readonly<Limits>} */
const LIMITS = Object.freeze({
  username: 32,
  text: 2000,
  roomId: 64,
  clientMsgId: 64,
  frameBytes: 65_536,
  historyPage: 100,
  replay: 50,
  roomsPerConnection: 100,
  membersPerRoom: 1000,
  messagesPerSecond: 10,
  burst: 20,
});
/** The server's default, until it has said its own. */
const PING_INTERVAL_MS = 25_000;
/** Patience of `retry()` with a connection that may be dead. */
const PROBE_MS = 5_000;
/** Nothing that a server says makes a client wait for longer. */
const MOST_WAIT_MS = 300_000;
/** What timers can count; beyond it they ring at once. */
const MOST_TIMER_MS = 2 ** 31 - 1;
/** A connection that lasted for this long was a good one: the next outage starts with short delays. */
const LASTED_MS = 5_000;
/** A typist is announced this often: twice within the 6 s after which others forget. */
const TYPING_EVERY_MS = 3_000;
const TYPING_FORGOTTEN_MS = 6_000;
/** Typists and members that are kept by name in a room: the server's own bound for lists. */
const MOST_NAMES = 1000;
/** Requests without an answer: a tenth of the frames that a server takes at once by default. */
const MOST_IN_FLIGHT = 20;
/** The type of a frame, and that of the request which it answers. An `error` answers any. */
const ANSWERS = new Map(
  Object.entries({
    hello: 'hello',
    pong: 'ping',
    joined: 'join',
    left: 'leave',
    message: 'message',
    history: 'get_history',
    room_list: 'list_rooms',
    user_list: 'list_users',
  }),
);
/** Refusals that time mends. */
const TRANSIENT = new Set(['RATE_LIMITED', 'STORE_UNAVAILABLE']);
/** The same for a room that one was in already. */
const TRANSIENT_FOR_MEMBERS = new Set([...TRANSIENT, 'ROOM_FULL', 'SERVER_FULL']);

/** What went wrong: a code for programs, a sentence for people. */
export class ParlorError extends Error {
  /** @param {Failure} failure */
  constructor({ code, message, room, clientMsgId, retryAfterMs }) {
    super(message);
    this.name = 'ParlorError';
    this.code = code;
    this.room = room;
    this.clientMsgId = clientMsgId;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * 128 random bits in hex, for a `clientMsgId`. Unlike `crypto.randomUUID` it works on pages that
 * were not served over TLS.
 */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @typedef {{ do: 'connect' }
 *   | { do: 'transmit', text: string }
 *   | { do: 'hangUp' }
 *   | { do: 'remember', resumeToken: string }
 *   | { do: 'emit', type: keyof Events, event: any }
 *   | { do: 'resolve', call: number, value: any }
 *   | { do: 'reject', call: number, failure: Failure }} Output
 * What a {@link ClientCore} wants done: dial; send a frame; forget the socket and close it; keep the
 * token for other clients of the same guest; tell listeners; settle the promise of a call.
 */

/**
 * @typedef {object} Pending A message on its way.
 * @property {number} call
 * @property {string} text
 * @property {string} clientMsgId
 * @property {boolean} inFlight Whether its answer is awaited on this connection.
 * @property {boolean} unanswered Whether it was sent, and the connection broke before the answer.
 */

/**
 * @typedef {object} Room
 * @property {string} id
 * @property {boolean} wanted Whether the application wants to be in it. The rest follows.
 * @property {'out' | 'joining' | 'in' | 'leaving'} phase Where one is on this connection.
 * @property {boolean} isIn Whether the server has one in it on this connection.
 * @property {boolean} member Whether this client was ever in.
 * @property {boolean} resync Whether a message is missing, and the log is to be read again.
 * @property {Position | undefined} position The last message delivered.
 * @property {Position | undefined} since Where the next stay begins.
 * @property {number | undefined} history How many messages a first join replays.
 * @property {boolean} isGapped Whether a part of the log was missed at the last join.
 * @property {number} replayed Up to this seq, messages were said before the join.
 * @property {string[]} users
 * @property {number} userCount
 * @property {Map<string, number>} typing Until when each is taken to be typing.
 * @property {number} typedAt When the others were last told that this user types.
 * @property {Pending[]} outbox
 * @property {number[]} joins Calls that wait for the join.
 * @property {number[]} leaves Calls that wait for the leave.
 * @property {Message[]} page Messages that may belong to the page of history asked for.
 * @property {number} refusals In a row, of what time mends.
 * @property {boolean} isNameRefused Whether our name was refused in it on this connection.
 * @property {number} retryAt Nothing is tried before.
 */

/**
 * @typedef {object} Question A request that changes nothing, so it may be asked again.
 * @property {'list_rooms' | 'list_users' | 'get_history'} type
 * @property {number} call
 * @property {string} [roomId]
 * @property {string} [after]
 * @property {number} [before]
 * @property {number} [limit]
 */

/**
 * @typedef {{ ref: string, type: 'hello' | 'ping' }
 *   | { ref: undefined, type: 'typing' }
 *   | { ref: string, type: 'join' | 'leave', room: Room }
 *   | { ref: string, type: 'message', room: Room, pending: Pending }
 *   | { ref: string, type: 'question', question: Question }} Request
 */

/**
 * The pure half. Every input carries the time, never going back, and returns what is to be done, in
 * order; `deadline` says when to call `tick` at the latest. Inputs about a socket are those of the
 * last one asked for by `connect` and not given up by `hangUp` since.
 *
 * A connection's answers come in the order of its requests. So a refusal without a `ref` (flood
 * control of frames cannot name what it has not read) is about the first request that has no answer,
 * and an answer tells that whatever was asked before it and has none was refused.
 *
 * One message of a room is in flight at a time. That costs a round trip for each, and it is what
 * keeps the order when one of them is refused for a while.
 */
export class ClientCore {
  /** @type {'off' | 'connecting' | 'greeting' | 'ready' | 'closed'} */
  #link = 'off';
  /** @type {State} */
  #state = { state: 'connecting', attempt: 0 };
  #attempt = 0;
  #now = 0;
  /** @type {number | undefined} Off: when to connect. */
  #retryAt;
  /** Connecting or greeting: until when the server has to have answered. */
  #connectBy = 0;
  #readySince = 0;
  #heardAt = 0;
  /** @type {number | undefined} Until when a sign of life has to have come; none is awaited if undefined. */
  #answerBy;
  /** Whether an answer got more time because nobody looked when it was due. */
  #wasLate = false;
  /** No request is sent before: flood control said so. */
  #quietUntil = 0;
  /** @type {number | undefined} What a server that goes away wants clients to wait, ms. */
  #goodbyeMs;
  #nextRef = 1;
  #nextId = 1;
  #pendingCount = 0;
  #nameRefusals = 0;
  /** Whether a frame was refused unread that may or may not have been `typing`. */
  #mustProbe = false;
  /** Whether to say hello once more: the guest may be known under another token. */
  #mustGreet = false;
  /** @type {string | undefined} */
  #token;
  /** Whether the name was ever ours. */
  #wasNamed = false;
  /** @type {string | undefined} Names our guest, or may do so: a join may be accepted unheard. */
  #ownToken;
  /** @type {string | undefined} What this connection was given, until it has a name. */
  #offeredToken;
  /** @type {string | undefined} What the last hello was said with. */
  #greetedWith;
  /** Whether others knew that one by then. They may know a newer one since. */
  #wasKnown = false;
  /** @type {string | undefined} Nobody answers to it: a guest that has ended does not come back. */
  #deadToken;
  /** @type {string | undefined} The last one that others were told. */
  #toldToken;
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  /** @type {Request[]} In the order in which they were sent. */
  #inFlight = [];
  /** @type {Question[]} */
  #questions = [];
  /** @type {Output[]} */
  #outputs = [];
  #options;
  #pingIntervalMs;

  /** @type {string | undefined} As the server spells it. */
  username;
  /** @type {Limits | undefined} */
  limits;
  /** @type {string | undefined} Name and version. */
  server;

  /**
   * @param {object} options
   * @param {() => number} options.random
   * @param {() => string | undefined} [options.remembered] What `remember` last kept, by whichever
   *   client of this guest; absent where clients share nothing.
   * @param {string} options.idPrefix Makes message ids of this client unlike those of any other.
   * @param {string} [options.username]
   * @param {string} [options.resumeToken]
   * @param {number} [options.pingIntervalMs]
   * @param {number} [options.connectTimeoutMs]
   * @param {{ baseMs?: number, capMs?: number }} [options.backoff]
   * @param {number} [options.maxPending]
   */
  constructor(options) {
    this.#options = {
      ...options,
      pingIntervalMs: Number(options.pingIntervalMs) > 0 ? Number(options.pingIntervalMs) : Infinity,
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      baseMs: options.backoff?.baseMs ?? 500,
      capMs: options.backoff?.capMs ?? 30_000,
      maxPending: options.maxPending ?? 1000,
      remembered: options.remembered ?? (() => undefined),
      shares: options.remembered !== undefined,
    };
    this.username = options.username;
    this.#ownToken = options.resumeToken;
    this.#pingIntervalMs = Math.min(this.#options.pingIntervalMs, PING_INTERVAL_MS);
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** Messages that are not yet stored. */
  get pending() {
    return this.#pendingCount;
  }

  /**
   * When to call `tick` at the latest; never if undefined.
   * @returns {number | undefined}
   */
  deadline() {
    if (this.#link === 'closed') return undefined;
    if (this.#link === 'off') return this.#retryAt;
    if (this.#link !== 'ready') return this.#connectBy;
    const times = [this.#quietUntil];
    for (const room of this.#rooms.values()) times.push(room.retryAt, ...room.typing.values());
    const watch = this.#answerBy ?? this.#heardAt + this.#pingIntervalMs;
    return Math.min(watch, ...times.filter((time) => time > this.#now));
  }

  // Inputs of the socket and the clock.

  /** @param {number} now @returns {Output[]} */
  start(now) {
    return this.#turn(now, () => {
      if (this.#link === 'off') this.#connect();
    });
  }

  /**
   * The socket is open.
   * @param {number} now
   * @param {string} [token]
   */
  opened(now, token) {
    return this.#turn(now, () => {
      if (this.#link !== 'connecting') return;
      this.#link = 'greeting';
      this.#token = token;
      this.#greet();
    });
  }

  /** @param {number} now @param {string} text */
  received(now, text) {
    return this.#turn(now, () => {
      if (this.#link !== 'greeting' && this.#link !== 'ready') return;
      this.#heardAt = this.#now;
      this.#answerBy = undefined;
      this.#wasLate = false;
      const fields = read(text);
      if (fields) this.#receive(fields);
    });
  }

  /**
   * The socket is closed, or could not be opened.
   * @param {number} now
   * @param {number} [code]
   * @param {string} [reason]
   */
  closed(now, code, reason) {
    return this.#turn(now, () => {
      if (this.#link !== 'off' && this.#link !== 'closed') this.#lost(code, reason);
    });
  }

  /** @param {number} now */
  tick(now) {
    return this.#turn(now, () => {
      for (const room of this.#rooms.values()) this.#forgetTypists(room);
      switch (this.#link) {
        case 'off':
          if (this.#retryAt !== undefined && this.#now >= this.#retryAt) this.#connect();
          break;
        case 'connecting':
        case 'greeting':
          if (this.#now >= this.#connectBy) this.#giveUp('no answer');
          break;
        case 'ready':
          this.#watch();
      }
    });
  }

  // Inputs of the application. `call` names the promise to settle.

  /**
   * @param {number} now @param {number} call @param {string} id
   * @param {{ history?: number, since?: Position }} [options]
   */
  join(now, call, id, { history, since } = {}) {
    return this.#turn(now, () => {
      const refused = this.#refusedCall() ?? this.#refusedRoom(id) ?? this.#refusedName();
      if (refused) return this.#reject(call, refused, { room: id });
      const room = this.#rooms.get(id);
      if (!room) {
        if (this.#rooms.size >= this.#options.maxPending) return this.#reject(call, 'QUEUE_FULL', { room: id });
        this.#rooms.set(id, newRoom(id, call, history, since));
        return;
      }
      if (isListening(room)) return this.#resolve(call, this.#joined(room, true));
      room.joins.push(call);
      if (room.wanted) return;
      Object.assign(room, { wanted: true, since, history });
      // A leave that is not on its way is not asked for any more; what was said meanwhile went unheard.
      if (room.phase !== 'leaving') this.#resolveLeaves(room);
      if (room.phase === 'in') room.resync = true;
    });
  }

  /** @param {number} now @param {number} call @param {string} id */
  leave(now, call, id) {
    return this.#turn(now, () => {
      const room = this.#rooms.get(id);
      if (!room?.wanted) return this.#reject(call, this.#refusedCall() ?? 'NOT_IN_ROOM', { room: id });
      room.wanted = false;
      room.leaves.push(call);
      for (const join of room.joins.splice(0)) this.#reject(join, 'LEFT', { room: id });
      this.#rejectOutbox(room, 'LEFT');
      if (room.phase === 'out') this.#left(room, {});
    });
  }

  /** @param {number} now @param {number} call @param {string} id @param {string} text @param {string} [clientMsgId] */
  send(now, call, id, text, clientMsgId = `${this.#options.idPrefix}-${this.#nextId++}`) {
    return this.#turn(now, () => {
      const details = { room: id, clientMsgId };
      const room = this.#rooms.get(id);
      const lengths = this.limits ?? LIMITS;
      if (!isText(text, lengths.text)) return this.#reject(call, 'INVALID_MESSAGE', details);
      if (!isPrintable(clientMsgId, lengths.clientMsgId)) return this.#reject(call, 'INVALID_FIELD', details);
      if (!room?.wanted) return this.#reject(call, this.#refusedCall() ?? 'NOT_IN_ROOM', details);
      if (this.#pendingCount >= this.#options.maxPending) return this.#reject(call, 'QUEUE_FULL', details);
      this.#pendingCount += 1;
      room.outbox.push({ call, text, clientMsgId, inFlight: false, unanswered: false });
      room.typedAt = -Infinity;
    });
  }

  /** @param {number} now @param {string} id @param {boolean} active */
  typing(now, id, active) {
    return this.#turn(now, () => {
      const room = this.#rooms.get(id);
      if (this.#link !== 'ready' || room?.phase !== 'in' || this.#now < this.#quietUntil) return;
      const due = active ? this.#now - room.typedAt >= TYPING_EVERY_MS : room.typedAt > -Infinity;
      if (!due) return;
      room.typedAt = active ? this.#now : -Infinity;
      this.#transmit({ type: 'typing', roomId: id, active });
      // It has no answer unless it is refused.
      if (this.#inFlight.at(-1)?.type !== 'typing') this.#inFlight.push({ type: 'typing', ref: undefined });
    });
  }

  /** @param {number} now @param {number} call @param {Omit<Question, 'call'>} question */
  ask(now, call, question) {
    return this.#turn(now, () => {
      const room = question.roomId;
      const refused = this.#refusedQuestion(question);
      if (refused) return this.#reject(call, refused, { room });
      this.#questions.push({ ...question, call });
    });
  }

  /** Offline: connects at once. Online: looks whether the server still answers. @param {number} now */
  retry(now) {
    return this.#turn(now, () => {
      if (this.#link === 'off') this.#connect();
      else if (this.#link === 'ready' && this.#answerBy === undefined) this.#ping(Math.min(PROBE_MS, this.#pingIntervalMs));
    });
  }

  /** @param {number} now */
  close(now) {
    return this.#turn(now, () => {
      if (this.#link === 'closed') return;
      if (this.#link !== 'off') this.#outputs.push({ do: 'hangUp' });
      this.#end({});
    });
  }

  // The connection.

  /** @param {number} now @param {() => void} input @returns {Output[]} */
  #turn(now, input) {
    this.#now = Math.max(this.#now, now);
    input();
    this.#pump();
    return this.#outputs.splice(0);
  }

  #connect() {
    this.#link = 'connecting';
    this.#connectBy = this.#now + this.#options.connectTimeoutMs;
    this.#offeredToken = undefined;
    this.#enter({ state: 'connecting', attempt: this.#attempt });
    this.#outputs.push({ do: 'connect' });
  }

  /** Says who we are, as far as we know. */
  #greet() {
    this.#mustGreet = false;
    const resumeToken = this.#candidate();
    this.#greetedWith = resumeToken;
    this.#wasKnown = resumeToken !== undefined && [this.#toldToken, this.#options.remembered()].includes(resumeToken);
    this.#request({ type: 'hello' }, { type: 'hello', protocol: PROTOCOL, token: this.#token, resumeToken });
  }

  /** A token under which our guest may live. */
  #candidate() {
    const tokens = [this.#ownToken, this.#options.remembered()];
    return tokens.find((token) => token !== undefined && token !== this.#offeredToken && token !== this.#deadToken);
  }

  /** @param {State} state */
  #enter(state) {
    this.#state = state;
    this.#emit('state', state);
  }

  /** Looks whether the server is alive. */
  #watch() {
    const interval = this.#pingIntervalMs;
    if (this.#answerBy === undefined) {
      if (this.#now >= this.#heardAt + interval) this.#ping(interval);
    } else if (this.#now >= this.#answerBy + interval && !this.#wasLate) {
      // The clock was late: this process slept, and the answer may wait behind this very tick.
      this.#wasLate = true;
      this.#ping(interval);
    } else if (this.#now >= this.#answerBy) {
      this.#giveUp('no answer');
    }
  }

  /** @param {number} patienceMs */
  #ping(patienceMs) {
    this.#answerBy = this.#now + patienceMs;
    this.#request({ type: 'ping' }, { type: 'ping' });
  }

  /** @param {string} reason */
  #giveUp(reason) {
    this.#outputs.push({ do: 'hangUp' });
    this.#lost(undefined, reason);
  }

  /** The connection is gone. @param {number | undefined} code @param {string | undefined} reason */
  #lost(code, reason) {
    if (code !== undefined && code >= 4500 && code <= 4999) return this.#end({ code, reason });
    if (this.#link === 'ready' && this.#now - this.#readySince >= LASTED_MS) this.#attempt = 0;
    this.#link = 'off';
    this.#answerBy = undefined;
    this.#wasLate = false;
    this.#quietUntil = 0;
    this.#mustProbe = false;
    this.#mustGreet = false;
    const retryInMs = this.#goodbyeMs === undefined ? this.#backoffMs(this.#attempt) : this.#goodbyeMs + this.#backoffMs(0);
    this.#goodbyeMs = undefined;
    const retryAt = this.#now + retryInMs;
    this.#retryAt = retryAt;
    this.#attempt += 1;
    const asked = this.#inFlight.splice(0).flatMap((request) => (request.type === 'question' ? [request.question] : []));
    this.#questions.unshift(...asked);
    for (const room of [...this.#rooms.values()]) this.#disconnected(room);
    this.#enter({ state: 'offline', attempt: this.#attempt, retryAt, retryInMs, code, reason });
  }

  /** @param {Room} room */
  #disconnected(room) {
    const wasLeaving = room.phase === 'leaving';
    room.phase = 'out';
    room.isIn = false;
    room.isNameRefused = false;
    room.resync = false;
    room.retryAt = 0;
    room.typedAt = -Infinity;
    room.page = [];
    const first = room.outbox[0];
    if (first?.inFlight) Object.assign(first, { inFlight: false, unanswered: true });
    if (room.typing.size > 0) {
      room.typing.clear();
      this.#emitTyping(room);
    }
    if (!room.wanted) this.#rejectOutbox(room, 'LEFT');
    if (!room.wanted || wasLeaving) this.#hasLeft(room);
  }

  /** For ever. @param {{ code?: number, reason?: string }} details */
  #end(details) {
    this.#link = 'closed';
    for (const request of this.#inFlight.splice(0)) {
      if (request.type === 'question') this.#rejectQuestion(request.question, 'CLOSED');
    }
    for (const question of this.#questions.splice(0)) this.#rejectQuestion(question, 'CLOSED');
    for (const room of this.#rooms.values()) {
      for (const pending of room.outbox) this.#rejectPending(room, pending, 'CLOSED');
      for (const join of room.joins) this.#reject(join, 'CLOSED', { room: room.id });
      for (const leave of room.leaves) this.#resolve(leave, undefined);
    }
    this.#rooms.clear();
    this.#pendingCount = 0;
    this.#enter({ state: 'closed', ...details });
  }

  // Requests.

  /** Asks for whatever is wanted and may be asked for. */
  #pump() {
    if (this.#link !== 'ready' || this.#now < this.#quietUntil) return;
    if (this.#mustProbe) {
      this.#mustProbe = false;
      this.#request({ type: 'ping' }, { type: 'ping' });
    }
    if (this.#mustGreet && this.#candidate() !== undefined) this.#greet();
    this.#mustGreet = false;
    for (const room of [...this.#rooms.values()]) {
      if (this.#inFlight.length >= MOST_IN_FLIGHT) return;
      if (this.#now >= room.retryAt && this.#advance(room)) {
        // Whoever was served is last in the next turn, so nobody starves.
        this.#rooms.delete(room.id);
        this.#rooms.set(room.id, room);
      }
    }
    for (let i = 0; i < this.#questions.length && this.#inFlight.length < MOST_IN_FLIGHT; ) {
      if (this.#isAskable(this.#questions[i])) this.#askNow(this.#questions.splice(i, 1)[0]);
      else i += 1;
    }
  }

  /**
   * The next request about a room, if there is one.
   * @param {Room} room
   * @returns {boolean}
   */
  #advance(room) {
    if (room.phase === 'out' && room.wanted) {
      room.phase = 'joining';
      this.#requestJoin(room);
      return true;
    }
    if (room.phase !== 'in') return false;
    const pending = room.outbox[0];
    if (!room.wanted) {
      // What is in flight is answered first, so that its sender learns what became of it.
      if (pending?.inFlight) return false;
      this.#rejectOutbox(room, 'LEFT');
      room.phase = 'leaving';
      this.#request({ type: 'leave', room }, { type: 'leave', roomId: room.id });
      return true;
    }
    if (room.resync) {
      room.resync = false;
      room.phase = 'joining';
      this.#requestJoin(room);
      return true;
    }
    if (!pending || pending.inFlight) return false;
    if (pending.unanswered) {
      // If it was stored, it is in what the join replays, or in a gap.
      if (room.position && room.position.seq < room.replayed) return false;
      if (room.isGapped) {
        this.#settle(room, () => this.#rejectPending(room, pending, 'OUTCOME_UNKNOWN'));
        return this.#advance(room);
      }
    }
    pending.inFlight = true;
    const { text, clientMsgId } = pending;
    this.#request({ type: 'message', room, pending }, { type: 'message', roomId: room.id, text, clientMsgId });
    return true;
  }

  /** @param {Room} room */
  #requestJoin(room) {
    const { id: roomId, position: since, history } = room;
    const username = this.#options.username;
    this.#request({ type: 'join', room }, { type: 'join', roomId, username, since, history });
  }

  /** A question about a room's history waits until one is in. @param {Question} question */
  #isAskable({ type, roomId }) {
    return type !== 'get_history' || this.#rooms.get(roomId ?? '')?.phase === 'in';
  }

  /** @param {Question} question */
  #askNow(question) {
    const { call: _, ...fields } = question;
    this.#request({ type: 'question', question }, fields);
  }

  /**
   * @param {{ type: 'hello' | 'ping' } | { type: 'join' | 'leave', room: Room } | { type: 'message', room: Room, pending: Pending }
   *   | { type: 'question', question: Question }} request
   * @param {object} fields
   */
  #request(request, fields) {
    const ref = String(this.#nextRef++);
    this.#inFlight.push({ ...request, ref });
    this.#transmit({ ...fields, ref });
  }

  /** @param {object} fields */
  #transmit(fields) {
    this.#outputs.push({ do: 'transmit', text: JSON.stringify(fields) });
  }

  /** Whether a frame names a request that it is no answer to. @param {Fields} fields */
  #isMisunderstood({ type, ref }) {
    const answered = ANSWERS.get(type ?? '');
    const request = this.#inFlight.find((one) => one.ref === ref);
    if (answered === undefined || ref === undefined || request === undefined) return false;
    return answered !== (request.type === 'question' ? request.question.type : request.type);
  }

  /**
   * The request that an answer belongs to. Whatever was asked before it was refused unread.
   * @param {string | undefined} ref
   */
  #answered(ref) {
    const index = ref === undefined ? -1 : this.#inFlight.findIndex((request) => request.ref === ref);
    if (index < 0) return undefined;
    const [request, ...unread] = this.#inFlight.splice(0, index + 1).reverse();
    unread.forEach((one) => this.#again(one));
    return request;
  }

  /** A request was refused for a while. @param {Request} request */
  #again(request) {
    if ('room' in request && !this.#isOurs(request.room)) return;
    if (request.type === 'join') this.#notJoined(request.room);
    else if (request.type === 'leave') this.#stay(request.room);
    else if (request.type === 'message') request.pending.inFlight = false;
    else if (request.type === 'question') this.#questions.unshift(request.question);
    else if (request.type === 'hello') this.#mustGreet = true;
  }

  /**
   * One may have been put out of a room, and may have joined it again, while a request about it was
   * on its way.
   * @param {Room} room
   */
  #isOurs(room) {
    return this.#rooms.get(room.id) === room;
  }

  /** A join was refused; one that was to catch up leaves one where one was. @param {Room} room */
  #notJoined(room) {
    if (room.isIn) return this.#stay(room);
    room.phase = 'out';
    if (!room.wanted) this.#left(room, {});
  }

  /** One is still in, and heard nothing meanwhile. @param {Room} room */
  #stay(room) {
    room.phase = 'in';
    room.resync = true;
    if (room.wanted) this.#resolveLeaves(room);
  }

  // Answers and news.

  /** @param {Fields} fields */
  #receive(fields) {
    if (this.#isMisunderstood(fields)) return this.#giveUp('not understood');
    switch (fields.type) {
      case 'hello':
        return this.#onHello(fields);
      case 'joined':
        return this.#onJoined(fields);
      case 'left':
        return this.#onLeft(fields);
      case 'message':
        return this.#onMessage(fields);
      case 'user_joined':
      case 'user_left':
        return this.#onPresence(fields);
      case 'typing':
        return this.#onTyping(fields);
      case 'history':
        return this.#onHistory(fields);
      case 'room_list': {
        const { rooms, roomCount } = fields;
        return this.#onAnswer(fields, { rooms, roomCount: roomCount ?? rooms.length });
      }
      case 'user_list': {
        const { roomId: room = '', users = [], userCount = users.length } = fields;
        return this.#onAnswer(fields, { room, users, userCount });
      }
      case 'pong':
        return void this.#answered(fields.ref);
      case 'error':
        return this.#onError(fields);
      default:
      // A later server may say more; the protocol asks clients to overlook it.
    }
  }

  /** @param {Fields} fields */
  #onHello({ ref, username, resumeToken, limits, pingIntervalMs, server }) {
    if (this.#answered(ref)?.type !== 'hello') return;
    if (limits) this.limits = limits;
    if (server !== undefined) this.server = server;
    if (pingIntervalMs) this.#pingIntervalMs = Math.min(this.#options.pingIntervalMs, pingIntervalMs, MOST_WAIT_MS);
    this.#offeredToken = resumeToken;
    if (username !== undefined) {
      this.username = username;
      this.#named();
    } else if (this.#greetedWith !== undefined) {
      this.#deadToken = this.#greetedWith;
      if (this.#ownToken === this.#deadToken) this.#ownToken = undefined;
      if (this.#candidate() !== undefined) return this.#greet();
    }
    this.username = username ?? this.#options.username;
    this.#ownToken = this.#offeredToken;
    if (this.#link === 'ready') return;
    this.#link = 'ready';
    this.#readySince = this.#now;
    this.#enter({ state: 'online' });
  }

  /** The name is ours on this connection, so its token is good for others, too. */
  #named() {
    this.#nameRefusals = 0;
    this.#mustGreet = false;
    this.#wasNamed = true;
    const isKnown = this.#wasKnown && this.#offeredToken === this.#greetedWith;
    if (this.#offeredToken === this.#toldToken || this.#offeredToken === undefined || isKnown) return;
    this.#toldToken = this.#offeredToken;
    this.#outputs.push({ do: 'remember', resumeToken: this.#offeredToken });
  }

  /** @param {Fields} fields */
  #onJoined({ ref, epoch, seq, history, users, userCount, recovered }) {
    const request = this.#answered(ref);
    if (request?.type !== 'join') return;
    const { room } = request;
    const isUnderstood = epoch !== undefined && seq !== undefined && history !== undefined && history <= seq && users;
    // A room that is none of ours any more would be one that nobody leaves.
    if (!isUnderstood || !this.#isOurs(room)) return this.#giveUp('not understood');
    this.#named();
    const last = room.position;
    const rejoined = room.member;
    const next = { epoch, seq: seq - history };
    const continues = last && last.epoch === epoch && last.seq <= seq && (recovered || next.seq <= last.seq);
    // Nobody hears of a stay that is not wanted any more: joined again, it goes on from what was heard.
    room.position = last && (continues || !room.wanted) ? last : next;
    Object.assign(room, { phase: 'in', isIn: true, replayed: seq, users, userCount: userCount ?? users.length, refusals: 0, retryAt: 0 });
    // It was left meanwhile: nobody wants to hear of it.
    if (!room.wanted) return;
    room.member = true;
    const joined = { ...this.#joined(room, rejoined), seq, recovered };
    this.#emit('joined', joined);
    for (const join of room.joins.splice(0)) this.#resolve(join, joined);
    room.isGapped = false;
    if (!last || continues) return;
    // Of another epoch nothing is left that a message could be stored in.
    room.isGapped = last.epoch === epoch;
    this.#emit('gap', { room: room.id, last, next: { epoch, seq: next.seq + 1 } });
  }

  /** @param {Room} room @param {boolean} rejoined @returns {Joined} */
  #joined({ id, users, userCount, position, replayed }, rejoined) {
    const { epoch, seq } = position ?? { epoch: '', seq: 0 };
    return { room: id, users: [...users], userCount, epoch, seq: Math.max(seq, replayed), recovered: false, rejoined };
  }

  /** @param {Fields} fields */
  #onLeft({ ref, roomId, reason }) {
    const request = this.#answered(ref);
    if (request?.type === 'leave') return this.#isOurs(request.room) ? this.#hasLeft(request.room) : undefined;
    const room = this.#rooms.get(roomId ?? '');
    if (!room || ref !== undefined) return;
    this.#rejectRoom(room, 'NOT_IN_ROOM');
    this.#left(room, { reason });
  }

  /** One has left as one wanted. @param {Room} room */
  #hasLeft(room) {
    Object.assign(room, { phase: 'out', isIn: false });
    if (!room.wanted) return this.#left(room, {});
    // It was joined again meanwhile: another stay.
    this.#resolveLeaves(room);
    if (room.member) this.#emit('left', { room: room.id });
    room.typing.clear();
    Object.assign(room, { member: false, position: room.since });
  }

  /** @param {Room} room */
  #resolveLeaves(room) {
    for (const leave of room.leaves.splice(0)) this.#resolve(leave, undefined);
  }

  /** The room is no longer one of ours. @param {Room} room @param {{ code?: string, reason?: string }} why */
  #left(room, why) {
    this.#rooms.delete(room.id);
    this.#rejectQuestions(room.id, 'LEFT');
    this.#resolveLeaves(room);
    if (room.member) this.#emit('left', { room: room.id, ...why });
  }

  /** @param {Fields} fields */
  #onMessage(fields) {
    const { ref, roomId } = fields;
    const request = this.#answered(ref);
    const room = this.#rooms.get(roomId ?? '');
    const isAnswer = request?.type === 'message' && this.#isOurs(request.room);
    const message = room?.position && this.#message(fields, room, room.position);
    if (isAnswer && (request.room !== room || !message)) return this.#giveUp('not understood');
    if (!room?.position || !message) return;
    const { seq } = room.position;
    // What is said while nobody listens is read by whoever comes back.
    if (message.seq === seq + 1 && isListening(room)) {
      room.position = { epoch: room.position.epoch, seq: message.seq };
      if (room.typing.delete(message.from)) this.#emitTyping(room);
      this.#emit('message', message);
      const first = room.outbox[0];
      if (first?.unanswered && !first.inFlight && first.clientMsgId === message.clientMsgId) {
        this.#settle(room, ({ call }) => this.#resolve(call, message));
      }
    } else if (message.seq > seq) {
      room.resync ||= isListening(room);
    } else if (ref === undefined) {
      room.page.push(message);
      if (room.page.length > (this.limits ?? LIMITS).historyPage) room.page.shift();
    }
    if (isAnswer) {
      room.refusals = 0;
      this.#settle(room, (pending) => this.#resolve(pending.call, { ...message, clientMsgId: pending.clientMsgId }));
    }
  }

  /**
   * @param {Fields} fields @param {Room} room @param {Position} position
   * @returns {Message | undefined}
   */
  #message({ seq, from, text, timestamp, clientMsgId }, room, { epoch }) {
    if (seq === undefined || from === undefined || text === undefined || timestamp === undefined) return undefined;
    const message = { room: room.id, epoch, seq, from, text, timestamp, own: from === this.username, replayed: seq <= room.replayed };
    return clientMsgId === undefined ? message : { ...message, clientMsgId };
  }

  /** @param {Fields} fields */
  #onPresence({ type, roomId, username, reason }) {
    const room = this.#rooms.get(roomId ?? '');
    if (!room || !isListening(room) || username === undefined) return;
    const { id, users } = room;
    if (type === 'user_joined') {
      if (users.includes(username)) return;
      room.userCount += 1;
      if (users.length < MOST_NAMES) users.push(username);
      this.#emit('presence', { room: id, users: [...users], userCount: room.userCount, joined: username });
    } else {
      room.users = users.filter((user) => user !== username);
      room.userCount = Math.max(room.users.length, room.userCount - 1);
      if (room.typing.delete(username)) this.#emitTyping(room);
      this.#emit('presence', { room: id, users: [...room.users], userCount: room.userCount, left: username, reason });
    }
  }

  /** @param {Fields} fields */
  #onTyping({ roomId, username, active }) {
    const room = this.#rooms.get(roomId ?? '');
    if (!room || !isListening(room) || username === undefined || username === this.username) return;
    const { size } = room.typing;
    if (active && size < MOST_NAMES) room.typing.set(username, this.#now + TYPING_FORGOTTEN_MS);
    if (!active) room.typing.delete(username);
    if (room.typing.size !== size) this.#emitTyping(room);
  }

  /** @param {Room} room */
  #forgetTypists(room) {
    const { size } = room.typing;
    for (const [username, until] of room.typing) if (this.#now >= until) room.typing.delete(username);
    if (room.typing.size !== size) this.#emitTyping(room);
  }

  /** @param {Room} room */
  #emitTyping({ id, typing }) {
    this.#emit('typing', { room: id, users: [...typing.keys()] });
  }

  /** @param {Fields} fields */
  #onHistory({ ref, roomId = '', epoch = '', count = 0, hasMore }) {
    const room = this.#rooms.get(roomId);
    const messages = room && count > 0 ? room.page.slice(-count) : [];
    if (room) room.page = [];
    this.#onAnswer({ ref }, { room: roomId, epoch, messages, hasMore });
  }

  /** @param {{ ref?: string }} fields @param {any} value */
  #onAnswer({ ref }, value) {
    const request = this.#answered(ref);
    if (request?.type === 'question') this.#resolve(request.question.call, value);
  }

  // Refusals.

  /** @param {Fields} fields */
  #onError({ ref, code = '', message = '', roomId, clientMsgId, retryAfterMs: wait }) {
    const retryAfterMs = wait ? Math.min(wait, MOST_WAIT_MS) : undefined;
    const failure = { code, message, room: roomId, clientMsgId, retryAfterMs };
    const request = this.#answered(ref);
    // A refusal behind a longer one does not shorten it.
    if (code === 'RATE_LIMITED') {
      this.#quietUntil = Math.max(this.#quietUntil, this.#now + (retryAfterMs ?? this.#options.baseMs));
    }
    if (code === 'SERVER_SHUTDOWN') this.#goodbyeMs = retryAfterMs;
    if (!request) return this.#onErrorOfNone(failure);
    if (code === 'RATE_LIMITED' && request.type !== 'hello') {
      if (request.type === 'message') request.pending.unanswered = false;
      return this.#again(request);
    }
    if ('room' in request && !this.#isOurs(request.room)) return;
    switch (request.type) {
      case 'hello':
        // The close code behind it says whether to return.
        return this.#emit('error', failure);
      case 'join':
        return this.#onJoinRefused(request.room, failure);
      case 'leave':
        return this.#hasLeft(request.room);
      case 'message':
        return this.#onMessageRefused(request.room, request.pending, failure);
      case 'question':
        this.#outputs.push({ do: 'reject', call: request.question.call, failure });
    }
  }

  /** @param {Failure} failure */
  #onErrorOfNone(failure) {
    if (failure.code !== 'RATE_LIMITED') return this.#emit('error', failure);
    const first = this.#inFlight[0];
    if (first && first.type !== 'typing') this.#again(/** @type {Request} */ (this.#inFlight.shift()));
    // What it was shows as soon as something behind it is answered.
    else this.#mustProbe = true;
  }

  /** @param {Room} room @param {Failure} failure */
  #onJoinRefused(room, failure) {
    this.#notJoined(room);
    if (!room.wanted) return;
    const transient = room.member ? TRANSIENT_FOR_MEMBERS : TRANSIENT;
    if (transient.has(failure.code)) return this.#later(room, failure);
    if (failure.code === 'USERNAME_TAKEN' && this.#isOursElsewhere(room, failure)) return;
    this.#rejectRoom(room, failure);
    this.#left(room, { code: failure.code });
  }

  /**
   * Whether the one who has our name may be ourselves: another tab, whose token was not yet there to
   * be read, or a connection that the server does not know to be dead. Then we ask again in a while:
   * once for a name that never was ours, and for as long as it takes for one that was.
   * @param {Room} room
   * @param {Failure} failure
   */
  #isOursElsewhere(room, failure) {
    const isAskedBefore = room.isNameRefused;
    room.isNameRefused = true;
    // Each of the rooms is refused; it is one refusal all the same.
    if (this.#mustGreet) return true;
    if (!this.#wasNamed && (!this.#options.shares || isAskedBefore)) return false;
    if (this.#wasNamed) this.#emit('error', failure);
    this.#quietUntil = Math.max(this.#quietUntil, this.#now + this.#backoffMs(this.#nameRefusals));
    this.#nameRefusals += 1;
    this.#mustGreet = true;
    return true;
  }

  /** @param {Room} room @param {Pending} pending @param {Failure} failure */
  #onMessageRefused(room, pending, failure) {
    pending.inFlight = false;
    pending.unanswered = false;
    if (TRANSIENT.has(failure.code)) return this.#later(room, failure);
    if (failure.code === 'NOT_IN_ROOM' && room.wanted) {
      Object.assign(room, { phase: 'out', isIn: false });
      return this.#later(room, failure);
    }
    this.#settle(room, () => this.#outputs.push({ do: 'reject', call: pending.call, failure }));
  }

  /** Tries again after a while, and says so. @param {Room} room @param {Failure} failure */
  #later(room, failure) {
    room.retryAt = this.#now + Math.max(failure.retryAfterMs ?? 0, this.#backoffMs(room.refusals));
    room.refusals += 1;
    this.#emit('error', failure);
  }

  /** Exponential, with full jitter, in whole milliseconds. @param {number} attempt from 0 */
  #backoffMs(attempt) {
    const { baseMs, capMs, random } = this.#options;
    // Further powers of 2 change nothing, until one is infinite and 0 times it is no number.
    return Math.floor(random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 31)));
  }

  #refusedCall() {
    return this.#link === 'closed' ? 'CLOSED' : undefined;
  }

  /** @param {string} id */
  #refusedRoom(id) {
    return isText(id, (this.limits ?? LIMITS).roomId) ? undefined : 'INVALID_ROOM_ID';
  }

  #refusedName() {
    const { username } = this.#options;
    const good = username === undefined || isText(username, (this.limits ?? LIMITS).username);
    return good ? undefined : 'INVALID_USERNAME';
  }

  /** @param {Omit<Question, 'call'>} question */
  #refusedQuestion({ type, roomId, after, before, limit }) {
    if (this.#link === 'closed') return 'CLOSED';
    if (roomId !== undefined || type !== 'list_rooms') {
      const refused = this.#refusedRoom(/** @type {string} */ (roomId));
      if (refused) return refused;
    }
    if (after !== undefined && this.#refusedRoom(after)) return 'INVALID_FIELD';
    if (before !== undefined && !(Number.isSafeInteger(before) && before >= 0)) return 'INVALID_FIELD';
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 1)) return 'INVALID_LIMIT';
    if (type === 'get_history' && !this.#rooms.get(roomId ?? '')?.wanted) return 'NOT_IN_ROOM';
    return this.#questions.length >= this.#options.maxPending ? 'QUEUE_FULL' : undefined;
  }

  // Promises.

  /** The first message of the outbox is done with. @param {Room} room @param {(pending: Pending) => void} how */
  #settle(room, how) {
    const pending = room.outbox.shift();
    if (!pending) return;
    this.#pendingCount -= 1;
    how(pending);
  }

  /** @param {Room} room @param {Pending} pending @param {string} code */
  #rejectPending(room, { call, clientMsgId }, code) {
    this.#reject(call, code, { room: room.id, clientMsgId });
  }

  /** What is in flight stays, for its answer. @param {Room} room @param {string | Failure} why */
  #rejectOutbox(room, why) {
    for (const pending of room.outbox.splice(room.outbox[0]?.inFlight ? 1 : 0)) {
      this.#pendingCount -= 1;
      const details = { room: room.id, clientMsgId: pending.clientMsgId };
      this.#reject(pending.call, pending.unanswered ? 'OUTCOME_UNKNOWN' : why, details);
    }
  }

  /** Nothing more comes of what was asked about this room. @param {Room} room @param {string | Failure} why */
  #rejectRoom(room, why) {
    const first = room.outbox[0];
    if (first?.inFlight) Object.assign(first, { inFlight: false, unanswered: true });
    for (const join of room.joins.splice(0)) this.#reject(join, why, { room: room.id });
    this.#rejectOutbox(room, why);
    this.#rejectQuestions(room.id, why);
  }

  /** @param {string} id @param {string | Failure} why */
  #rejectQuestions(id, why) {
    const isAbout = (/** @type {Question} */ question) => question.type === 'get_history' && question.roomId === id;
    for (const question of this.#questions.filter(isAbout)) this.#rejectQuestion(question, why);
    this.#questions = this.#questions.filter((question) => !isAbout(question));
  }

  /** @param {Question} question @param {string | Failure} why */
  #rejectQuestion({ call, roomId }, why) {
    this.#reject(call, why, { room: roomId });
  }

  /** @param {number} call @param {any} value */
  #resolve(call, value) {
    this.#outputs.push({ do: 'resolve', call, value });
  }

  /**
   * @param {number} call
   * @param {string | Failure} why
   * @param {{ room?: string, clientMsgId?: string }} details
   */
  #reject(call, why, details) {
    const { code, message } = typeof why === 'string' ? { code: why, message: sentence(why) } : why;
    this.#outputs.push({ do: 'reject', call, failure: { code, message, ...details } });
  }

  /** @param {keyof Events} type @param {any} event */
  #emit(type, event) {
    this.#outputs.push({ do: 'emit', type, event });
  }
}

/** @param {string} id @param {number} call @param {number | undefined} history @param {Position | undefined} since @returns {Room} */
function newRoom(id, call, history, since) {
  return {
    id,
    wanted: true,
    phase: 'out',
    isIn: false,
    member: false,
    resync: false,
    position: since,
    since,
    history,
    isGapped: false,
    replayed: 0,
    users: [],
    userCount: 0,
    typing: new Map(),
    typedAt: -Infinity,
    outbox: [],
    joins: [call],
    leaves: [],
    page: [],
    refusals: 0,
    isNameRefused: false,
    retryAt: 0,
  };
}

/** Whether one is in a room, wants to be, and has missed nothing. @param {Room} room */
function isListening({ phase, wanted, resync }) {
  return phase === 'in' && wanted && !resync;
}

/** @param {string} code @returns {string} */
function sentence(code) {
  const sentences = /** @type {Record<string, string>} */ ({ ...CLIENT_ERRORS, ...REFUSALS });
  return sentences[code] ?? code;
}

/**
 * @typedef {ReturnType<typeof fieldsOf>} Fields What a frame of the server says. Whatever is not of
 *   the type that the protocol gives it counts as absent.
 */

/** @param {string} text @returns {Fields | undefined} */
function read(text) {
  try {
    const frame = JSON.parse(text);
    return isObject(frame) ? fieldsOf(frame) : undefined;
  } catch {
    return undefined;
  }
}

/** @param {Record<string, any>} frame */
function fieldsOf(frame) {
  return {
    type: stringOf(frame.type),
    ref: stringOf(frame.ref),
    roomId: stringOf(frame.roomId),
    username: stringOf(frame.username),
    resumeToken: stringOf(frame.resumeToken),
    server: stringOf(frame.server),
    limits: isObject(frame.limits) ? limitsOf(frame.limits) : undefined,
    pingIntervalMs: countOf(frame.pingIntervalMs),
    epoch: stringOf(frame.epoch),
    seq: countOf(frame.seq),
    history: countOf(frame.history),
    recovered: frame.recovered === true,
    users: listOf(frame.users)?.filter((user) => typeof user === 'string'),
    userCount: countOf(frame.userCount),
    from: stringOf(frame.from),
    text: stringOf(frame.text),
    timestamp: countOf(frame.timestamp),
    clientMsgId: stringOf(frame.clientMsgId),
    reason: stringOf(frame.reason),
    active: frame.active === true,
    count: countOf(frame.count),
    hasMore: frame.hasMore === true,
    rooms: roomsOf(frame.rooms),
    roomCount: countOf(frame.roomCount),
    code: stringOf(frame.code),
    message: stringOf(frame.message),
    retryAfterMs: countOf(frame.retryAfterMs),
  };
}

/** Protocol 1's default where the server does not say. @param {Record<string, any>} told @returns {Limits} */
function limitsOf(told) {
  const limits = { ...LIMITS };
  for (const name of /** @type {(keyof Limits)[]} */ (Object.keys(LIMITS))) {
    const count = countOf(told[name]);
    if (count !== undefined && count < 2 ** 32) limits[name] = count;
  }
  return limits;
}

/** @param {unknown} list @returns {{ id: string, userCount: number }[]} */
function roomsOf(list) {
  return (listOf(list) ?? []).flatMap((room) => {
    const { id, userCount } = isObject(room) ? room : {};
    return typeof id === 'string' && isCount(userCount) ? [{ id, userCount }] : [];
  });
}

/** @param {unknown} value @returns {value is Record<string, any>} */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @param {unknown} value @returns {any[] | undefined} */
function listOf(value) {
  return Array.isArray(value) ? value : undefined;
}

/** @param {unknown} value @returns {string | undefined} */
function stringOf(value) {
  return typeof value === 'string' ? value : undefined;
}

/** @param {unknown} value @returns {number | undefined} */
function countOf(value) {
  return isCount(value) ? value : undefined;
}

/** @param {unknown} value @returns {value is number} */
function isCount(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** Half a character is none: JSON can carry it, but no server may take it. @param {unknown} text @param {number} most */
function isText(text, most) {
  if (typeof text !== 'string' || text === '' || text.length > 2 * most) return false;
  return !/\p{Surrogate}/u.test(text) && [...text].length <= most;
}

/** @param {unknown} text @param {number} most */
function isPrintable(text, most) {
  return typeof text === 'string' && /^[\x20-\x7e]+$/.test(text) && text.length <= most;
}

/**
 * A connection to a Parlor server that comes back by itself.
 *
 * @example
 * const client = new ParlorClient('ws://127.0.0.1:8080/ws', { username: 'Alice' });
 * client.on('message', ({ from, text }) => console.log(`${from}: ${text}`));
 * await client.join('general');
 * const { seq } = await client.send('general', 'Hello!');
 */
export class ParlorClient {
  #core;
  #url;
  #options;
  #environment;
  /** @type {WebSocketLike | undefined} The one whose events count. */
  #socket;
  /** Names the attempt to connect, so that a token that comes late is not taken for another one's. */
  #attempt = 0;
  /** @type {any} */
  #timer;
  #timerAt = Infinity;
  /** @type {Output[]} */
  #outputs = [];
  #isCarryingOut = false;
  #nextCall = 1;
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: ParlorError) => void }>} */
  #calls = new Map();
  /** @type {Map<keyof Events, Set<(event: any) => void>>} */
  #listeners = new Map();

  /**
   * Connects as soon as the current task is done, so listeners that are added at once miss nothing.
   * @param {string | URL} url ws:, wss:, http: or https:; may be relative on a page.
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    this.#url = webSocketUrl(url);
    this.#options = options;
    this.#environment = options.environment ?? SYSTEM;
    const remembered = options.storage && (() => this.#remembered());
    this.#core = new ClientCore({ ...options, remembered, random: this.#environment.random, idPrefix: randomId() });
    if (!this.#webSocket()) throw new TypeError('Pass a WebSocket class in the options: there is none here.');
    queueMicrotask(() => this.#input((core, now) => core.start(now)));
  }

  /** Where the connection stands. @returns {State} */
  get state() {
    return this.#core.state;
  }

  /** The user's name, as the server spells it once it has said so. @returns {string | undefined} */
  get username() {
    return this.#core.username;
  }

  /** What the server allows; unknown before its first hello. @returns {Limits | undefined} */
  get limits() {
    return this.#core.limits;
  }

  /** The server's name and version. @returns {string | undefined} */
  get server() {
    return this.#core.server;
  }

  /** How many messages are not yet stored. @returns {number} */
  get pending() {
    return this.#core.pending;
  }

  /**
   * Calls `listener` with each event of a type. A listener that throws is reported and harms nobody.
   * @template {keyof Events} K
   * @param {K} type
   * @param {(event: Events[K]) => void} listener
   * @returns {() => void} Stops it.
   */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * Joins a room and stays in it across reconnects, until `leave`. Waits for a connection if there
   * is none, and until a server that cannot store can; rejected with the server's code if the room or
   * the name is refused. Joining again resolves with how things stand.
   * @param {string} room
   * @param {{ history?: number, since?: Position }} [options] How many messages to replay (50 if
   *   absent, 100 at most), or the position from which to go on.
   * @returns {Promise<Joined>}
   */
  join(room, options) {
    return this.#call((core, now, call) => core.join(now, call, room, options));
  }

  /**
   * Leaves a room. Messages that were not sent yet are rejected with LEFT.
   * @param {string} room
   * @returns {Promise<void>}
   */
  leave(room) {
    return this.#call((core, now, call) => core.leave(now, call, room));
  }

  /**
   * Sends a message. Resolves when it is stored, which takes as long as the server is away.
   * @param {string} room One that was joined, or is being joined.
   * @param {string} text
   * @param {{ clientMsgId?: string }} [options] An id of one's own, to recognise the message by: 1 to
   *   64 printable ASCII characters, never used before in this room.
   * @returns {Promise<Message>}
   */
  send(room, text, { clientMsgId } = {}) {
    return this.#call((core, now, call) => core.send(now, call, room, text, clientMsgId));
  }

  /**
   * Tells the others that this user is typing, or has stopped. Call it at each keystroke: it is told
   * no more often than needed, and sending a message ends it.
   * @param {string} room
   * @param {boolean} [active]
   */
  typing(room, active = true) {
    this.#input((core, now) => core.typing(now, room, active));
  }

  /**
   * A page of a joined room's history, in ascending order. No `message` events come of it.
   * @param {string} room
   * @param {{ before?: number, limit?: number }} [options] The seq to end before (the newest if
   *   absent), and how many at most (50 if absent, 100 at most).
   * @returns {Promise<{ room: string, epoch: string, messages: Message[], hasMore: boolean }>}
   */
  history(room, { before, limit } = {}) {
    return this.#call((core, now, call) => core.ask(now, call, { type: 'get_history', roomId: room, before, limit }));
  }

  /**
   * The open rooms that one may join, sorted by id: at most 1000 that come after `after`.
   * @param {{ after?: string }} [options]
   * @returns {Promise<{ rooms: { id: string, userCount: number }[], roomCount: number }>}
   */
  rooms({ after } = {}) {
    return this.#call((core, now, call) => core.ask(now, call, { type: 'list_rooms', after }));
  }

  /**
   * Who is in a room, at most 1000 of them.
   * @param {string} room
   * @returns {Promise<{ room: string, users: string[], userCount: number }>}
   */
  users(room) {
    return this.#call((core, now, call) => core.ask(now, call, { type: 'list_users', roomId: room }));
  }

  /** Offline: connects at once. Online: looks whether the server still answers. */
  retry() {
    this.#input((core, now) => core.retry(now));
  }

  /** Ends the connection for ever. Whatever is pending is rejected with CLOSED; a message in flight may be stored all the same. */
  close() {
    this.#input((core, now) => core.close(now));
  }

  #webSocket() {
    return this.#options.WebSocket ?? /** @type {any} */ (globalThis).WebSocket;
  }

  /** @param {(core: ClientCore, now: number, call: number) => Output[]} input @returns {Promise<any>} */
  #call(input) {
    return new Promise((resolve, reject) => {
      const call = this.#nextCall++;
      this.#calls.set(call, { resolve, reject });
      this.#input((core, now) => input(core, now, call));
    });
  }

  /** @param {(core: ClientCore, now: number) => Output[]} input */
  #input(input) {
    this.#outputs.push(...input(this.#core, this.#environment.now()));
    // A listener's own call waits its turn, so that events keep their order.
    if (this.#isCarryingOut) return;
    this.#isCarryingOut = true;
    for (let output = this.#outputs.shift(); output; output = this.#outputs.shift()) this.#carryOut(output);
    this.#isCarryingOut = false;
    this.#schedule();
  }

  /** @param {Output} output */
  #carryOut(output) {
    switch (output.do) {
      case 'connect':
        return void this.#connect();
      case 'transmit':
        return this.#transmit(output.text);
      case 'hangUp':
        return this.#hangUp();
      case 'remember':
        return this.#remember(output.resumeToken);
      case 'emit':
        return this.#emit(output.type, output.event);
      case 'resolve':
        return this.#take(output.call)?.resolve(output.value);
      case 'reject':
        return this.#take(output.call)?.reject(new ParlorError(output.failure));
    }
  }

  async #connect() {
    const attempt = ++this.#attempt;
    const { token } = this.#options;
    /** @type {string | undefined} */
    let identity;
    try {
      identity = typeof token === 'function' ? await token() : token;
    } catch {
      if (attempt !== this.#attempt) return;
      this.#emit('error', { code: 'TOKEN_FAILED', message: sentence('TOKEN_FAILED') });
      return this.#input((core, now) => core.closed(now, undefined, 'no token'));
    }
    if (attempt === this.#attempt) this.#dial(identity);
  }

  /** @param {string | undefined} token */
  #dial(token) {
    const WebSocket = this.#webSocket();
    /** @type {WebSocketLike} */
    let socket;
    try {
      socket = new WebSocket(this.#url);
    } catch {
      return this.#input((core, now) => core.closed(now, undefined, 'cannot connect'));
    }
    this.#socket = socket;
    const input = (/** @type {(core: ClientCore, now: number) => Output[]} */ of) => {
      if (this.#socket === socket) this.#input(of);
    };
    const ended = (/** @type {number} */ code, /** @type {string} */ reason) =>
      input((core, now) => {
        this.#socket = undefined;
        return core.closed(now, code, reason);
      });
    socket.onopen = () => input((core, now) => core.opened(now, token));
    socket.onmessage = ({ data }) => {
      if (typeof data === 'string') input((core, now) => core.received(now, data));
    };
    socket.onclose = ({ code, reason }) => ended(code, String(reason));
    // It means that the connection has failed; not every implementation says so once more with close.
    socket.onerror = () => ended(1006, '');
  }

  /** @param {string} text */
  #transmit(text) {
    try {
      this.#socket?.send(text);
    } catch {
      // A socket that is closing: its end is reported next.
    }
  }

  #hangUp() {
    this.#attempt += 1;
    const socket = this.#socket;
    this.#socket = undefined;
    try {
      socket?.close(1000);
    } catch {
      // There is nothing left to close.
    }
  }

  #key() {
    return `parlor ${this.#url} ${this.#options.username ?? ''}`;
  }

  #remembered() {
    try {
      return this.#options.storage?.getItem(this.#key()) ?? undefined;
    } catch {
      // The person does not allow it.
      return undefined;
    }
  }

  /** @param {string} resumeToken */
  #remember(resumeToken) {
    try {
      this.#options.storage?.setItem(this.#key(), resumeToken);
    } catch {
      // Full, or not allowed: other tabs are guests of their own then.
    }
  }

  /** @param {number} call */
  #take(call) {
    const promise = this.#calls.get(call);
    this.#calls.delete(call);
    return promise;
  }

  /** @param {keyof Events} type @param {any} event */
  #emit(type, event) {
    const told = type === 'error' ? new ParlorError(event) : event;
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(told);
      } catch (error) {
        report(error);
      }
    }
  }

  #schedule() {
    const deadline = this.#core.deadline() ?? Infinity;
    // Each message moves the deadline on; a timer that rings early costs less than a new one each time.
    if (deadline >= this.#timerAt && deadline < Infinity) return;
    this.#environment.clearTimeout(this.#timer);
    this.#timerAt = deadline;
    if (deadline === Infinity) return;
    const ring = () => {
      this.#timerAt = Infinity;
      this.#input((core, now) => core.tick(now));
    };
    // A fraction of a millisecond is not waited for by every timer, and would ring without an effect.
    const ms = Math.ceil(deadline - this.#environment.now());
    this.#timer = this.#environment.setTimeout(ring, Math.min(Math.max(0, ms), MOST_TIMER_MS));
  }
}

/** Time that never goes back, close to `Date.now`. */
const SYSTEM = Object.freeze({
  now: () => performance.timeOrigin + performance.now(),
  setTimeout: (/** @type {() => void} */ call, /** @type {number} */ ms) => setTimeout(call, ms),
  clearTimeout: (/** @type {any} */ timer) => clearTimeout(timer),
  random: () => Math.random(),
});

/** @param {string | URL} url */
function webSocketUrl(url) {
  const absolute = new URL(url, /** @type {any} */ (globalThis).location?.href);
  if (absolute.protocol === 'http:' || absolute.protocol === 'https:') {
    absolute.protocol = absolute.protocol === 'https:' ? 'wss:' : 'ws:';
  }
  absolute.hash = '';
  if (!['ws:', 'wss:'].includes(absolute.protocol)) throw new TypeError(`Pass a ws:, wss:, http: or https: URL, not ${absolute.protocol}`);
  return absolute.href;
}

/** @param {unknown} error */
function report(error) {
  const { reportError, console } = /** @type {any} */ (globalThis);
  if (reportError) reportError(error);
  else console.error(error);
}
