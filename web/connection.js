// What the server tells, each second.

/** @typedef {import('../dist/cli/serve/state.js').Hello} Hello */
/** @typedef {import('../dist/cli/serve/state.js').Sent<import('../dist/cli/serve/state.js').State>} State */
/** @typedef {'connecting' | 'live' | 'lost' | 'refused'} Connection */

/** The server says something each second. */
const silenceMs = 5000;

/**
 * The browser connects again by itself when a connection is lost, and gives up only where it is refused.
 * @param {{
 *   hello(hello: Hello): void,
 *   state(state: State): void,
 *   connection(connection: Connection): void,
 * }} tell
 */
export function connect(tell) {
  /** @type {number | undefined} */
  let silence;
  const source = new EventSource('events');
  source.addEventListener('hello', ({ data }) => tell.hello(JSON.parse(data)));
  source.addEventListener('state', ({ data }) => {
    clearTimeout(silence);
    silence = setTimeout(() => tell.connection('lost'), silenceMs);
    tell.connection('live');
    tell.state(JSON.parse(data));
  });
  source.addEventListener('error', () => {
    clearTimeout(silence);
    tell.connection(source.readyState === EventSource.CLOSED ? 'refused' : 'lost');
  });
}

/** An answer that says why not. */
export class Refusal extends Error {
  /**
   * @param {string | null} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * Asks the server. Rejects with a Refusal, or whatever fetch() rejects with.
 * @template T
 * @param {string} path
 * @param {Record<string, string>} [query]
 * @param {'GET' | 'POST'} [method]
 * @returns {Promise<T>}
 */
export async function ask(path, query = {}, method = 'GET') {
  const answer = await fetch(`${path}?${new URLSearchParams(query)}`, { method });
  const value = await answer.json();
  if (answer.ok) return value;
  throw new Refusal(value.error.code, value.error.message);
}
