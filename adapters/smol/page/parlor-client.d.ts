/**
 * 128 random bits in hex, for a `clientMsgId`. Unlike `crypto.randomUUID` it works on pages that
 * were not served over TLS.
 */
export function randomId(): string;
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
export const CLIENT_ERRORS: Readonly<{
    CLOSED: "Open another client: this one is closed.";
    LEFT: "Join the room again to send this: it was left before.";
    QUEUE_FULL: "Wait until some of what is pending has been answered.";
    OUTCOME_UNKNOWN: "Look whether the message is there before sending it again: the connection broke and too much was said meanwhile to tell.";
    TOKEN_FAILED: "See why no token could be had: the client tries again.";
}>;
/** What went wrong: a code for programs, a sentence for people. */
export class ParlorError extends Error {
    /** @param {Failure} failure */
    constructor({ code, message, room, clientMsgId, retryAfterMs }: Failure);
    code: string;
    room: string | undefined;
    clientMsgId: string | undefined;
    retryAfterMs: number | undefined;
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
    constructor(options: {
        random: () => number;
        remembered?: (() => string | undefined) | undefined;
        idPrefix: string;
        username?: string | undefined;
        resumeToken?: string | undefined;
        pingIntervalMs?: number | undefined;
        connectTimeoutMs?: number | undefined;
        backoff?: {
            baseMs?: number;
            capMs?: number;
        } | undefined;
        maxPending?: number | undefined;
    });
    /** @type {string | undefined} As the server spells it. */
    username: string | undefined;
    /** @type {Limits | undefined} */
    limits: Limits | undefined;
    /** @type {string | undefined} Name and version. */
    server: string | undefined;
    /** @returns {State} */
    get state(): State;
    /** Messages that are not yet stored. */
    get pending(): number;
    /**
     * When to call `tick` at the latest; never if undefined.
     * @returns {number | undefined}
     */
    deadline(): number | undefined;
    /** @param {number} now @returns {Output[]} */
    start(now: number): Output[];
    /**
     * The socket is open.
     * @param {number} now
     * @param {string} [token]
     */
    opened(now: number, token?: string): Output[];
    /** @param {number} now @param {string} text */
    received(now: number, text: string): Output[];
    /**
     * The socket is closed, or could not be opened.
     * @param {number} now
     * @param {number} [code]
     * @param {string} [reason]
     */
    closed(now: number, code?: number, reason?: string): Output[];
    /** @param {number} now */
    tick(now: number): Output[];
    /**
     * @param {number} now @param {number} call @param {string} id
     * @param {{ history?: number, since?: Position }} [options]
     */
    join(now: number, call: number, id: string, { history, since }?: {
        history?: number;
        since?: Position;
    }): Output[];
    /** @param {number} now @param {number} call @param {string} id */
    leave(now: number, call: number, id: string): Output[];
    /** @param {number} now @param {number} call @param {string} id @param {string} text @param {string} [clientMsgId] */
    send(now: number, call: number, id: string, text: string, clientMsgId?: string): Output[];
    /** @param {number} now @param {string} id @param {boolean} active */
    typing(now: number, id: string, active: boolean): Output[];
    /** @param {number} now @param {number} call @param {Omit<Question, 'call'>} question */
    ask(now: number, call: number, question: Omit<Question, "call">): Output[];
    /** Offline: connects at once. Online: looks whether the server still answers. @param {number} now */
    retry(now: number): Output[];
    /** @param {number} now */
    close(now: number): Output[];
    #private;
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
    /**
     * Connects as soon as the current task is done, so listeners that are added at once miss nothing.
     * @param {string | URL} url ws:, wss:, http: or https:; may be relative on a page.
     * @param {Options} [options]
     */
    constructor(url: string | URL, options?: Options);
    /** Where the connection stands. @returns {State} */
    get state(): State;
    /** The user's name, as the server spells it once it has said so. @returns {string | undefined} */
    get username(): string | undefined;
    /** What the server allows; unknown before its first hello. @returns {Limits | undefined} */
    get limits(): Limits | undefined;
    /** The server's name and version. @returns {string | undefined} */
    get server(): string | undefined;
    /** How many messages are not yet stored. @returns {number} */
    get pending(): number;
    /**
     * Calls `listener` with each event of a type. A listener that throws is reported and harms nobody.
     * @template {keyof Events} K
     * @param {K} type
     * @param {(event: Events[K]) => void} listener
     * @returns {() => void} Stops it.
     */
    on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): () => void;
    /**
     * Joins a room and stays in it across reconnects, until `leave`. Waits for a connection if there
     * is none, and until a server that cannot store can; rejected with the server's code if the room or
     * the name is refused. Joining again resolves with how things stand.
     * @param {string} room
     * @param {{ history?: number, since?: Position }} [options] How many messages to replay (50 if
     *   absent, 100 at most), or the position from which to go on.
     * @returns {Promise<Joined>}
     */
    join(room: string, options?: {
        history?: number;
        since?: Position;
    }): Promise<Joined>;
    /**
     * Leaves a room. Messages that were not sent yet are rejected with LEFT.
     * @param {string} room
     * @returns {Promise<void>}
     */
    leave(room: string): Promise<void>;
    /**
     * Sends a message. Resolves when it is stored, which takes as long as the server is away.
     * @param {string} room One that was joined, or is being joined.
     * @param {string} text
     * @param {{ clientMsgId?: string }} [options] An id of one's own, to recognise the message by: 1 to
     *   64 printable ASCII characters, never used before in this room.
     * @returns {Promise<Message>}
     */
    send(room: string, text: string, { clientMsgId }?: {
        clientMsgId?: string;
    }): Promise<Message>;
    /**
     * Tells the others that this user is typing, or has stopped. Call it at each keystroke: it is told
     * no more often than needed, and sending a message ends it.
     * @param {string} room
     * @param {boolean} [active]
     */
    typing(room: string, active?: boolean): void;
    /**
     * A page of a joined room's history, in ascending order. No `message` events come of it.
     * @param {string} room
     * @param {{ before?: number, limit?: number }} [options] The seq to end before (the newest if
     *   absent), and how many at most (50 if absent, 100 at most).
     * @returns {Promise<{ room: string, epoch: string, messages: Message[], hasMore: boolean }>}
     */
    history(room: string, { before, limit }?: {
        before?: number;
        limit?: number;
    }): Promise<{
        room: string;
        epoch: string;
        messages: Message[];
        hasMore: boolean;
    }>;
    /**
     * The open rooms that one may join, sorted by id: at most 1000 that come after `after`.
     * @param {{ after?: string }} [options]
     * @returns {Promise<{ rooms: { id: string, userCount: number }[], roomCount: number }>}
     */
    rooms({ after }?: {
        after?: string;
    }): Promise<{
        rooms: {
            id: string;
            userCount: number;
        }[];
        roomCount: number;
    }>;
    /**
     * Who is in a room, at most 1000 of them.
     * @param {string} room
     * @returns {Promise<{ room: string, users: string[], userCount: number }>}
     */
    users(room: string): Promise<{
        room: string;
        users: string[];
        userCount: number;
    }>;
    /** Offline: connects at once. Online: looks whether the server still answers. */
    retry(): void;
    /** Ends the connection for ever. Whatever is pending is rejected with CLOSED; a message in flight may be stored all the same. */
    close(): void;
    #private;
}
/**
 * What a frame of the server says. Whatever is not of
 *   the type that the protocol gives it counts as absent.
 */
