/**
 * Owns the status "Connection": what is true of the connection, in a sentence. What screen readers
 * are told changes with the state alone; the seconds that are counted down are for the eyes.
 */

import { byId, setText } from './elements.js';

/** How long "Back online" is shown, in milliseconds. */
const BACK_MILLIS = 4000;

/** The banner. */
export class Banner {
  #box = byId('connection');
  #text = byId('connection-text');
  #detail = byId('connection-detail');
  #retry = byId('connection-retry');
  /** @type {import('./parlor-client.js').State | undefined} */
  #state;
  /** Whether the connection was lost and is not back. */
  #away = false;
  #timer = 0;

  /** @param {() => void} retry what the button does */
  constructor(retry) {
    this.#retry.addEventListener('click', retry);
    this.none();
  }

  /** There is no connection, and nobody asked for one. */
  none() {
    this.#stop();
    this.#state = undefined;
    this.#away = false;
    this.#put('none', 'Not connected yet');
  }

  /**
   * @param {import('./parlor-client.js').State} state
   * @param {string} [problem] with the token: connecting again does not help
   */
  show(state, problem) {
    this.#stop();
    this.#state = state;
    switch (state.state) {
      case 'connecting': return this.#connecting();
      case 'online': return this.#online();
      case 'offline': return this.#offline();
      case 'closed': return this.#closed(state, problem);
    }
  }

  #connecting() {
    // One outage is one event, however often the client tries.
    if (this.#away) this.#put('offline', 'Offline.', 'Trying again…');
    else this.#put('connecting', 'Connecting…');
  }

  #online() {
    if (!this.#away) return this.#put('online', 'Online');
    this.#away = false;
    this.#put('back', 'Back online');
    this.#timer = setTimeout(() => this.#put('online', 'Online'), BACK_MILLIS);
  }

  #offline() {
    this.#away = true;
    const tick = () => {
      // The client's clock, which goes on evenly when the wall clock is set.
      const now = performance.timeOrigin + performance.now();
      const seconds = Math.max(0, Math.ceil((this.#state.retryAt - now) / 1000));
      this.#put('offline', 'Offline.', `Trying again in ${seconds} s`);
    };
    tick();
    this.#timer = setInterval(tick, 250);
  }

  /** @param {{ reason?: string, code?: number }} state @param {string} [problem] */
  #closed({ reason, code }, problem) {
    this.#away = true;
    const why = reason || (code === undefined ? '' : `code ${code}`);
    if (problem !== undefined) this.#put('closed', problem, '', 'Enter a token');
    else this.#put('closed', why ? `Disconnected: ${why}` : 'Disconnected.', '', 'Connect again');
  }

  /** @param {string} state @param {string} text @param {string} [detail] @param {string} [action] what the button says */
  #put(state, text, detail = '', action = 'Retry now') {
    this.#box.dataset.state = state;
    setText(this.#text, text);
    setText(this.#detail, detail);
    this.#retry.hidden = state !== 'offline' && state !== 'closed';
    setText(this.#retry, action);
  }

  #stop() {
    // Timers and intervals share their numbers: this ends either.
    clearTimeout(this.#timer);
  }
}
