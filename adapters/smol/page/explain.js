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
  FORBIDDEN: 'You are not allowed into this room.',
  TOKEN_MISSING: 'This server asks for a token.',
  TOKEN_REFUSED: 'The server does not accept this token. It may be incomplete, expired or meant for another server, or somebody is here under nearly the same name.',
  TOKEN_EXPIRED: 'Your token has expired. Enter a new one to go on.',
  TOKEN_UNUSED: 'This server lets you in without a token. Choose a name.',
  CLOSED: 'The connection was closed.',
  LEFT: 'You left the room before.',
  QUEUE_FULL: 'Too many messages are waiting. Try again when some of them are sent.',
  OUTCOME_UNKNOWN: 'This may or may not have been sent: look for it before you retry.',
}));

/** Close codes of servers that ask for tokens. */
const UNAUTHORIZED = 4500;
const NO_HELLO = 4503;

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

/**
 * What is wrong with a token, if that is why one cannot come in: a code for {@link explain}.
 * @param {{ hasToken: boolean, state: import('./parlor-client.js').State, code?: string }} attempt
 *   state: of its connection; code: of the error that a join met
 * @returns {'TOKEN_MISSING' | 'TOKEN_REFUSED' | 'TOKEN_EXPIRED' | 'TOKEN_UNUSED' | undefined}
 */
export function tokenProblem({ hasToken, state, code }) {
  const closeCode = state.state === 'closed' ? state.code : undefined;
  if (!hasToken) {
    // Servers that ask for no token never close with 4503: it is for those who brought none in time.
    const isAsked = closeCode === UNAUTHORIZED || closeCode === NO_HELLO || code === 'NOT_IDENTIFIED';
    return isAsked ? 'TOKEN_MISSING' : undefined;
  }
  if (closeCode === UNAUTHORIZED) return state.reason === 'token expired' ? 'TOKEN_EXPIRED' : 'TOKEN_REFUSED';
  // Where tokens count, the name is in them.
  return code === 'INVALID_USERNAME' ? 'TOKEN_UNUSED' : undefined;
}