export type Fields = ReturnType<typeof fieldsOf>;
/**
 * What the server allows, from its `hello`: lengths in Unicode scalar values.
 */
export type Limits = {
    username: number;
    text: number;
    roomId: number;
    clientMsgId: number;
    frameBytes: number;
    historyPage: number;
    replay: number;
    roomsPerConnection: number;
    membersPerRoom: number;
    messagesPerSecond: number;
    burst: number;
};
/**
 * A place in a room's log. Numbers count within an epoch only.
 */
export type Position = {
    epoch: string;
    seq: number;
};
/**
 * A stored message. Its identity is room, epoch and seq.
 */
export type Message = {
    room: string;
    epoch: string;
    seq: number;
    from: string;
    text: string;
    /**
     * When it was stored, ms since the Unix epoch, on the server's clock.
     */
    timestamp: number;
    /**
     * Whether it was said under this client's name.
     */
    own: boolean;
    /**
     * Whether it was said before the join that brought it.
     */
    replayed: boolean;
    /**
     * On messages that this very client sent.
     */
    clientMsgId?: string | undefined;
};
export type Joined = {
    room: string;
    /**
     * In order of joining, oneself included; at most the first 999 and oneself.
     */
    users: string[];
    userCount: number;
    epoch: string;
    /**
     * The last one so far; messages up to it are replayed.
     */
    seq: number;
    /**
     * Whether exactly what was missed follows.
     */
    recovered: boolean;
    /**
     * Whether this client was in the room before.
     */
    rejoined: boolean;
};
/**
 * `attempt` counts from 0 and begins anew after a connection that lasted; `retryAt` is on the clock
 * of `environment.now`; `code` and `reason` are those with which the connection was closed. `closed`
 * is for ever: by `close()`, or because the server said never to return (4500 to 4999).
 */
