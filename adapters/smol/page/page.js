/**
 * The entry: wires the connection, what is known of the rooms, and what is shown. It owns who one is,
 * which client is the present one, and when the page is drawn.
 */

import { ParlorClient, randomId } from './parlor-client.js';
import { Banner } from './banner.js';
import { Composer } from './composer.js';
import { byId, setText } from './elements.js';
import { explain, isAboutName, tokenProblem } from './explain.js';
import { Log } from './log.js';
import { Memory, TOKEN_AT_MOST } from './memory.js';
import { initialsOf, tintOf } from './names.js';
import { Panels } from './panels.js';
import { FAILED_AT_MOST, Rooms, keepsId } from './rooms.js';
import { PeopleList, RoomList, brief } from './sidebar.js';

/** How often the list of open rooms is read again while somebody looks, in milliseconds. */
const LIST_MILLIS = 15_000;

/** Messages asked for at once when one scrolls up: a few screens, half of what the server gives. */
const PAGE = 50;

/** The page is drawn within this time also where the browser draws no frames, as in a hidden tab. */
const DRAW_MILLIS = 250;

const HASH = '#room=';

const memory = new Memory(() => globalThis.localStorage, () => globalThis.sessionStorage);
const rooms = new Rooms();

/**
 * Who one is: a guest of a name, or whoever a token names.
 * @typedef {{ name: string, token?: undefined } | { name?: undefined, token: string }} Identity
 */

/**
 * A client of one identity, and what it told before it became the present one.
 * @typedef {{ client: ParlorClient, identity: Identity, held: [string, any][] }} Session
 */

/** The present one. @type {Session | undefined} */
let session;
/** One that is to become it, if its first join succeeds. @type {Session | undefined} */
let trial;
/** Whether the form has a place for a token. */
let isTokenAsked = false;

const banner = new Banner(() => reconnect());
const panels = new Panels();
const log = new Log({ older: loadOlder, retry: retryMessage, discard: discardMessage, seen: (room) => room.seen() });
const roomList = new RoomList((name) => go(name));
const peopleList = new PeopleList();
const composer = new Composer({ send: sendMessage, typing: showTyping });

const entry = byId('entry');
const nameField = byId('name');
const tokenField = byId('token');
const roomField = byId('room');
const renameButton = byId('rename');

// ---------------------------------------------------------------------------------------------
// The connection

/** What the page does about each event of the client. */
const handlers = {
  state(state) {
    showConnection();
    const problem = problemOf(session);
    if (problem !== undefined) return stranded(problem);
    if (state.state !== 'online') return;
    if (session.identity.token !== undefined) named(session);
    composer.limit = session.client.limits?.text;
    refreshList();
  },
  joined(joined) {
    // A room that was left before the answer came is not one's own any more.
    rooms.find(joined.room)?.joined(joined);
    // Whatever stood in the way does not any more.
    notify('');
    refreshList();
  },
  left({ room: name, code, reason }) {
    const room = rooms.find(name);
    // Without a code it was asked for here, and the room is gone already.
    if (room === undefined || code === undefined) return;
    room.refused(explain({ code, reason }));
    nameRefused({ code, reason });
    refreshList();
  },
  message(message) {
    const room = rooms.find(message.room);
    if (room === undefined) return;
    const news = room.message(message, isLooked(room));
    if (news && room === rooms.current) log.news();
  },
  gap(gap) {
    rooms.find(gap.room)?.gap(gap);
  },
  presence(presence) {
    rooms.find(presence.room)?.people(presence);
  },
  typing({ room: name, users }) {
    const room = rooms.find(name);
    if (room !== undefined) room.typing = users;
  },
  error(error) {
    // That the server goes away, or lets nobody in, is what the state behind it tells.
    if (error.code !== 'SERVER_SHUTDOWN' && error.code !== 'UNAUTHORIZED') notify(explain(error));
  },
};

/**
 * Opens a client. Its events count once it is the present one; until then they are held.
 * @param {Identity} identity
 * @returns {Session}
 */
