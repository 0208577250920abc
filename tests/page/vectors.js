// The vectors in client/vectors: what a client does, as text that clients in any language can repeat.

import { readdirSync, readFileSync } from 'node:fs';

import { generator } from './fake.js';
import { ClientCore } from './watch.js';

export const FOLDER = new URL('../../client/vectors/', import.meta.url);

/** Every vector: {name, lines}, the first line being its options. */
export function vectors() {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.jsonl')).sort();
  return files.map((file) => {
    const text = readFileSync(new URL(file, FOLDER), 'utf8');
    return { name: file.replace('.jsonl', ''), lines: text.trimEnd().split('\n').map((line) => JSON.parse(line)) };
  });
}

/** A vector as text. */
export const written = (lines) => `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`;

/** As it is after having been written and read: nothing is undefined. */
const plain = (value) => JSON.parse(JSON.stringify(value));

/** What a core does, as a vector has it. */
export function told(outputs, deadline) {
  const output = (one) => (one.do === 'transmit' ? { do: 'transmit', frame: JSON.parse(one.text) } : one);
  return plain({ outputs: outputs.map(output), deadline: deadline ?? null });
}

/** A frame of a server, as a vector has it: as an object where its text is one that is written so. */
export function receivedFrom(text) {
  try {
    const frame = JSON.parse(text);
    if (JSON.stringify(frame) === text && text.startsWith('{')) return { do: 'received', frame };
  } catch {}
  return { do: 'received', text };
}

/** A core that is driven by the inputs of a vector. */
export class Machine {
  #core;
  #remembered;

  constructor({ seed, shares, ...options }) {
    const random = generator(seed).next;
    this.#core = new ClientCore({ ...options, random, remembered: shares ? () => this.#remembered : undefined });
  }

  /** What a vector has behind an input. */
  step(at, input) {
    return told(this.#handle(at, input), this.#core.deadline());
  }

  #handle(at, input) {
    const core = this.#core;
    const { call, room } = input;
    switch (input.do) {
      case 'connect': return core.start(at);
      case 'opened': return core.opened(at, input.token);
      case 'received': return core.received(at, input.text ?? JSON.stringify(input.frame));
      case 'closed': return core.closed(at, input.code, input.reason);
      case 'tick': return core.tick(at);
      case 'remembered':
        this.#remembered = input.resumeToken;
        return [];
      case 'join': return core.join(at, call, room, { history: input.history, since: input.since });
      case 'leave': return core.leave(at, call, room);
      case 'send': return core.send(at, call, room, input.text, input.clientMsgId);
      case 'typing': return core.typing(at, room, input.active);
      case 'history': return core.ask(at, call, { type: 'get_history', roomId: room, before: input.before, limit: input.limit });
      case 'rooms': return core.ask(at, call, { type: 'list_rooms', after: input.after });
      case 'users': return core.ask(at, call, { type: 'list_users', roomId: room });
      case 'retry': return core.retry(at);
      case 'close': return core.close(at);
      default: throw new TypeError(`there is no input ${input.do}`);
    }
  }
}

/** The core's methods as inputs. */
const INPUTS = {
  start: () => ({ do: 'connect' }),
  opened: (token) => ({ do: 'opened', token }),
  received: (text) => receivedFrom(text),
  closed: (code, reason) => ({ do: 'closed', code, reason }),
  tick: () => ({ do: 'tick' }),
  join: (call, room, { history, since } = {}) => ({ do: 'join', call, room, history, since }),
  leave: (call, room) => ({ do: 'leave', call, room }),
  send: (call, room, text, clientMsgId) => ({ do: 'send', call, room, text, clientMsgId }),
  typing: (room, active) => ({ do: 'typing', room, active }),
  ask: (call, { type, roomId: room, before, limit, after }) => {
    const kind = { get_history: 'history', list_rooms: 'rooms', list_users: 'users' }[type];
    return { do: kind, call, room, before, limit, after };
  },
  retry: () => ({ do: 'retry' }),
  close: () => ({ do: 'close' }),
};

/**
 * Runs `play` and hands over what becomes of each core: `told(core, line)`. `rememberedBy(core)` is
 * what the clients of its guest keep in common.
 */
export async function listening(play, line, rememberedBy) {
  const own = {};
  const last = new WeakMap();
  for (const [name, inputOf] of Object.entries(INPUTS)) {
    const method = (own[name] = ClientCore.prototype[name]);
    ClientCore.prototype[name] = function (at, ...args) {
      const resumeToken = rememberedBy(this);
      if (resumeToken !== last.get(this)) line(this, plain({ at, input: { do: 'remembered', resumeToken }, ...told([], this.deadline()) }));
      last.set(this, resumeToken);
      const outputs = method.call(this, at, ...args);
      line(this, plain({ at, input: inputOf(...args), ...told(outputs, this.deadline()) }));
      return outputs;
    };
  }
  try {
    await play();
  } finally {
    Object.assign(ClientCore.prototype, own);
  }
}