export type State = {
    state: "connecting";
    attempt: number;
} | {
    state: "online";
} | {
    state: "offline";
    attempt: number;
    retryAt: number;
    retryInMs: number;
    code?: number;
    reason?: string;
} | {
    state: "closed";
    code?: number;
    reason?: string;
};
/**
 * What an error is made of.
 */
export type Failure = {
    /**
     * A code of the server, or one of {@link CLIENT_ERRORS}.
     */
    code: string;
    /**
     * A sentence that says what to do.
     */
    message: string;
    room?: string | undefined;
    clientMsgId?: string | undefined;
    retryAfterMs?: number | undefined;
};
export type Events = {
    state: State;
    /**
     * Also after each reconnect; its messages follow.
     */
    joined: Joined;
    /**
     * With the code of the refusal
     * when the room could not be joined again, or the server's reason when one was put out.
     */
    left: {
        room: string;
        code?: string;
        reason?: string;
    };
    /**
     * Each once, in the order of seq.
     */
    message: Message;
    /**
     * Comes before the message `next`.
     * In one epoch: what lies between was missed, and `history` may still have it. In two: the server
     * began a new log, and whatever followed `last` in the old one is lost.
     */
    gap: {
        room: string;
        last: Position;
        next: Position;
    };
    presence: {
        room: string;
        users: string[];
        userCount: number;
        joined?: string;
        left?: string;
        reason?: string;
    };
    /**
     * Everybody else who is typing.
     */
    typing: {
        room: string;
        users: string[];
    };
    /**
     * What no promise reports.
     */
    error: ParlorError;
};
/**
 * What a browser's WebSocket, Node's and that of the package ws have in common.
 */
export type WebSocketLike = {
    onopen: ((event: any) => void) | null;
    onmessage: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    onerror: ((event: any) => void) | null;
    send: (text: string) => void;
    close: (code?: number, reason?: string) => void;
};
/**
 * Time and chance, for tests.
 */
export type Environment = {
    /**
     * Milliseconds; never goes back.
     */
    now: () => number;
    setTimeout: (call: () => void, ms: number) => any;
    clearTimeout: (timer: any) => void;
    /**
     * At least 0 and less than 1.
     */
    random: () => number;
};
export type Options = {
    /**
     * The guest's name, on servers without tokens. Fixed for the life of the client.
     */
    username?: string | undefined;
    /**
     * Asked for anew at each connection.
     */
    token?: string | (() => string | Promise<string>) | undefined;
    /**
     * Of a guest who is there already: this client becomes another
     * connection of that guest.
     */
    resumeToken?: string | undefined;
    /**
     * Such as `localStorage`. Clients that share one, with the
     * same server and name, are connections of one guest. Key: `parlor ${url} ${username}`.
     */
    storage?: {
        getItem(key: string): string | null;
        setItem(key: string, value: string): void;
    } | undefined;
    /**
     * `globalThis.WebSocket` if absent.
     */
    WebSocket?: (new (url: string) => WebSocketLike) | undefined;
    /**
     * At most; the server's own if that is smaller. A server that is
     * silent for two of them is given up.
     */
    pingIntervalMs?: number | undefined;
    /**
     * From dialling to the server's hello; 10,000 if absent.
     */
    connectTimeoutMs?: number | undefined;
    /**
     * The delay before an attempt is random,
     * below `min(capMs, baseMs * 2 ** attempt)`; 500 and 30,000 if absent.
     */
    backoff?: {
        baseMs?: number;
        capMs?: number;
    } | undefined;
    /**
     * Messages that may wait to be stored, and questions that may wait
     * to be asked; 1000 each if absent.
     */
    maxPending?: number | undefined;
    environment?: Environment | undefined;
};
/**
 * What a {@link ClientCore} wants done: dial; send a frame; forget the socket and close it; keep the
 * token for other clients of the same guest; tell listeners; settle the promise of a call.
 */
