// Text from others is only ever text.
import assert from 'node:assert/strict';
import { eventually, scenario } from './parlor.js';

// Whatever of this becomes markup is an element of class "planted" or one with a handler, and sets `planted`.
const TEXTS = [
  '<script>planted = 1</script>',
  '<img class=planted src=x onerror="planted = 1">',
  '<svg class=planted onload="planted = 1"><style>*{display:none}</style>',
  '</p></div></section><h1 class=planted>Mine</h1><!--',
  '<iframe class=planted srcdoc="<script>parent.planted = 1</script>"></iframe>',
  '&lt;b class=planted&gt;bold?&lt;/b&gt; &amp;amp; &#60;',
  '{{planted = 1}} ${planted = 1} %3Cimg%3E \\u003cimg\\u003e',
  'javascript:planted=1',
  'JaVaScRiPt://example.com/%0Aplanted=1',
  'data:text/html,<script>planted=1</script>',
  'https://example.com/"><img class=planted src=x onerror=planted=1>',
  "https://example.com/'onmouseover='planted=1",
  'see https://example.com/a(b)?c=d&e=f#g, and <http://127.0.0.1:1/>.',
  'https://user:secret@example.com/ https://exa\u202Emple.com/ https:// http://[::1 https://%zz',
  '\u202Eright to left, and never back',
  '\u2067\u2067\u202D isolates that nobody closes',
  'שלום עליכם and مرحبا بالعالم',
  'zero\u200Bwidth\u200D\u2060\uFEFF, \u00ADsoft',
  '\u200B',
  '   ',
  '  two  spaces,\ta tab,\nnew\n\n\nlines  ',
  'Z\u0351\u036B\u0343\u036A\u0302\u036B\u033D\u034F\u0334\u0319\u0324\u031E\u0349\u035A\u032F\u031E\u0320\u034DA'.repeat(20),
  '👩‍👩‍👧‍👦'.repeat(100),
  'w'.repeat(2000),
  `https://example.com/${'w'.repeat(1980)}`,
  '﷽'.repeat(2000),
  '<'.repeat(2000),
  '\n'.repeat(1999) + '.',
  '__proto__',
  'line\u2028separator\u2029and\u0000nul\u001B[31m',
];
const NAMES = [
  '<img src=x onerror=planted=1>',
  '<script>planted=1</script>',
  '"><b class=planted>',
  '__proto__',
  'constructor',
  'مرحبا',
  'W'.repeat(32),
  '﷽'.repeat(32),
];
const ROOMS = [...NAMES, '../..', 'a&room=b#c%20', '#', 'W'.repeat(64), '﷽'.repeat(64)];

const boxes = async ({ log, message, sendButton }) =>
  Promise.all([log, message, sendButton].map((each) => each.boundingBox()));

async function assertUnharmed(person) {
  const harm = await person.page.evaluate(() => ({
    ran: globalThis.planted,
    elements: [
      ...document.querySelectorAll('.planted, iframe, [onerror], [onload], [onmouseover]'),
      ...document.querySelectorAll(':is([role=log], [role=list]) :is(img, svg, script, style, h1, b)'),
    ].length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    wideLog: (({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('[role=log]')),
  }));
  assert.deepEqual(harm, { ran: undefined, elements: 0, wide: 0, wideLog: 0 });
}

/** How many elements of the log hold exactly this text and no more. */
const holding = (person, text) =>
  person.log.evaluate((log, text) => {
    const whole = [...log.querySelectorAll('*')].filter((element) => element.textContent === text);
    return whole.filter((element) => !whole.some((other) => other !== element && element.contains(other))).length;
  }, text);

/** Those of the texts that stand, in part, where nobody can read them. */
const cutOff = (person, texts) =>
  person.log.evaluate((log, texts) => {
    const { left, right } = log.getBoundingClientRect();
    const holders = [...log.querySelectorAll('*')].filter(({ textContent }) => texts.includes(textContent));
    const outside = holders.filter((element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      const box = range.getBoundingClientRect();
      return box.left < left || box.right > right;
    });
    return outside.map(({ textContent }) => textContent.slice(0, 40));
  }, texts);

for (const viewport of [{ width: 1280, height: 720 }, { width: 360, height: 640 }]) {
  scenario(`hostile texts, ${viewport.width} wide`, { server: ['--rate', '0'] }, async (stage) => {
    const alice = await stage.person({ viewport });
    await alice.joins('general', 'Alice');
    const mallory = await stage.robot('Mallory', 'general');
    await mallory.say('general', 'As it was');
    await alice.sees('As it was');
    const before = await boxes(alice);
    for (const text of TEXTS) {
      await mallory.say('general', text);
      await eventually(async () => assert.equal(await holding(alice, text), 1, JSON.stringify(text.slice(0, 80))));
    }
    await assertUnharmed(alice);
    assert.deepEqual(await boxes(alice), before);
    assert.deepEqual(await cutOff(alice, TEXTS), []);

    const links = await alice.log.locator('a').evaluateAll((links) =>
      links.map(({ href, rel, target, textContent }) => ({ href, rel, target, textContent })),
    );
    assert.ok(links.length >= 4, 'some of it is links');
    for (const { href, rel, textContent } of links) {
      assert.match(href, /^https?:\/\//);
      assert.match(rel, /\bnoopener\b/);
      assert.ok(TEXTS.some((text) => text.includes(textContent)), 'a link says what was said');
      assert.equal(new URL(textContent).href, href, 'a link leads where it says');
    }

    await alice.page.reload();
    for (const text of TEXTS.slice(-3)) {
      await eventually(async () => assert.equal(await holding(alice, text), 1, JSON.stringify(text.slice(0, 80))));
    }
    await assertUnharmed(alice);
  });
}

scenario('hostile names', { server: ['--rate', '0'] }, async (stage) => {
  const alice = await stage.person();
  await alice.joins('general', 'Alice');
  for (const [n, name] of NAMES.entries()) {
    const mallory = await stage.robot(name, 'general');
    await mallory.say('general', `message ${n}`);
    mallory.typing('general');
    await alice.sees(`message ${n}`);
    await eventually(async () => assert.equal(await holding(alice, name), 1, name));
    await eventually(async () => assert.ok((await alice.names([name])).includes(name), name));
  }
  assert.equal(await alice.people.getByRole('listitem').count(), NAMES.length + 1);
  await assertUnharmed(alice);
});

scenario('hostile rooms', { server: ['--rate', '0'] }, async (stage) => {
  const [alice, mallory] = [await stage.person(), await stage.person()];
  await alice.joins('general', 'Alice');
  await mallory.joins('general', NAMES[0]);
  for (const room of ROOMS) {
    await mallory.joins(room);
    await mallory.says(`said in ${room.slice(0, 40)}`);
    await mallory.sees(`said in ${room.slice(0, 40)}`);
    // By the address that the one sends to the other.
    await alice.page.goto(mallory.page.url());
    await alice.sees(`said in ${room.slice(0, 40)}`);
    await alice.says(`heard in ${room.slice(0, 40)}`);
    await mallory.sees(`heard in ${room.slice(0, 40)}`);
  }
  for (const person of [alice, mallory]) {
    await person.page.reload();
    await person.message.waitFor();
    await eventually(async () => assert.equal(await person.rooms.getByRole('listitem').count(), ROOMS.length + 1));
    await assertUnharmed(person);
  }
});
