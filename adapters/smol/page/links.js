/**
 * Owns what in a message's text counts as a link. Pure: text in, parts out. Whatever is not a link
 * is text and stays text, character for character: the parts joined are the text again.
 */

/**
 * A link begins at `http://` or `https://` on no word's tail, and ends before white space, quotes,
 * angle brackets and whatever is invisible: control and format characters (\p{C} includes the
 * bidirectional ones, which could show an address in another order than it is read).
 */
const LINK = /(?<![\p{L}\p{N}_])https?:\/\/[^\s<>"`\p{C}\p{Z}]+/giu;

/** What ends a sentence rather than an address. Brackets are looked at apart: they may be paired. */
const TRAILING = new Set('.,:;!?\'*_~…。、，！？»”’');

const PAIRS = new Map([[')', '('], [']', '['], ['}', '{']]);

/**
 * A run of text, or of text that is also the address `href`.
 * @typedef {{ text: string, href?: string }} Part
 */

/**
 * Splits a text into plain runs and links with the schemes http and https.
 * @param {string} text
 * @returns {Part[]}
 */
export function splitLinks(text) {
  /** @type {Part[]} */
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const address = withoutTail(match[0]);
    const href = hrefOf(address);
    if (href === undefined) continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    parts.push({ text: address, href });
    end = match.index + address.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/**
 * The address without the punctuation of the sentence around it. A closing bracket belongs to the
 * address if its opening one does: `https://en.wikipedia.org/wiki/Parlour_(room)`.
 * @param {string} address
 */
function withoutTail(address) {
  const open = new Map();
  for (const char of address) open.set(char, (open.get(char) ?? 0) + 1);
  const chars = [...address];
  for (;;) {
    const last = chars.at(-1);
    const opening = PAIRS.get(last);
    const unpaired = opening !== undefined && open.get(last) > (open.get(opening) ?? 0);
    if (!unpaired && !TRAILING.has(last)) return chars.join('');
    open.set(last, open.get(last) - 1);
    chars.pop();
  }
}

/**
 * What to put into `href`, or nothing if the address is none: the URL parser has the last word, and
 * only its schemes count. Names and passwords in an address only serve to mislead.
 * @param {string} address
 */
function hrefOf(address) {
  if (!URL.canParse(address)) return undefined;
  const url = new URL(address);
  const web = url.protocol === 'http:' || url.protocol === 'https:';
  return web && url.username === '' && url.password === '' ? url.href : undefined;
}
