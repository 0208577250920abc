// By keyboard alone, on a narrow screen, and by the rules of axe-core; the pictures are taken on the way.
import assert from 'node:assert/strict';
import { assertAccessible } from './accessible.js';
import { eventually, picture, scenario } from './parlor.js';

const WIDE = { viewport: { width: 1120, height: 790 } };
/** WCAG 2.2, success criterion 2.5.8. */
const TARGET_PIXELS = 24;
const NARROW = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true };

/** Tab until it has the focus, which must then be seen. */
async function tabTo(person, locator) {
  await locator.waitFor();
  for (let n = 0; n < 50; n += 1) {
    const seen = await locator.evaluate((element) => {
      if (element !== document.activeElement) return undefined;
      const framed = [element, element.parentElement].map((each) => getComputedStyle(each));
      return framed.some(({ outlineStyle, boxShadow }) => outlineStyle !== 'none' || boxShadow !== 'none');
    });
    if (seen !== undefined) return assert.ok(seen, `the focus on ${locator} is seen`);
    await person.page.keyboard.press('Tab');
  }
  assert.fail(`Tab does not lead to ${locator}`);
}

scenario('by keyboard alone', { server: ['--rate', '0'] }, async (stage) => {
  const bob = await stage.robot('Bob', 'general');
  for (let n = 1; n <= 120; n += 1) await bob.say('general', `line ${n}`);
  const alice = await stage.person();
  const { keyboard } = alice.page;

  await tabTo(alice, alice.yourName);
  await keyboard.type('Alice');
  await tabTo(alice, alice.room);
  await keyboard.press('Control+A');
  await keyboard.type('general');
  await keyboard.press('Enter');
  await alice.sees('line 120');

  await tabTo(alice, alice.message);
  await keyboard.type('two');
  await keyboard.press('Shift+Enter');
  await keyboard.type('lines');
  await keyboard.press('Enter');
  await eventually(() => assert.equal(bob.texts('general').at(-1), 'two\nlines'));

  await tabTo(alice, alice.log);
  for (;;) {
    const [first] = await alice.lines(/^line/);
    if (first === 'line 1') break;
    await keyboard.press('Home');
    await eventually(async () => assert.notEqual((await alice.lines(/^line/))[0], first));
  }

  await tabTo(alice, alice.room);
  await keyboard.type('games');
  await keyboard.press('Enter');
  await alice.roomEntry('games').waitFor();
  await tabTo(alice, alice.message);
  await keyboard.type('in games');
  await keyboard.press('Enter');
  await alice.sees('in games');

  await tabTo(alice, alice.roomButton('general'));
  await keyboard.press('Enter');
  await alice.sees('line 120');
  await tabTo(alice, alice.leaveButton);
  await keyboard.press('Enter');
  await eventually(() => assert.ok(bob.heard.some((frame) => frame.type === 'user_left' && frame.username === 'Alice')));
  await alice.sees('in games');
});

scenario('on a narrow screen', {}, async (stage) => {
  const bob = await stage.robot('Bob', 'general');
  const alice = await stage.person(NARROW);
  const assertFits = async () => {
    const wide = await alice.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0, 'nothing to scroll sideways');
    const missed = await alice.page.locator('button:visible, input:visible, textarea:visible').evaluateAll(
      (targets, least) => {
        const { clientWidth } = document.documentElement;
        const isHit = ({ left, right, width, height }) => left >= 0 && right <= clientWidth && width >= least && height >= least;
        return targets.filter((target) => !isHit(target.getBoundingClientRect())).map(({ outerHTML }) => outerHTML);
      },
      TARGET_PIXELS,
    );
    assert.deepEqual(missed, [], 'a finger hits everything');
  };
  await eventually(assertFits);
  await assertAccessible(alice);
  await alice.yourName.fill('Alice');
  await alice.room.fill('general');
  await alice.joinButton.tap();
  await alice.message.waitFor();
  await eventually(assertFits);
  await alice.message.fill('Sent with a finger');
  await alice.sendButton.tap();
  await eventually(() => assert.deepEqual(bob.texts('general'), ['Sent with a finger']));
  await bob.say('general', 'And answered');
  await alice.sees('And answered');
  assert.ok(await alice.isAtEnd());

  for (const list of [alice.rooms, alice.people]) {
    await alice.shows(list);
    await eventually(assertFits);
    await assertAccessible(alice);
    await alice.hides(list);
    assert.ok(await alice.message.isVisible());
  }
  await alice.joins('games');
  await alice.says('In another room');
  await alice.sees('In another room');
  await eventually(assertFits);
});

