// What the tests of the page stand on: a real server, a real browser, the people in it, and robots that speak
// to the server without the page and its client. A server or browser that is missing fails the test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';
import { IN_MEMORY, onDisk } from '../storage.js';
import { Issuer } from './tokens.js';

const PATIENCE_MILLIS = 15_000;
const BINARY = process.env.PARLOR_BIN ?? 'target/release/parlor';
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
];

/** What a browser says while the server is away; it looks for the icon of the tab when it likes. */
const LOSSES = [
  /^console: WebSocket connection to '\S+' failed/,
  /^console: Failed to load resource: net::ERR_CONNECTION_REFUSED \(\S+\/icon\.svg\)$/,
];

/** The server's binary, on a port of its own that it keeps when it comes back. */
export class Server {
  #arguments = [];
  #process;
  port = 0;

  static async start(...args) {
    const server = new Server();
    await server.comeBack(args);
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** @param {string[]} [args] what it is told from here on, if it is something else than before */
  async comeBack(args = this.#arguments) {
    this.#arguments = args;
    const { PORT, ...env } = process.env;
    const listen = ['--listen', `127.0.0.1:${this.port}`, '--log', 'warn'];
    this.#process = spawn(BINARY, [...listen, ...this.#arguments], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const died = once(this.#process, 'exit').then(([code, signal]) => {
      throw new Error(`${BINARY} ended with ${code ?? signal} before it listened`);
    });
    const lines = createInterface(this.#process.stdout);
    const [line] = await Promise.race([once(lines, 'line'), died]);
    died.catch(() => {});
    const [, port] = /^parlor listening on http:\/\/127\.0\.0\.1:(\d+)$/.exec(line) ?? assert.fail(line);
    this.port = Number(port);
  }

  /** @param {NodeJS.Signals} signal */
  async end(signal) {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, 'exit');
    this.#process.kill(signal);
    await exit;
  }
}

/** Somebody who speaks the protocol without the page: fills rooms, says what no page would, and listens. */
export class Robot {
  #socket;
  #answered = new Map();
  #asked = 0;
  heard = [];

  /** @param {string} [token] for a server that asks for one */
  static async arrive(server, username, room, token) {
    const robot = new Robot();
    robot.#socket = new WebSocket(`${server.url.replace('http', 'ws')}ws`);
    robot.#socket.on('error', () => {});
    robot.#socket.on('message', (data) => robot.#hear(JSON.parse(data.toString())));
    await once(robot.#socket, 'open');
    if (token !== undefined) await robot.ask({ type: 'hello', protocol: 1, token });
    robot.joined = await robot.ask({ type: 'join', roomId: room, username });
    return robot;
  }

  #hear(frame) {
    this.heard.push(frame);
    this.#answered.get(frame.ref)?.(frame);
    this.#answered.delete(frame.ref);
  }

