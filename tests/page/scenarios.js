// Conversations worth a name, frame by frame: what the server says is written down here, what the
// client does about it is recorded.

import { Machine } from './vectors.js';

const LIMITS = {
  username: 32, text: 2000, roomId: 64, clientMsgId: 64, frameBytes: 65536, historyPage: 100, replay: 50,
  roomsPerConnection: 100, membersPerRoom: 1000, messagesPerSecond: 10, burst: 20,
};
const OPTIONS = { username: 'Ann', idPrefix: 'ann', seed: 1 };

/** A client, and a pen for what becomes of it. */
class Scenario {
  #machine;
  #now = 1000;
  #calls = 0;
  #asked = [];

  constructor(options) {
    this.lines = [options];
    this.#machine = new Machine(options);
  }

  does(input) {
    const step = this.#machine.step(this.#now, input);
    for (const { do: kind, frame } of step.outputs) if (kind === 'transmit') this.#asked.push(frame);
    this.lines.push(JSON.parse(JSON.stringify({ at: this.#now, input, ...step })));
    return this;
  }

  wait(ms) {
    this.#now += ms;
    return this;
  }

  /** Time passes until something is due, so often. */
  rings(times = 1) {
    for (; times > 0; times -= 1) {
      this.#now = Math.max(this.#now, this.lines.at(-1).deadline);
      this.does({ do: 'tick' });
    }
    return this;
  }

  /** The application calls. */
  calls(kind, fields = {}) {
    return this.does({ do: kind, call: ++this.#calls, ...fields });
  }

  joins(room = 'r', fields = {}) {
    return this.calls('join', { room, ...fields });
  }

  leaves(room = 'r') {
    return this.calls('leave', { room });
  }

  says(text, fields = {}) {
    return this.calls('send', { room: 'r', text, ...fields });
  }

  types(active = true, room = 'r') {
    return this.does({ do: 'typing', room, active });
  }

  /** The server says something that nobody asked for. */
  hears(type, fields) {
    return this.wait(10).does({ do: 'received', frame: { type, ...fields } });
  }

  /** Somebody said something in the room. */
  said(seq, fields = {}) {
    return this.hears('message', { roomId: 'r', from: 'Bob', text: `text ${seq}`, timestamp: 5000 + seq, seq, ...fields });
  }

  /** The server answers the last request of a kind. */
  answers(kind, type, fields = {}) {
    const { ref } = this.#asked.findLast((frame) => frame.type === kind);
    return this.hears(type, { ...fields, ref });
  }

  greeted(fields = {}) {
    return this.answers('hello', 'hello', { protocol: 1, server: 'parlor/0.1.0', resumeToken: 'token-1', time: 1, pingIntervalMs: 25_000, ...fields });
  }

  joined(fields = {}) {
    const last = this.#asked.findLast((frame) => frame.type === 'join');
    const { users = ['Ann'], seq = 0 } = fields;
    return this.answers('join', 'joined', { roomId: last.roomId, users, userCount: users.length, epoch: 'e', seq, recovered: false, history: 0, ...fields });
  }

  /** The acknowledgement of the message on its way. */
  stored(seq) {
    const { text, roomId, clientMsgId } = this.#asked.findLast((frame) => frame.type === 'message');
    return this.answers('message', 'message', { roomId, from: 'Ann', text, timestamp: 5000 + seq, seq, clientMsgId });
  }

  refused(kind, code, fields = {}) {
    return this.answers(kind, 'error', { code, message: `It is ${code}.`, ...fields });
  }

  opens(fields = {}) {
    return this.wait(10).does({ do: 'opened', ...fields });
  }

  breaks(code = 1006, reason = '') {
    return this.wait(10).does({ do: 'closed', code, reason });
  }

  connects() {
    return this.does({ do: 'connect' });
  }

  online() {
    return this.connects().opens().greeted();
  }

  /** Online, and in the room. */
  member(fields) {
    return this.online().joins().joined(fields);
  }

  /** The connection breaks, and another one is there. */
  reconnects(fields) {
    return this.breaks().rings().opens().greeted(fields);
  }

  closes() {
    return this.does({ do: 'close' });
  }
}

const ALL = {
  'first-join-and-replay': (c) =>
    c.connects().joins('r', { history: 2 }).opens().greeted({ limits: LIMITS }).joined({ users: ['Bob', 'Ann'], seq: 7, history: 2 }).said(6).said(7).said(8).says('Hello!').stored(9).closes(),
  'join-from-a-position': (c) => c.online().joins('r', { since: { epoch: 'e', seq: 5 } }).joined({ seq: 6, recovered: true, history: 1 }).said(6).joins().closes(),
  'reconnect-and-recovered': (c) => c.member().said(1).reconnects().joined({ seq: 3, recovered: true, history: 2 }).said(2).said(3).said(4).closes(),
  'reconnect-with-a-gap': (c) => c.member().said(1).reconnects().joined({ seq: 400, history: 2 }).said(399).said(400).closes(),
  'reconnect-not-recovered-and-nothing-missed': (c) => c.member().said(1).said(2).reconnects().joined({ seq: 3, history: 3 }).said(1).said(2).said(3).closes(),
  'a-new-epoch': (c) => c.member().said(1).reconnects().joined({ epoch: 'f', seq: 2, history: 2 }).said(1).said(2).closes(),
  'a-log-that-went-back': (c) => c.member({ seq: 9 }).reconnects().joined({ seq: 3, history: 3 }).said(1).closes(),
  'a-lost-answer-is-found-in-the-replay': (c) =>
    c.member().says('first').says('second').reconnects().joined({ seq: 1, recovered: true, history: 1 }).said(1, { from: 'Ann', text: 'first', clientMsgId: 'ann-1' }).stored(2).closes(),
  'a-lost-message-is-sent-again': (c) =>
    c.member().says('first', { clientMsgId: 'my own id' }).reconnects().joined({ seq: 1, recovered: true, history: 1 }).said(1).stored(2).closes(),
  'a-lost-message-is-sent-into-a-new-epoch': (c) => c.member({ seq: 4 }).says('first').reconnects().joined({ epoch: 'f' }).stored(1).closes(),
  'outcome-unknown': (c) =>
    c.member().says('first').says('second').reconnects().joined({ seq: 900, history: 1 }).said(900).stored(901).says('third').leaves().breaks().closes(),
  'rate-limited': (c) => c.member().says('first').refused('message', 'RATE_LIMITED', { retryAfterMs: 250 }).says('second').rings().stored(1).stored(2).closes(),
  'rate-limited-for-a-silly-time': (c) => c.member().says('first').refused('message', 'RATE_LIMITED', { retryAfterMs: 1e15 }).rings().refused('message', 'RATE_LIMITED').rings().stored(1).closes(),
  'rate-limited-unread': (c) =>
    c.online().joins().hears('error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 100 }).rings().joined().calls('users', { room: 'r' }).says('first')
      .hears('error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 100 }).rings().closes(),
  'rate-limited-unread-while-typing': (c) => c.member().types().hears('error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 100 }).types(false).rings().answers('ping', 'pong', { time: 2 }).closes(),
  'a-short-wait-behind-a-long-one': (c) =>
    c.online().joins().calls('rooms').refused('join', 'RATE_LIMITED', { roomId: 'r', retryAfterMs: 400 }).hears('error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 70 }).rings().joined().closes(),
  'joined-again-while-nobody-listened': (c) =>
    c.online().joins('r', { since: { epoch: 'd', seq: 10 } }).leaves().joined({ seq: 4, history: 4 }).said(1).refused('leave', 'RATE_LIMITED', { roomId: 'r', retryAfterMs: 100 })
      .joins('r', { since: { epoch: 'd', seq: 10 } }).said(5).rings().joined({ seq: 5, history: 5 }).said(1).said(2).closes(),
  'news-before-one-is-in-again': (c) =>
    c.member().leaves().refused('leave', 'RATE_LIMITED', { roomId: 'r', retryAfterMs: 100 }).joins().said(1).hears('user_joined', { roomId: 'r', username: 'Bob' }).rings().joined({ seq: 1, recovered: true, history: 1, users: ['Ann', 'Bob'] }).said(1).closes(),
  'an-answer-tells-what-was-refused-before-it': (c) =>
    c.online().joins('r').joins('s').joined().calls('rooms').calls('users', { room: 's' }).answers('list_users', 'user_list', { roomId: 's', users: ['Ann'], userCount: 1 }).closes(),
  'hello-refused-unread': (c) => c.connects().opens().hears('error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 100 }).rings().closes(),
  'hello-refused': (c) => c.connects().opens({ token: 'old' }).refused('hello', 'UNAUTHORIZED').breaks(4500, 'unauthorized').joins(),
  'name-taken': (c) => c.online().joins().joins('s').refused('join', 'USERNAME_TAKEN', { roomId: 's' }).closes(),
  'name-taken-by-another-tab': [
    { shares: true },
    (c) => c.online().joins().refused('join', 'USERNAME_TAKEN', { roomId: 'r' }).does({ do: 'remembered', resumeToken: 'token-9' }).rings().greeted({ resumeToken: 'token-9', username: 'Ann' }).joined().closes(),
  ],
  'name-taken-on-a-connection-that-broke': [
    { shares: true },
    (c) =>
      c.connects().opens().greeted({ resumeToken: undefined }).joins().refused('join', 'USERNAME_TAKEN').breaks().rings().opens().does({ do: 'remembered', resumeToken: 'token-9' })
        .greeted({ resumeToken: undefined }).joined().closes(),
  ],
  'unread-on-a-connection-that-broke': (c) => c.member().types().hears('error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 100 }).reconnects().closes(),
  'name-taken-by-somebody-else': [{ shares: true }, (c) => c.online().joins().refused('join', 'USERNAME_TAKEN').rings().refused('join', 'USERNAME_TAKEN').closes()],
  'name-taken-by-our-own-ghost': (c) =>
    c.member().says('first').breaks().rings().opens().greeted({ resumeToken: 'token-2' }).refused('join', 'USERNAME_TAKEN', { roomId: 'r' }).rings().refused('join', 'USERNAME_TAKEN', { roomId: 'r' }).rings()
      .joined({ recovered: true }).stored(1).closes(),
  'resume-token-of-before': [{ resumeToken: 'token-0', shares: true }, (c) => c.online().joins().joined().does({ do: 'remembered', resumeToken: 'token-1' }).reconnects({ username: 'Ann' }).joined({ recovered: true }).closes()],
  'resume-token-dead': [
    { resumeToken: 'token-0', shares: true },
    (c) => c.does({ do: 'remembered', resumeToken: 'token-8' }).connects().opens().greeted().greeted({ resumeToken: 'token-2' }).joins().joined().closes(),
  ],
  'resume-token-that-others-know-better': [
    { shares: true },
    (c) =>
      c.does({ do: 'remembered', resumeToken: 'token-1' }).connects().opens().does({ do: 'remembered', resumeToken: 'token-2' }).greeted({ resumeToken: 'token-1', username: 'Ann' }).breaks(1012, 'restart').rings()
        .opens().greeted({ resumeToken: 'token-3' }).greeted({ resumeToken: 'token-2', username: 'Ann' }).joins().joined().closes(),
  ],
  'history-page': (c) =>
    c.member({ seq: 9 }).calls('history', { room: 'r', before: 9, limit: 2 }).said(3).said(7).said(10).said(8).answers('get_history', 'history', { roomId: 'r', epoch: 'e', count: 2, hasMore: true })
      .calls('history', { room: 'r' }).answers('get_history', 'history', { roomId: 'r', epoch: 'e', count: 0, hasMore: false }).calls('history', { room: 'r' }).refused('get_history', 'HISTORY_FETCH_FAILED', { roomId: 'r', retryAfterMs: 9 }).closes(),
  'history-waits-for-the-room': (c) => c.online().joins().calls('history', { room: 'r', limit: 1 }).joined().breaks().rings().opens().greeted().joined({ recovered: true }).leaves().answers('leave', 'left', { roomId: 'r' }).closes(),
  'history-of-a-room-that-is-left': (c) => c.online().joins().calls('history', { room: 'r' }).leaves().joined().answers('leave', 'left', { roomId: 'r' }).calls('history', { room: 'r' }).closes(),
  'rooms-and-users': (c) =>
    c.online().calls('rooms').calls('rooms', { after: 'r' }).calls('users', { room: 'r' }).answers('list_users', 'user_list', { roomId: 'r', users: ['Bob'], userCount: 1 })
      .answers('list_rooms', 'room_list', { rooms: [{ id: 's', userCount: 3 }], roomCount: 2 }).answers('list_rooms', 'room_list', { rooms: [], roomCount: 2 }).closes(),
  'typing': (c) =>
    c.types().member({ users: ['Bob', 'Ann'] }).types().wait(2000).types().wait(1000).types().types(false).types(false).hears('typing', { roomId: 'r', username: 'Bob', active: true })
      .hears('typing', { roomId: 'r', username: 'Ann', active: true }).hears('typing', { roomId: 'r', username: 'Eve', active: true }).hears('typing', { roomId: 'r', username: 'Bob', active: false }).rings()
      .hears('typing', { roomId: 'r', username: 'Bob', active: true }).said(1).hears('typing', { roomId: 'r', username: 'Bob', active: true }).types().says('done').types().breaks().closes(),
  'presence': (c) =>
    c.member({ users: ['Bob', 'Ann'] }).hears('user_joined', { roomId: 'r', username: 'Eve' }).hears('user_joined', { roomId: 'r', username: 'Eve' }).hears('typing', { roomId: 'r', username: 'Bob', active: true })
      .hears('user_left', { roomId: 'r', username: 'Bob', reason: 'timeout' }).hears('user_left', { roomId: 'r', username: 'nobody' }).hears('user_left', { roomId: 's', username: 'Eve', reason: 'left' }).joins().closes(),
  'pings-and-a-silent-server': (c) => c.online().rings().answers('ping', 'pong', { time: 9 }).rings(3).opens().rings().closes(),
  'a-clock-that-slept': (c) => c.online().rings().wait(600_000).does({ do: 'tick' }).answers('ping', 'pong', { time: 9 }).rings().wait(600_000).does({ do: 'tick' }).wait(600_000).does({ do: 'tick' }).closes(),
  'retry': (c) => c.connects().does({ do: 'retry' }).breaks().does({ do: 'retry' }).opens().greeted().does({ do: 'retry' }).does({ do: 'retry' }).rings().closes(),
  'a-server-that-wants-more-pings': [{ pingIntervalMs: 20_000 }, (c) => c.connects().opens().greeted({ pingIntervalMs: 700 }).rings().answers('ping', 'pong').closes()],
  'a-server-that-nobody-answers-for': [{ connectTimeoutMs: 500, backoff: { baseMs: 100, capMs: 300 } }, (c) => c.connects().rings(9).breaks().rings().breaks(undefined, 'cannot connect').closes()],
  'a-backoff-of-nothing': [{ backoff: { baseMs: 0, capMs: 0 } }, (c) => c.connects().breaks().rings().breaks().rings().closes()],
  'server-shutdown': (c) =>
    c.member().wait(6000).hears('error', { code: 'SERVER_SHUTDOWN', message: 'Reconnect.', retryAfterMs: 1234 }).breaks(1001, 'going away').rings().opens().greeted().joined({ recovered: true })
      .hears('error', { code: 'SERVER_SHUTDOWN', message: 'Reconnect.', retryAfterMs: 1e12 }).breaks(1001, 'going away').rings().breaks().rings().closes(),
  'closed-for-ever': (c) => c.member().says('first').says('second').joins('s').calls('users', { room: 'r' }).calls('history', { room: 's' }).leaves().breaks(4502, 'internal error').rings().joins().does({ do: 'retry' }),
  'closed-and-to-return': (c) => c.member().breaks(4000, 'slow').rings().breaks(4499).rings().breaks(5000).rings().breaks(4999, 'the end'),
  'close-with-calls-open': (c) =>
    c.connects().joins().says('first').opens().greeted().joined().says('second').calls('rooms').calls('users', { room: 'r' }).joins('s').calls('history', { room: 's' }).leaves('r').closes().closes()
      .joins().leaves().says('third').calls('rooms').types().does({ do: 'retry' }).does({ do: 'connect' }).opens().breaks().hears('pong').does({ do: 'tick' }),
  'queue-full': [
    { maxPending: 2 },
    (c) => c.joins('r').joins('s').joins('t').says('1').says('2').says('3').calls('rooms').calls('users', { room: 'r' }).calls('rooms').online().joined().closes(),
  ],
  'in-flight-is-bounded': [{}, (c) => {
    c.online();
    for (let index = 0; index < 23; index += 1) c.joins(`room ${index}`);
    return c.calls('rooms').refused('join', 'FORBIDDEN').closes();
  }],
  'bad-arguments': (c) =>
    c.joins('').joins('r'.repeat(65)).joins('🙂'.repeat(64)).joins('🙂'.repeat(65)).leaves('nowhere').says('').says('t'.repeat(2001), { room: '🙂'.repeat(64) }).says('x', { room: 's' })
      .says('x', { room: '🙂'.repeat(64), clientMsgId: '' }).says('x', { room: '🙂'.repeat(64), clientMsgId: 'é' }).says('x', { room: '🙂'.repeat(64), clientMsgId: 'i'.repeat(65) }).calls('rooms', { after: '' })
      .calls('users', { room: '' }).calls('history', { room: '' }).calls('history', { room: 's' }).calls('history', { room: '🙂'.repeat(64), limit: 0 })
      .calls('history', { room: '🙂'.repeat(64), before: 2 ** 53 }).calls('history', { room: '🙂'.repeat(64), limit: 2 ** 53 }).closes(),
  'a-bad-name': [{ username: 'n'.repeat(33) }, (c) => c.joins().online().closes()],
  'lengths-of-the-server': (c) => c.connects().opens().greeted({ limits: { text: 3, roomId: 2, username: 3, historyPage: 'many', burst: 2 ** 32 } }).joins('room').joins().joined().says('long').says('ok').closes(),
  'leave': (c) => c.member().says('first').says('second').leaves().says('third').stored(1).answers('leave', 'left', { roomId: 'r' }).leaves().closes(),
  'leave-and-join-again': (c) => c.member().leaves().joins('r', { history: 0 }).answers('leave', 'left', { roomId: 'r' }).joined().said(1).leaves().breaks().closes(),
  'leave-before-it-is-asked-for': (c) => c.member().says('first').leaves().joins().said(1).stored(2).joined({ seq: 2, recovered: true, history: 2 }).said(1).said(2).closes(),
  'leave-while-joining': (c) => c.online().joins().leaves().joined().answers('leave', 'left', { roomId: 'r' }).joins('s').leaves('s').refused('join', 'ROOM_FULL').closes(),
  'leave-and-join-again-unheard': (c) =>
    c.member().said(1).reconnects().leaves().hears('error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 1000 }).rings().joins().joined({ seq: 1, recovered: true }).said(2)
      .reconnects().says('first').hears('typing', { roomId: 'r', username: 'Bob', active: true }).leaves().joined({ seq: 90, history: 1 }).joins().answers('leave', 'error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 9 })
      .rings().joined({ seq: 91, history: 1 }).said(91).closes(),
  'leave-and-join-again-before-it-is-heard': (c) =>
    c.online().calls('rooms').joins().leaves().refused('list_rooms', 'RATE_LIMITED', { retryAfterMs: 500 }).joined().joins().joins().said(1).hears('user_joined', { roomId: 'r', username: 'Bob' })
      .rings().joined({ seq: 1, recovered: true, history: 1 }).said(1).closes(),
  'typists-of-a-stay-that-is-over': (c) =>
    c.member().hears('typing', { roomId: 'r', username: 'Bob', active: true }).leaves().joins().answers('leave', 'left', { roomId: 'r' }).wait(7000).does({ do: 'tick' }).joined().closes(),
  'leave-refused': (c) => c.member().leaves().refused('leave', 'RATE_LIMITED', { retryAfterMs: 50 }).rings().refused('leave', 'NOT_IN_ROOM').closes(),
  'put-out': (c) => c.member().says('first').says('second').calls('history', { room: 'r' }).hears('left', { roomId: 'r', reason: 'forbidden' }).refused('message', 'NOT_IN_ROOM').closes(),
  'put-out-while-catching-up': (c) =>
    c.member().said(2).hears('left', { roomId: 'r', reason: 'forbidden' }).joins().hears('joined', { roomId: 'r', users: ['Ann'], userCount: 1, epoch: 'e', seq: 2, recovered: true, history: 2, ref: '3' })
      .rings().opens().greeted().joined({ seq: 2 }).closes(),
  'put-out-and-refused': (c) => c.member().said(2).hears('left', { roomId: 'r', reason: 'forbidden' }).joins().calls('history', { room: 'r' }).hears('error', { code: 'FORBIDDEN', message: 'Ask.', ref: '3' }).joined().closes(),
  'put-out-and-unheard': (c) => c.member().says('first').leaves().joins('s').joined().hears('left', { roomId: 'r' }).hears('left', { roomId: 's', reason: 'forbidden' }).closes(),
  'a-message-is-missing': (c) => c.member().said(1).said(3).said(4).joined({ seq: 4, recovered: true, history: 3 }).said(2).said(3).said(4).said(4).closes(),
  'catching-up-is-refused': (c) => c.member().said(2).refused('join', 'STORE_UNAVAILABLE', { roomId: 'r', retryAfterMs: 100 }).rings().joined({ seq: 2, recovered: true, history: 2 }).said(1).said(2).closes(),
  'join-refused': (c) => c.online().joins().joins().refused('join', 'ROOM_FULL', { roomId: 'r' }).joins().refused('join', 'STORE_UNAVAILABLE', { roomId: 'r' }).rings().refused('join', 'NO_SUCH_CODE').closes(),
  'rejoin-refused': (c) => c.member().says('first').reconnects().refused('join', 'ROOM_FULL', { roomId: 'r' }).rings().refused('join', 'FORBIDDEN', { roomId: 'r' }).closes(),
  'rejoin-meets-a-full-server': (c) => c.member().reconnects().refused('join', 'SERVER_FULL', { roomId: 'r' }).rings().joined({ recovered: true }).closes(),
  'patience-begins-anew': (c) =>
    c.online().joins().refused('join', 'STORE_UNAVAILABLE').rings().refused('join', 'STORE_UNAVAILABLE').rings().joined().says('first').refused('message', 'STORE_UNAVAILABLE').rings()
      .refused('message', 'STORE_UNAVAILABLE').rings().refused('message', 'STORE_UNAVAILABLE').rings().stored(1).says('second').refused('message', 'STORE_UNAVAILABLE').rings().closes(),
  'patience-about-a-name-begins-anew': (c) =>
    c.member().reconnects().refused('join', 'USERNAME_TAKEN').rings().refused('join', 'USERNAME_TAKEN').rings().refused('join', 'USERNAME_TAKEN').rings().joined().reconnects().refused('join', 'USERNAME_TAKEN').closes(),
  'a-lost-message-that-was-refused-is-not-stored': (c) =>
    c.member().says('first').reconnects().joined({ recovered: true }).refused('message', 'RATE_LIMITED', { retryAfterMs: 50 }).leaves().rings().answers('leave', 'left', { roomId: 'r' })
      .joins().joined().says('second').reconnects().joined({ recovered: true }).refused('message', 'STORE_UNAVAILABLE', { retryAfterMs: 50 }).leaves().closes(),
  'a-lost-message-that-was-refused-unread-may-be-stored': (c) =>
    c.member().says('first').reconnects().joined({ recovered: true }).hears('error', { code: 'RATE_LIMITED', message: 'Wait.', retryAfterMs: 50 }).leaves().closes(),
  'message-refused': (c) =>
    c.member().says('first').refused('message', 'STORE_UNAVAILABLE', { roomId: 'r', clientMsgId: 'ann-1', retryAfterMs: 2000 }).rings().refused('message', 'STORE_UNAVAILABLE').rings()
      .refused('message', 'DUPLICATE_ID', { roomId: 'r', clientMsgId: 'ann-1' }).says('second').refused('message', 'NOT_IN_ROOM', { roomId: 'r' }).rings().joined({ recovered: true }).stored(1).closes(),
  'types-of-a-later-server': (c) => c.member().hears('moon', { roomId: 'r' }).answers('join', 'moon').hears('error', { code: 'TOO_MOONY', message: 'Look up.' }).says('first').answers('message', 'moon').stored(1).closes(),
  'frames-that-are-none': (c) => {
    c.member();
    for (const text of ['', 'nonsense', '[]', 'null', '5', '"text"', '{} {}', '\ufeff{}', '{"type":5}', '{"type":"toString"}', '{"ref":"1"}', ' {"type":"pong"}\n']) c.does({ do: 'received', text });
    return c.closes();
  },
  'fields-that-are-none': (c) => {
    c.member();
    const frames = [
      { type: 'message', roomId: 'r', from: 'Bob', text: 'x', timestamp: 1, seq: '1' }, { type: 'message', roomId: 'r', from: 5, text: 'x', timestamp: 1, seq: 1 },
      { type: 'message', roomId: 'r', from: 'Bob', timestamp: 1, seq: 1 }, { type: 'message', roomId: 'r', from: 'Bob', text: 'x', seq: 1 }, { type: 'message', roomId: 'r', from: 'Bob', text: 'x', timestamp: 1, seq: 1.5 },
      { type: 'message', roomId: ['r'], from: 'Bob', text: 'x', timestamp: 1, seq: 1 }, { type: 'message', roomId: 'r', from: 'Bob', text: 'x', timestamp: 1, seq: 1, clientMsgId: 7 },
      { type: 'typing', roomId: 'r', username: 'Bob', active: 'yes' }, { type: 'typing', roomId: 'r', username: null, active: true }, { type: 'user_joined', roomId: 'r' },
      { type: 'user_left', roomId: 'r', username: 'Bob', reason: 4 }, { type: 'error' }, { type: 'error', code: 7, message: [], retryAfterMs: -1, ref: 9 }, { type: 'pong', ref: '' }, { type: 'left' }, { type: 'left', roomId: 'r', ref: 'x' },
    ];
    for (const frame of frames) c.does({ do: 'received', frame });
    return c.hears('left', { roomId: 'r', ref: null }).closes();
  },
  'lists-that-are-none': (c) =>
    c.online().calls('rooms').answers('list_rooms', 'room_list', { rooms: [{ id: 's', userCount: 1 }, { id: 's' }, 5, null, [], { id: 1, userCount: 1 }] }).calls('users', { room: 'r' })
      .answers('list_users', 'user_list', { users: ['Bob', 5, null], userCount: 'many' }).joins().joined({ users: ['Ann', {}], userCount: -1 }).calls('history', { room: 'r' }).answers('get_history', 'history', { count: 'all' }).closes(),
  'joined-that-is-not-understood': (c) => {
    c.online().joins();
    for (const fields of [{ seq: 'x' }, { history: null }, { epoch: 5 }, { users: 'Ann' }, { seq: 1, history: 2 }]) c.joined(fields).rings().opens().greeted();
    return c.joined().closes();
  },
  'hello-without-sense': (c) => c.connects().opens().answers('hello', 'hello', { limits: [], pingIntervalMs: 0, server: {}, resumeToken: 5, username: 7 }).joins().joined().closes(),
  'answers-that-do-not-fit': (c) => {
    c.member().calls('rooms').answers('list_rooms', 'pong').rings().opens().greeted().joined({ recovered: true }).answers('list_rooms', 'room_list', { rooms: [], roomCount: 0 });
    c.says('first').answers('message', 'left', { roomId: 'r' }).rings().opens().greeted().joined({ recovered: true }).answers('message', 'message', { roomId: 'r', seq: 1 });
    c.rings().opens().greeted().joined({ recovered: true }).answers('message', 'message', { roomId: 's', from: 'Ann', text: 'first', timestamp: 1, seq: 1 });
    return c.rings().opens().greeted().joined({ recovered: true }).stored(1).leaves().answers('leave', 'hello').closes();
  },
};

/** Every scenario: {name, lines}. */
export function scenarios() {
  return Object.entries(ALL).map(([name, given]) => {
    const [options, play] = typeof given === 'function' ? [{}, given] : given;
    const scenario = new Scenario({ ...OPTIONS, ...options });
    play(scenario);
    return { name, lines: scenario.lines };
  });
}
