/**
 * Owns how a name is drawn: the initials and the colour of its avatar. Pure.
 */

/** How many colours there are: `.tint-0` to `.tint-9` in page.css. */
export const TINTS = 10;

/**
 * The colour of a name: the same for everybody and on every visit.
 * @param {string} name
 * @returns {number} 0 to TINTS - 1
 */
export function tintOf(name) {
  // FNV-1a, 32 bits: short, and spreads names that differ in one letter.
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  // Its low bits hardly differ for short names: the high ones are mixed in (MurmurHash3's end).
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % TINTS;
}

/**
 * One or two characters for an avatar. Marks and invisible characters are left out, so that nothing
 * stacks up or turns around in there.
 * @param {string} name
 * @returns {string}
 */
export function initialsOf(name) {
  const words = name.split(/[\s_.\-]+/u)
    .map((word) => word.replace(/[\p{C}\p{M}\p{Z}]/gu, ''))
    .filter((word) => /[\p{L}\p{N}\p{S}]/u.test(word))
    .map((word) => /[\p{L}\p{N}\p{S}]/u.exec(word)[0]);
  const initials = words.length > 1 ? [words[0], words.at(-1)] : words;
  return initials.join('').toUpperCase() || '?';
}

/**
 * The length that the server counts: Unicode scalar values.
 * @param {string} text
 * @returns {number}
 */
export function scalarCount(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
