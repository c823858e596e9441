import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { createInterface, type Interface } from 'node:readline';
import { within } from './child';
import { LiveNdshm } from './cli';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A running `ndshm serve`. */
export class Served {
  private constructor(
    readonly live: LiveNdshm,
    readonly url: string,
    readonly port: number,
  ) {}

  static async start(...args: readonly string[]): Promise<Served> {
    const live = new LiveNdshm(['serve', '--json', ...args]);
    const { url, port } = await live.json<{ url: string; port: number }>();
    return new Served(live, url, port);
  }

  get token(): string {
    return new URL(this.url).pathname.split('/')[1] as string;
  }

  get origin(): string {
    return new URL(this.url).origin;
  }

  /** What is at this path, which goes out as it is. */
  async raw(path: string, { method = 'GET', headers = {} }: RawOptions = {}): Promise<Answer> {
    const answer = await this.#send(path, method, headers);
    let text = '';
    for await (const part of answer.setEncoding('utf8')) text += part;
    return { status: answer.statusCode as number, headers: answer.headers, text };
  }

  async get<T>(path: string, query: Record<string, string> = {}): Promise<{ status: number; value: T }> {
    const { status, text } = await this.raw(`/${this.token}/${path}?${new URLSearchParams(query).toString()}`);
    return { status, value: JSON.parse(text) as T };
  }

  /** As the page itself sends it, unless an origin is given. */
  async post<T>(path: string, query: Record<string, string> = {}, origin: string | null = this.origin) {
    const headers = origin === null ? {} : { origin };
    const { status, text } = await this.raw(`/${this.token}/${path}?${new URLSearchParams(query).toString()}`, {
      method: 'POST',
      headers,
    });
    return { status, value: JSON.parse(text) as T };
  }

  async events(): Promise<EventStream> {
    return new EventStream(await this.#send(`/${this.token}/events`, 'GET', {}));
  }

  async #send(path: string, method: string, headers: OutgoingHttpHeaders): Promise<IncomingMessage> {
    const sent = request({ host: '127.0.0.1', port: this.port, path, method, headers, agent: false });
    sent.end();
    const [answer] = (await within(once(sent, 'response'), 'answer')) as [IncomingMessage];
    return answer;
  }
}

interface RawOptions {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
}

/** Server-sent events, as they come. */
export class EventStream {
  readonly status: number;
  readonly #answer: IncomingMessage;
  readonly #lines: AsyncIterator<string>;

  constructor(answer: IncomingMessage) {
    this.status = answer.statusCode as number;
    this.#answer = answer;
    const lines: Interface = createInterface({ input: answer });
    this.#lines = lines[Symbol.asyncIterator]();
  }

  /** The data of the next event of this kind for which the condition holds. */
  async next<T>(kind: string, fits: (data: T) => boolean = () => true): Promise<T> {
    const find = async (): Promise<T> => {
      let event = '';
      for (;;) {
        const { value: line, done } = await this.#lines.next();
        if (done === true) throw new Error(`The stream ended before an event '${kind}'`);
        if (line.startsWith('event: ')) event = line.slice(7);
        if (!line.startsWith('data: ') || event !== kind) continue;
        const data = JSON.parse(line.slice(6)) as T;
        if (fits(data)) return data;
      }
    };
    return within(find(), `event '${kind}'`);
  }

  leave(): void {
    this.#answer.destroy();
  }
}
