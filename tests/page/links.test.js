// What counts as a link: each line of text, with its links in brackets.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitLinks } from '../../adapters/smol/page/links.js';

function check(expected) {
  const text = expected.replace(/⟦|⟧/g, '');
  const shown = splitLinks(text).map((part) => (part.href ? `⟦${part.text}⟧` : part.text)).join('');
  assert.equal(shown, expected);
}

test('addresses of the web are links', () => {
  check('see ⟦https://example.org/a?b=c&d=%20#e⟧ and ⟦http://localhost:8080⟧');
  check('⟦HTTPS://EXAMPLE.ORG⟧');
  check('⟦https://例え.jp/パス⟧');
});

test('other schemes are text', () => {
  check('javascript:alert(1) data:text/html,x ftp://example.org file:///etc/passwd vbscript:x');
  check('xhttp://example.org');
  check('http:// https://');
});

test('addresses with a name and a password are text', () => {
  check('https://bank.example@evil.example/');
});

test('the punctuation of the sentence is not in the link', () => {
  check('(⟦https://example.org/a⟧), "⟦https://example.org/b⟧". ⟦https://example.org/c⟧!?');
  check('⟦https://en.wikipedia.org/wiki/Parlour_(room)⟧.');
  check('[⟦https://example.org/[x]⟧]');
});

test('markup and invisible characters end a link', () => {
  check('<a href="⟦https://example.org⟧">x</a>');
  check('⟦https://example.org/⟧\u202egpj.exe');
  check('⟦https://example.org/a⟧\u200bb');
});

test('nothing of a text is lost, whatever it is', () => {
  for (const text of ['', ' ', '\n\n', 'a\u0000b', '\ud800', 'http://'.repeat(300), `https://a.b/${')'.repeat(1900)}`]) {
    assert.equal(splitLinks(text).map((part) => part.text).join(''), text);
  }
});

test('only addresses get an href, and it is what the URL parser says', () => {
  assert.deepEqual(splitLinks('a https://Example.org/"b'), [
    { text: 'a ' }, { text: 'https://Example.org/', href: 'https://example.org/' }, { text: '"b' },
  ]);
});