function open(identity) {
  const { name, token } = identity;
  const options = token === undefined ? { username: name, storage: memory.storage } : { token };
  const client = new ParlorClient(new URL('/ws', location.href), options);
  /** @type {Session} */
  const opened = { client, identity, held: [] };
  for (const type of Object.keys(handlers)) {
    client.on(type, (event) => {
      if (opened === session) handle(type, event);
      else if (opened === trial) {
        opened.held.push([type, event]);
        if (type === 'state') showConnection();
      }
    });
  }
  return opened;
}

function handle(type, event) {
  handlers[type](event);
  draw();
}

/** The name of whoever a session is; empty until the server has read it in the token. @param {Session} one */
function nameOf({ client, identity }) {
  return client.username ?? identity.name ?? '';
}

/** @param {Session | undefined} one */
function isOver(one) {
  return one === undefined || one.client.state.state === 'closed';
}

/** What is wrong with the token of a session. @param {Session | undefined} one @param {string} [code] */
function problemOf(one, code) {
  return one && tokenProblem({ hasToken: one.identity.token !== undefined, state: one.client.state, code });
}

/** The session whose connection matters: one that is over does not, while another is tried. */
function watched() {
  return isOver(session) ? trial ?? session : session;
}

function showConnection() {
  const one = watched();
  if (one === undefined) return banner.none();
  const problem = problemOf(one);
  banner.show(one.client.state, problem && explain({ code: problem }));
}

/** Makes a session the present one, in all the rooms of the one before. @param {Session} next */
function adopt(next) {
  const before = session;
  session = next;
  trial = undefined;
  before?.client.close();
  memory.token = next.identity.token;
  askForToken(false);
  named(next);
  for (const [type, event] of next.held.splice(0)) handle(type, event);
  showConnection();
}

/** Shows which name one has, if it is known. @param {Session} one */
function named(one) {
  const name = nameOf(one);
  if (name !== '') memory.name = nameField.value = name;
  showForm();
}

/**
 * Comes in, or becomes somebody else: a new client joins a room, and only then replaces the one
 * before, so that an identity which is refused costs nothing.
 * @param {Identity} identity @param {string} roomName
 */
async function enter(identity, roomName) {
  trial?.client.close();
  const attempt = trial = open(identity);
  showConnection();
  try {
    await attempt.client.join(roomName, { since: rooms.find(roomName)?.since });
  } catch (error) {
    const problem = problemOf(attempt, error.code);
    attempt.client.close();
    // Another attempt has replaced this one: what became of it is of no interest.
    if (trial !== attempt) return;
    trial = undefined;
    showConnection();
    if (problem !== undefined) return demand(problem, identity);
    refuse(explain(error), error.code === 'INVALID_ROOM_ID' || !isAboutName(error.code) ? roomField : nameField);
    return;
  }
  if (trial !== attempt) return attempt.client.close();
  const others = rooms.own.filter((room) => room.name !== roomName);
  rooms.ensure(roomName);
  adopt(attempt);
  memory.add(roomName);
  for (const room of others) joinAgain(room);
  roomField.value = '';
  panels.close();
  turnTo(rooms.ensure(roomName), { push: true });
}

/** Joins a room one was in before, with the present client. @param {import('./rooms.js').Room} room */
async function joinAgain(room) {
  const { client } = session;
  room.state = 'joining';
  try {
    await client.join(room.name, { since: room.since });
  } catch (error) {
    // A client that was replaced, or a room that was left meanwhile, has nothing to say.
    if (session?.client !== client || rooms.find(room.name) !== room) return;
    room.refused(explain(error));
    nameRefused(error);
  }
  draw();
}

/** What a room refused may be the name, which is the matter of all of them. @param {{ code?: string, reason?: string }} error */
function nameRefused(error) {
  if (!isStranded(error) && isAboutName(error.code)) refuse(explain(error), nameField);
}

