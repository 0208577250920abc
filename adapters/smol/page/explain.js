/**
 * Owns what people are told when something is refused. Pure. The server's own sentences are for
 * those who write programs; where a person needs another one, it stands here.
 */

const SENTENCES = new Map(Object.entries({
  USERNAME_TAKEN: 'Somebody is using this name. Choose another one.',
  USERNAME_MISMATCH: 'You are here under another name already. Reload the page to change it.',
  INVALID_USERNAME: 'A name has 1 to 32 visible characters, and no spaces at its ends.',
  INVALID_ROOM_ID: 'The name of a room has 1 to 64 visible characters, and no spaces at its ends.',
  INVALID_MESSAGE: 'A message has 1 to 2000 characters.',
  ROOM_FULL: 'This room is full. Try again when somebody has left.',
  TOO_MANY_ROOMS: 'You are in as many rooms as the server allows. Leave one first.',
  SERVER_FULL: 'The server has as many rooms as it can hold. Join one that is open, or try later.',
  RATE_LIMITED: 'That was too fast. Wait a moment.',
  STORE_UNAVAILABLE: 'The server cannot store messages at the moment. Try again later.',
  HISTORY_FETCH_FAILED: 'The server cannot read its history at the moment. Try again later.',
  SERVER_SHUTDOWN: 'The server is going away for a moment. Try again.',
  UNAUTHORIZED: 'The server does not let you in.',
  FORBIDDEN: 'You are not allowed into this room.',
  CLOSED: 'The connection was closed.',
  LEFT: 'You left the room before.',
  QUEUE_FULL: 'Too many messages are waiting. Try again when some of them are sent.',
  OUTCOME_UNKNOWN: 'This may or may not have been sent: look for it before you retry.',
}));

/**
 * A sentence for people.
 * @param {{ code?: string, message?: string, reason?: string }} error
 * @returns {string}
 */
export function explain({ code, message, reason }) {
  return SENTENCES.get(code) ?? message ?? reason ?? 'That did not work. Try again later.';
}

/** Whether an error is about one's name, whatever room was asked for. @param {string | undefined} code */
export function isAboutName(code) {
  return code === 'USERNAME_TAKEN' || code === 'INVALID_USERNAME';
}
