/**
 * Owns the field a message is written in: it grows, counts near the limit, and sends on Enter.
 */

import { byId, setText } from './elements.js';
import { scalarCount } from './names.js';

/** The server's limit until it has told it, in Unicode scalar values. */
const TEXT_AT_MOST = 2000;

/** So near to the limit the count is shown. */
const COUNT_WITHIN = 200;

/** The composer. */
export class Composer {
  #form = byId('composer');
  #field = byId('message');
  #counter = byId('counter');
  #limit = TEXT_AT_MOST;
  #on;

  /** @param {{ send(text: string): boolean, typing(active: boolean): void }} on send: whether it went */
  constructor(on) {
    this.#on = on;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener('keydown', (event) => {
      // While an input method composes, Enter is its own. Safari says so by the key code alone.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener('input', () => {
      this.#changed();
      this.#on.typing(this.#field.value.trim() !== '');
    });
  }

  /** What is written. */
  get text() {
    return this.#field.value;
  }

  set text(text) {
    this.#field.value = text;
    this.#changed();
  }

  /** @param {number | undefined} limit in Unicode scalar values */
  set limit(limit) {
    this.#limit = limit ?? TEXT_AT_MOST;
    this.#changed();
  }

  /** Puts the keyboard here. */
  focus() {
    this.#field.focus();
  }

  #submit() {
    const text = this.#field.value;
    if (text.trim() === '' || scalarCount(text) > this.#limit) return this.focus();
    // Halves of surrogate pairs cannot be sent; everything else goes as it is written.
    const whole = text.toWellFormed?.() ?? text;
    if (this.#on.send(whole)) this.text = '';
    this.focus();
  }

  #changed() {
    const count = scalarCount(this.#field.value);
    const excess = count - this.#limit;
    const near = count > this.#limit - COUNT_WITHIN;
    const left = `${count} of ${this.#limit} characters`;
    setText(this.#counter, near ? (excess > 0 ? `${left}: ${excess} too many` : left) : '');
    this.#counter.classList.toggle('too-many', excess > 0);
    this.#field.setAttribute('aria-invalid', String(excess > 0));
    this.#grow();
  }

  #grow() {
    // The border is not in scrollHeight; page.css says how high it may grow.
    this.#field.style.height = 'auto';
    this.#field.style.height = `${this.#field.scrollHeight + this.#field.offsetHeight - this.#field.clientHeight}px`;
  }
}