/** Whether the present session cannot go on, as this refusal tells. @param {{ code?: string }} error */
function isStranded({ code }) {
  // Why a connection is over, its state has told.
  const problem = isOver(session) ? undefined : problemOf(session, code);
  if (problem !== undefined) stranded(problem);
  return problem !== undefined;
}

/**
 * The present session cannot go on: its token is missing or no good, or there is no use for it. What
 * was said in its rooms stays to be read, and what was not sent stays to be sent, by the next one.
 * @param {string} problem
 */
function stranded(problem) {
  const { client, identity } = session;
  const isWorthReading = rooms.own.some((room) => room.epoch !== undefined);
  if (problem !== 'TOKEN_UNUSED' && isWorthReading) {
    // The banner says why. Who is writing goes on writing.
    forget(identity.token);
    return askForToken(true);
  }
  session = undefined;
  client.close();
  showConnection();
  nameField.value ||= memory.name ?? '';
  roomField.value ||= rooms.current?.name ?? '';
  showScreen();
  demand(problem, identity);
}

/** Asks in the form for what is missing. @param {string} problem @param {Identity} refused */
function demand(problem, { token }) {
  forget(token);
  askForToken(problem !== 'TOKEN_UNUSED');
  const field = isTokenAsked ? tokenField : nameField;
  // A token that is missing is asked for by its field.
  refuse(problem === 'TOKEN_MISSING' ? '' : explain({ code: problem }), field);
  if (panels.isInSight(entry)) field.focus();
}

/** A token that was refused is not tried another time. @param {string | undefined} token */
function forget(token) {
  if (memory.token === token) memory.token = undefined;
}

/** Connects at once, be it with a new client where the server closed the former one for good. */
function reconnect() {
  const one = watched();
  if (!isOver(one)) return one.client.retry();
  if (session === undefined) return;
  if (problemOf(session) !== undefined) {
    panels.show(entry);
    return tokenField.focus();
  }
  const { identity } = session;
  session = undefined;
  adopt(open(identity));
  for (const room of rooms.own) joinAgain(room);
}

/** Reads which rooms are open: one request at a time, and only where somebody could see the answer. */
async function refreshList() {
  const client = session?.client;
  if (client === undefined || client.state.state !== 'online' || document.hidden) return;
  if (refreshList.busy === client) return;
  refreshList.busy = client;
  try {
    rooms.list((await client.rooms()).rooms);
    draw();
  } catch {
    // The next round asks again.
  } finally {
    if (refreshList.busy === client) refreshList.busy = undefined;
  }
}

// ---------------------------------------------------------------------------------------------
// Rooms

/** Goes to a room, and joins it before if need be. @param {string} name */
async function go(name) {
  panels.close();
  const known = rooms.find(name);
  if (known !== undefined) return turnTo(known, { push: true });
  const { client } = session;
  const before = rooms.current;
  const room = rooms.ensure(name);
  turnTo(room, { push: true });
  try {
    await client.join(name);
    memory.add(name);
  } catch (error) {
    if (session?.client !== client || rooms.find(name) !== room || isStranded(error)) return;
    rooms.remove(name);
    if (rooms.current === undefined) turnTo(before ?? rooms.own[0]);
    refuse(explain(error), roomField);
    // Where the form is out of sight, its alert would be, too.
    if (!panels.isInSight(entry)) notify(`${name}: ${explain(error)}`);
  }
  draw();
}

/**
 * Shows a room.
 * @param {import('./rooms.js').Room | undefined} room
 * @param {{ push?: boolean, focus?: boolean }} [how] push: as a step that the browser can go back
 */
function turnTo(room, { push = false, focus = true } = {}) {
  const { current } = rooms;
  if (current !== undefined) current.draft = composer.text;
  rooms.turnTo(room);
  memory.current = room?.name;
  showAddress(room, push);
  showScreen();
  notify('');
  if (room !== undefined) {
    composer.text = room.draft;
    log.show(room);
    if (focus) composer.focus();
  }
  drawNow();
}