export type Output = {
    do: "connect";
} | {
    do: "transmit";
    text: string;
} | {
    do: "hangUp";
} | {
    do: "remember";
    resumeToken: string;
} | {
    do: "emit";
    type: keyof Events;
    event: any;
} | {
    do: "resolve";
    call: number;
    value: any;
} | {
    do: "reject";
    call: number;
    failure: Failure;
};
/**
 * A message on its way.
 */
export type Pending = {
    call: number;
    text: string;
    clientMsgId: string;
    /**
     * Whether its answer is awaited on this connection.
     */
    inFlight: boolean;
    /**
     * Whether it was sent, and the connection broke before the answer.
     */
    unanswered: boolean;
};
export type Room = {
    id: string;
    /**
     * Whether the application wants to be in it. The rest follows.
     */
    wanted: boolean;
    /**
     * Where one is on this connection.
     */
    phase: "out" | "joining" | "in" | "leaving";
    /**
     * Whether the server has one in it on this connection.
     */
    isIn: boolean;
    /**
     * Whether this client was ever in.
     */
    member: boolean;
    /**
     * Whether a message is missing, and the log is to be read again.
     */
    resync: boolean;
    /**
     * The last message delivered.
     */
    position: Position | undefined;
    /**
     * Where the next stay begins.
     */
    since: Position | undefined;
    /**
     * How many messages a first join replays.
     */
    history: number | undefined;
    /**
     * Whether a part of the log was missed at the last join.
     */
    isGapped: boolean;
    /**
     * Up to this seq, messages were said before the join.
     */
    replayed: number;
    users: string[];
    userCount: number;
    /**
     * Until when each is taken to be typing.
     */
    typing: Map<string, number>;
    /**
     * When the others were last told that this user types.
     */
    typedAt: number;
    outbox: Pending[];
    /**
     * Calls that wait for the join.
     */
    joins: number[];
    /**
     * Calls that wait for the leave.
     */
    leaves: number[];
    /**
     * Messages that may belong to the page of history asked for.
     */
    page: Message[];
    /**
     * In a row, of what time mends.
     */
    refusals: number;
    /**
     * Whether our name was refused in it on this connection.
     */
    isNameRefused: boolean;
    /**
     * Nothing is tried before.
     */
    retryAt: number;
};
/**
 * A request that changes nothing, so it may be asked again.
 */
export type Question = {
    type: "list_rooms" | "list_users" | "get_history";
    call: number;
    roomId?: string | undefined;
    after?: string | undefined;
    before?: number | undefined;
    limit?: number | undefined;
};
export type Request = {
    ref: string;
    type: "hello" | "ping";
} | {
    ref: undefined;
    type: "typing";
} | {
    ref: string;
    type: "join" | "leave";
    room: Room;
} | {
    ref: string;
    type: "message";
    room: Room;
    pending: Pending;
} | {
    ref: string;
    type: "question";
    question: Question;
};
/** @param {Record<string, any>} frame */
declare function fieldsOf(frame: Record<string, any>): {
    type: string | undefined;
    ref: string | undefined;
    roomId: string | undefined;
    username: string | undefined;
    resumeToken: string | undefined;
    server: string | undefined;
    limits: Limits | undefined;
    pingIntervalMs: number | undefined;
    epoch: string | undefined;
    seq: number | undefined;
    history: number | undefined;
    recovered: boolean;
    users: string[] | undefined;
    userCount: number | undefined;
    from: string | undefined;
    text: string | undefined;
    timestamp: number | undefined;
    clientMsgId: string | undefined;
    reason: string | undefined;
    active: boolean;
    count: number | undefined;
    hasMore: boolean;
    rooms: {
        id: string;
        userCount: number;
    }[];
    roomCount: number | undefined;
    code: string | undefined;
    message: string | undefined;
    retryAfterMs: number | undefined;
};
export {};