const NOW = '2026-05-20T14:36:00Z';
const TALK = [
  ['2026-05-18T19:02:00Z', 'Ada', 'Did anybody look at the numbers from last night?'],
  ['2026-05-18T19:03:00Z', 'Grace', '10,000 people in one room, and nobody waited longer than a blink.'],
  ['2026-05-18T19:03:30Z', 'Grace', 'The graphs are at https://example.com/reports/load'],
  ['2026-05-19T09:12:00Z', 'Linus', 'Nice! And what happened at 03:12?'],
  ['2026-05-19T09:14:00Z', 'Ada', 'I pulled the plug. Would anybody lose a message?'],
  ['2026-05-19T09:14:20Z', 'Ada', 'Nobody did 🎉'],
  ['2026-05-20T14:28:00Z', 'مريم', 'مرحبا! أنا هنا أيضًا'],
  ['2026-05-20T14:29:00Z', 'Linus', 'Welcome, مريم! Who writes the release notes?'],
  ['2026-05-20T14:31:00Z', 'Grace', 'I do: https://example.com/notes\n1. it works\n2. it keeps working'],
];

/** The talk took place when it says, and it is NOW. */
async function tellTime(person) {
  await person.page.clock.setFixedTime(NOW);
  await person.page.routeWebSocket(/^ws:/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((data) => {
      const frame = JSON.parse(data);
      if (frame.type === 'message') frame.timestamp = Date.parse(TALK[frame.seq - 1]?.[0] ?? NOW);
      socket.send(JSON.stringify(frame));
    });
  });
}

for (const [name, options] of Object.entries({
  light: { ...WIDE, colorScheme: 'light' },
  dark: { ...WIDE, colorScheme: 'dark' },
  narrow: { ...NARROW, colorScheme: 'light', deviceScaleFactor: 2 },
})) {
  scenario(`a picture: ${name}`, { server: ['--rate', '0'] }, async (stage) => {
    const robots = new Map();
    for (const each of ['Ada', 'Grace', 'Linus', 'مريم']) robots.set(each, await stage.robot(each, 'general'));
    for (const [, from, text] of TALK) await robots.get(from).say('general', text);
    for (const room of ['games', 'music']) await robots.get('Grace').ask({ type: 'join', roomId: room });

    const edsger = await stage.person({ ...options, locale: 'en-GB', timezoneId: 'Europe/London', blank: true });
    await tellTime(edsger);
    await edsger.arrives();
    await edsger.joinButton.waitFor();
    await assertAccessible(edsger);
    await picture(edsger.page, `${name}-first`);
    await edsger.joins('games', 'Edsger');
    await edsger.joins('music');
    await edsger.joins('general');
    await edsger.says('My favourite kind of list.');
    await edsger.sees('My favourite kind of list.');
    for (const text of ['Anybody for a game at noon?', 'Chess?', 'Go!']) await robots.get('Grace').say('games', text);
    for (const day of ['Monday', 'Yesterday', 'Today']) await edsger.log.getByText(day).first().waitFor({ state: 'attached' });
    robots.get('Ada').typing('general');
    await edsger.page.getByText(/Ada is typing/).waitFor();
    await assertAccessible(edsger);
    robots.get('Ada').typing('general');
    await edsger.page.getByText(/Ada is typing/).waitFor();
    await picture(edsger.page, name);
  });
}