async function leave() {
  const room = rooms.current;
  if (room === undefined) return;
  rooms.remove(room.name);
  memory.remove(room.name);
  const { client } = session;
  turnTo(rooms.own[0]);
  if (rooms.current === undefined) roomField.focus();
  try {
    await client.leave(room.name);
  } catch {
    // It is left for this page in any case; the server forgets it with the connection.
  }
  refreshList();
}

/** Keeps the address that of the room. @param {import('./rooms.js').Room | undefined} room @param {boolean} push */
function showAddress(room, push) {
  const hash = room === undefined ? '' : HASH + encodeURIComponent(room.name);
  if (location.hash === hash) return;
  const url = location.pathname + location.search + hash;
  if (push) history.pushState(null, '', url);
  else history.replaceState(null, '', url);
}

/** The room that the address names. @returns {string | undefined} */
function addressedRoom() {
  if (!location.hash.startsWith(HASH)) return undefined;
  try {
    return decodeURIComponent(location.hash.slice(HASH.length)).trim() || undefined;
  } catch {
    return undefined;
  }
}

/** Whether somebody looks at a room. @param {import('./rooms.js').Room} room */
function isLooked(room) {
  return room === rooms.current && !document.hidden;
}

// ---------------------------------------------------------------------------------------------
// Messages

/** @param {string} text @returns {boolean} whether it is on its way */
function sendMessage(text) {
  const room = rooms.current;
  if (room === undefined || room.state === 'out') return false;
  if (room.failedCount >= FAILED_AT_MOST) {
    notify('Too many messages were not sent. Retry or discard some of them first.');
    return false;
  }
  dispatch(room, text, randomId());
  return true;
}

/** Sends, and shows it at once. @param {import('./rooms.js').Room} room @param {string} text @param {string} id */
async function dispatch(room, text, id) {
  const { client } = session;
  room.sending({ id, text, at: Date.now(), as: nameOf(session) });
  drawNow();
  log.toEnd();
  try {
    room.sent(id, await client.send(room.name, text, { clientMsgId: id }));
  } catch (error) {
    room.failed(id, { code: error.code, reason: explain(error) });
  }
  draw();
}

/** @param {import('./rooms.js').Room} room @param {string} id */
function retryMessage(room, id) {
  if (room.state === 'out') return;
  const one = room.take(id);
  if (one === undefined) return;
  dispatch(room, one.text, keepsId(one, nameOf(session)) ? id : randomId());
  composer.focus();
}

/** @param {import('./rooms.js').Room} room @param {string} id */
function discardMessage(room, id) {
  room.take(id);
  drawNow();
  composer.focus();
}

/** @param {import('./rooms.js').Room} room */
async function loadOlder(room) {
  const client = session?.client;
  if (client === undefined || room.older === 'loading') return;
  // Offline, the answer would be long in coming: the next "joined" makes it possible again.
  room.older = 'loading';
  draw();
  const before = room.oldest;
  try {
    room.addOlder(await client.history(room.name, { before, limit: PAGE }), before);
  } catch {
    room.older = 'failed';
  }
  draw();
}

/** @param {boolean} active */
function showTyping(active) {
  const room = rooms.current;
  if (room?.state === 'in') session.client.typing(room.name, active);
}

// ---------------------------------------------------------------------------------------------
// What is said to the one who sits here

/** Says beside the form why something did not go. @param {string} sentence @param {HTMLElement} [field] */
function refuse(sentence, field) {
  setText(byId('entry-alert'), sentence);
  for (const each of [nameField, tokenField, roomField]) each.setAttribute('aria-invalid', String(sentence !== '' && each === field));
  if (sentence === '') return;
  if (panels.isInSight(entry)) field?.focus();
  else notify(sentence);
}

let notice = '';

/** Says something above the log. @param {string} sentence */
function notify(sentence) {
  notice = sentence;
  draw();
}

function typingLine({ typing }) {
  const [one, two] = typing;
  if (typing.length === 0) return [];
  if (typing.length === 1) return [bdi(one), ' is typing…'];
  if (typing.length === 2) return [bdi(one), ' and ', bdi(two), ' are typing…'];
  return ['Several people are typing…'];
}