  /** The answer to a request; an `error` rejects. */
  async ask(request) {
    const ref = String((this.#asked += 1));
    const answer = new Promise((resolve) => this.#answered.set(ref, resolve));
    this.#socket.send(JSON.stringify({ ...request, ref }));
    const frame = await answer;
    assert.notEqual(frame.type, 'error', JSON.stringify(frame));
    return frame;
  }

  say(room, text) {
    return this.ask({ type: 'message', roomId: room, text });
  }

  async typing(room, active = true) {
    this.#socket.send(JSON.stringify({ type: 'typing', roomId: room, active }));
  }

  /** What it heard said in a room, in the order in which it came. */
  texts(room) {
    return this.heard.filter((frame) => frame.type === 'message' && frame.roomId === room).map((frame) => frame.text);
  }

  leave() {
    this.#socket.close(1000);
  }
}

/** A page and the names of what is on it. */
export class Person {
  constructor(page, url) {
    this.page = page;
    this.url = url;
    this.yourName = page.getByRole('textbox', { name: 'Your name', exact: true });
    this.token = page.getByLabel('Token', { exact: true });
    this.changeButton = page.getByRole('button', { name: 'Change', exact: true });
    this.room = page.getByRole('textbox', { name: 'Room', exact: true });
    this.joinButton = page.getByRole('button', { name: 'Join', exact: true });
    this.rooms = page.getByRole('list', { name: 'Rooms', exact: true });
    this.people = page.getByRole('list', { name: 'People', exact: true });
    this.log = page.getByRole('log', { name: 'Messages', exact: true });
    this.message = page.getByRole('textbox', { name: 'Message', exact: true });
    this.sendButton = page.getByRole('button', { name: 'Send', exact: true });
    this.leaveButton = page.getByRole('button', { name: 'Leave', exact: true });
    this.connection = page.getByRole('status', { name: 'Connection', exact: true });
  }

  async arrives() {
    await this.page.goto(this.url);
  }

  /** Into a room, by the form. */
  async joins(room, name) {
    if (await this.#toggle('Rooms').isVisible()) await this.shows(this.rooms);
    if (name !== undefined) await this.yourName.fill(name);
    await this.room.fill(room);
    await this.joinButton.click();
    await this.message.waitFor();
  }

  async says(text) {
    await this.message.fill(text);
    await this.sendButton.click();
  }

  async leaves(room) {
    await this.opens(room);
    await this.leaveButton.click();
  }

  roomEntry(room) {
    return this.rooms.getByRole('listitem').filter({ hasText: room });
  }

  async opens(room) {
    await this.roomButton(room).click();
  }

  roomButton(room) {
    const entry = this.roomEntry(room);
    return entry.getByRole('button').or(entry.getByRole('link')).first();
  }

  personEntry(name) {
    return this.people.getByRole('listitem').filter({ hasText: name });
  }

  /** Those of these names that are in the list of people, as often as they are. */
  async names(known) {
    const entries = await this.people.getByRole('listitem').allInnerTexts();
    return entries.map((entry) => known.find((name) => entry.includes(name)) ?? entry).sort();
  }

  /** Where the list is behind a button, as on a narrow screen: opens it. */
  async shows(list) {
    await this.#toggle(list === this.rooms ? 'Rooms' : 'People').click();
    await list.waitFor();
  }

  async hides(list) {
    await this.page.keyboard.press('Escape');
    await list.waitFor({ state: 'hidden' });
  }

  #toggle(name) {
    return this.page.getByRole('button', { name: new RegExp(`^${name}`) });
  }

  /** Scrolls up until there is nothing older. */
  async scrollsToTheBeginning() {
    await eventually(async () => {
      await this.log.evaluate((log) => (log.scrollTop = 0));
      assert.equal(await this.log.getByText('This is where the room begins').count(), 1);
    });
  }

  async isAtEnd() {
    return this.log.evaluate((log) => log.scrollHeight - log.clientHeight - log.scrollTop <= 4);
  }

  /** The lines of the log that match, in the order in which they stand there, as often as they do. */
  async lines(pattern) {
    const text = await this.log.innerText();
    return text.split('\n').map((line) => line.trim()).filter((line) => pattern.test(line));
  }

  async sees(text) {
    await this.log.getByText(text, { exact: true }).first().waitFor();
  }
}

/** Asks again until the assertion holds, and fails as it failed last. */
export async function eventually(assertion) {
  const end = Date.now() + PATIENCE_MILLIS;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/**
 * Where pictures go: kept by CI, thrown away elsewhere. The one of the README is made by
 * `.ci/page target/page tests/page/browser/access.test.js && cp target/screenshots/light.png assets/page.png`.
 */
export async function picture(page, name) {
  const folder = process.env.PARLOR_SCREENSHOTS ?? (await mkdtemp(path.join(tmpdir(), 'parlor-')));
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`), animations: 'disabled' });
}

let browser;
after(() => browser?.close());

/**
 * A test with a server and a browser of its own making. Nothing on any page may complain, break the content
 * security policy or ask a foreign host.
 * @param {string} name
 * @param {{ server?: string[], losesServer?: boolean, keeps?: boolean, tokens?: boolean }} options what the server
 *   is told; whether it goes away meanwhile; whether it keeps on a disk what is said; whether it asks for tokens
 * @param {(stage: Stage) => Promise<void>} body
 */
export function scenario(name, options, body) {
  test(name, { timeout: 120_000 }, async (t) => {
    browser ??= await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS });
    const storage = options.keeps ? await onDisk(t) : IN_MEMORY;
    const issuer = options.tokens ? await Issuer.begin(t, BINARY) : undefined;
    const stage = new Stage(await Server.start(...storage, ...(issuer?.arguments ?? []), ...(options.server ?? [])), issuer);
    try {
      await body(stage);
      const unexpected = (complaint) => !options.losesServer || !LOSSES.some((loss) => loss.test(complaint));
      assert.deepEqual(stage.complaints.filter(unexpected), []);
    } catch (error) {
      await stage.photographs(name);
      if (stage.complaints.length > 0) console.error(`${name}: the browser says`, stage.complaints);
      throw error;
    } finally {
      await stage.clears();
    }
  });
}

/** What a scenario has to play with. */
class Stage {
  #contexts = [];
  #robots = [];
  complaints = [];

  /** @param {Server} server @param {Issuer} [issuer] of tokens, if the server asks for them */
  constructor(server, issuer) {
    this.server = server;
    this.issuer = issuer;
  }

  /** A fresh profile: what one person's browser remembers. */
  async profile(options = {}) {
    const context = await browser.newContext(options);
    this.#contexts.push(context);
    context.setDefaultTimeout(PATIENCE_MILLIS);
    context.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(`console: ${message.text()} (${message.location().url})`);
    });
    context.on('weberror', (error) => this.complaints.push(`error: ${error.error().stack}`));
    context.on('request', (request) => {
      if (new URL(request.url()).host !== new URL(this.server.url).host) this.complaints.push(`request: ${request.url()}`);
    });
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`content security policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
      });
    });
    return context;
  }

  /** Somebody at the page, in a profile of their own unless one is given. */
  async person({ profile, hash = '', blank = false, ...options } = {}) {
    const context = profile ?? (await this.profile(options));
    const page = await context.newPage();
    page.on('websocket', (socket) => {
      if (new URL(socket.url()).host !== new URL(this.server.url).host) this.complaints.push(`request: ${socket.url()}`);
    });
    const person = new Person(page, this.server.url + hash);
    if (!blank) await person.arrives();
    return person;
  }

  async robot(username, room) {
    const robot = await Robot.arrive(this.server, username, room, await this.issuer?.token(username));
    this.#robots.push(robot);
    return robot;
  }

  async photographs(name) {
    const pages = this.#contexts.flatMap((context) => context.pages());
    await Promise.allSettled(pages.map((page, n) => picture(page, `failed-${name.replace(/\W+/g, '-')}-${n + 1}`)));
  }

  async clears() {
    await Promise.all(this.#contexts.map((context) => context.close()));
    for (const robot of this.#robots) robot.leave();
    await this.server.end('SIGKILL');
  }
}