function bdi(name) {
  const made = document.createElement('bdi');
  made.textContent = name;
  return made;
}

/** Which of the two screens: the form alone, or the chat. */
function showScreen() {
  const inChat = session !== undefined;
  document.body.dataset.screen = inChat ? 'chat' : 'welcome';
  for (const id of ['rooms-section', 'conversation', 'people-panel', 'rooms-toggle', 'people-toggle']) {
    byId(id).hidden = !inChat;
  }
  byId('welcome').hidden = inChat;
  // Alone, the form is what the page is about; beside the log it is not.
  byId('sidebar').setAttribute('role', inChat ? 'complementary' : 'main');
}

let scheduled = false;

/** Draws soon, once for however many events. */
function draw() {
  drawTitle();
  if (scheduled) return;
  scheduled = true;
  const frame = requestAnimationFrame(() => drawNow());
  const timer = setTimeout(() => drawNow(), DRAW_MILLIS);
  draw.cancel = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
}

function drawNow() {
  if (scheduled) draw.cancel();
  scheduled = false;
  const room = rooms.current;
  if (room !== undefined && isLooked(room)) room.looked();
  drawTitle();
  roomList.update(rooms);
  const { unread } = rooms;
  const badge = byId('toggle-unread');
  badge.hidden = unread === 0;
  setText(badge, unread === 0 ? '' : brief(unread));
  peopleList.update(room, session === undefined ? '' : nameOf(session));
  drawRoom(room);
}

function drawTitle() {
  const { unread, current } = rooms;
  const title = `${unread > 0 ? `(${brief(unread)}) ` : ''}${current ? `#${current.name} · ` : ''}Parlor`;
  if (document.title !== title) document.title = title;
}

/** @param {import('./rooms.js').Room | undefined} room */
function drawRoom(room) {
  byId('here').hidden = room === undefined;
  byId('nowhere').hidden = room !== undefined;
  drawNotice(room);
  if (room === undefined) return;
  setText(byId('room-name'), room.name);
  const people = room.userCount === 1 ? '1 person here' : `${room.userCount} people here`;
  setText(byId('room-count'), { joining: 'Joining…', in: people, out: 'Not joined' }[room.state]);
  const line = byId('typing');
  const words = typingLine(room);
  if (line.textContent !== words.map((word) => word.textContent ?? word).join('')) line.replaceChildren(...words);
  log.update();
}

/** @param {import('./rooms.js').Room | undefined} room */
function drawNotice(room) {
  const isOut = room?.state === 'out';
  const text = isOut ? `You are not in this room: ${room.problem}` : notice;
  byId('notice').hidden = text === '';
  setText(byId('notice-text'), text);
  byId('notice-action').hidden = !isOut;
  setText(byId('notice-action'), 'Try again');
  byId('notice-dismiss').hidden = isOut;
}

/** Shows what the form asks for, and the way to become somebody else. */
function showForm() {
  const isBearer = session?.identity.token !== undefined;
  setText(byId('choice'), isTokenAsked ? 'Enter your token and choose a room.' : 'Choose a name and a room.');
  byId('token-row').hidden = !isTokenAsked;
  // Who has a token has the name that is in it; who is to get one needs none.
  byId('name-row').hidden = isTokenAsked && !isBearer;
  nameField.readOnly = isBearer;
  const name = nameField.value.trim();
  const isOther = session !== undefined && name !== '' && name !== nameOf(session);
  renameButton.hidden = isBearer ? problemOf(session) !== undefined : !isOther;
  if (isBearer) renameButton.setAttribute('aria-expanded', String(isTokenAsked));
  else renameButton.removeAttribute('aria-expanded');
  const avatar = byId('own-avatar');
  avatar.hidden = name === '' || session === undefined;
  avatar.className = `avatar tint-${tintOf(name)}`;
  setText(avatar, initialsOf(name));
}

/** Makes a place for a token, an empty one, or takes it away. @param {boolean} asked */
function askForToken(asked) {
  isTokenAsked = asked;
  tokenField.value = '';
  refuse('');
  showForm();
}

// ---------------------------------------------------------------------------------------------
// What the one who sits here does

function submitted() {
  refuse('');
  const identity = isTokenAsked ? tokenOfForm() : nameOfForm();
  if (identity === undefined) return;
  const roomName = roomField.value.trim();
  const isOther = identity !== session?.identity || isOver(session);
  const room = roomName || (isOther ? rooms.current?.name : undefined);
  if (room === undefined) return refuse('Name a room: one that is open, or a new one.', roomField);
  if (isOther) return enter(identity, room);
  roomField.value = '';
  go(room);
}

/** @returns {Identity | undefined} none: the form says why */
function nameOfForm() {
  // The name of a token may not be read yet.
  if (session?.identity.token !== undefined) return session.identity;
  const name = nameField.value.trim();
  if (name === '') return refuse('Choose a name.', nameField);
  return session !== undefined && name === nameOf(session) ? session.identity : { name };
}

/** @returns {Identity | undefined} none: the form says why */
function tokenOfForm() {
  const token = tokenField.value.trim();
  if (token.length > TOKEN_AT_MOST) return refuse('This is too long to be a token.', tokenField);
  if (token !== '') return { token };
  // Who looks for another room need not become somebody else.
  if (!isOver(session) && roomField.value.trim() !== '') return session.identity;
  return refuse('Enter a token.', tokenField);
}

function rename() {
  if (session.identity.token !== undefined) {
    askForToken(!isTokenAsked);
    if (isTokenAsked) tokenField.focus();
    return;
  }
  refuse('');
  const room = rooms.current?.name ?? rooms.own[0]?.name;
  if (room === undefined) refuse('Join a room under your new name.', roomField);
  else enter({ name: nameField.value.trim() }, room);
}

/** Goes where the address points. */
function addressChanged() {
  const name = addressedRoom();
  if (name === undefined || name === rooms.current?.name) return;
  if (session === undefined) roomField.value = name;
  else go(name);
}

entry.addEventListener('submit', (event) => {
  event.preventDefault();
  submitted();
});
nameField.addEventListener('input', showForm);
renameButton.addEventListener('click', rename);
byId('leave').addEventListener('click', () => leave());
byId('notice-dismiss').addEventListener('click', () => {
  notify('');
  composer.focus();
});
byId('notice-action').addEventListener('click', () => {
  if (rooms.current !== undefined) joinAgain(rooms.current);
  composer.focus();
});
addEventListener('hashchange', addressChanged);
addEventListener('online', () => watched()?.client.retry());
addEventListener('beforeunload', (event) => {
  // What is not sent goes with the page.
  if (rooms.hasUnsent) event.preventDefault();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  watched()?.client.retry();
  refreshList();
  drawNow();
});
setInterval(() => {
  refreshList();
  // A new day makes today's messages yesterday's.
  if (!document.hidden) draw();
}, LIST_MILLIS);

/** Comes back to where one was, or asks who one is. */
function begin() {
  const { name, token } = memory;
  const addressed = addressedRoom();
  const remembered = memory.rooms;
  const first = addressed ?? (remembered.includes(memory.current) ? memory.current : remembered[0]);
  const isKnown = token !== undefined || name !== undefined;
  if (!isKnown || first === undefined) return welcome(addressed ?? 'general');
  adopt(open(token === undefined ? { name } : { token }));
  for (const each of remembered) joinAgain(rooms.ensure(each));
  if (remembered.includes(first)) turnTo(rooms.ensure(first));
  else go(first);
}

/** Asks who one is, and where one wants to go. @param {string} room a proposal */
function welcome(room) {
  const { name, token } = memory;
  nameField.value = name ?? '';
  roomField.value = room;
  askForToken(token !== undefined);
  tokenField.value = token ?? '';
  showScreen();
  (token === undefined && name === undefined ? nameField : roomField).focus();
}

begin();
