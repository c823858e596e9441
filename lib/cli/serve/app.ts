import { type Context, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { type CodedError, typeError } from '../../errors';
import { gc } from '../../index';
import { note } from '../output';
import { remove } from '../remove';
import { printable } from '../words';
import { drawChart } from './chart';
import { detailsOf } from './details';
import { guard, guardWrite, headers } from './guard';
import type { Live } from './live';
import { pageFiles } from './page-files';

export interface AppOptions {
  readonly token: string;
  readonly allowWrite: boolean;
  readonly live: Live;
}

/** What the server answers. All that is asked for lies below the token; answers are JSON, but for the page's files. */
export function makeApp({ token, allowWrite, live }: AppOptions): Hono {
  const app = new Hono();
  app.use(headers, noStore, guard(token));
  app.onError(errorAnswer);
  app.notFound((context) => context.json({ error: { code: 'ENOENT', message: 'There is nothing here' } }, 404));

  for (const [path, { type, content }] of pageFiles()) {
    app.get(`/:token/${path}`, (context) => context.body(content, 200, { 'Content-Type': type }));
  }
  app.get('/:token/events', (context) => {
    const listener = live.listen();
    return streamSSE(context, async (stream) => {
      stream.onAbort(() => listener.leave());
      try {
        await stream.writeSSE({ event: 'hello', data: JSON.stringify(live.hello(allowWrite)), retry: 1000 });
        for await (const data of listener.states) await stream.writeSSE({ event: 'state', data });
      } finally {
        listener.leave();
      }
    });
  });
  app.get('/:token/details', (context) => context.json(detailsOf(wanted(context, 'name'))));
  app.get('/:token/chart', async (context) =>
    context.json(await drawChart(wanted(context, 'name'), context.req.query())),
  );

  app.post('*', guardWrite(allowWrite));
  app.post('/:token/remove', (context) =>
    context.json(remove(wanted(context, 'name'), { force: context.req.query('force') === 'true' })),
  );
  app.post('/:token/gc', (context) => context.json({ removed: gc() }));
  return app;
}

const noStore = async (context: Context, next: () => Promise<void>): Promise<void> => {
  await next();
  context.header('Cache-Control', 'no-store');
};

function wanted(context: Context, parameter: string): string {
  const value = context.req.query(parameter);
  if (value === undefined) throw typeError('ERR_NDSHM_INVALID_ARGUMENT', `Expected the parameter '${parameter}'`);
  return value;
}

const statuses: Readonly<Record<string, ContentfulStatusCode>> = {
  ENOENT: 404,
  EACCES: 403,
  EPERM: 403,
  EBUSY: 409,
  ERR_NDSHM_AUTH: 403,
  ERR_NDSHM_READ_ONLY: 403,
  ERR_NDSHM_LIMIT: 503,
};

function errorAnswer(error: Error, context: Context): Response {
  const { code, message } = error as Partial<CodedError> & Error;
  const known = statuses[code ?? ''] ?? (code?.startsWith('ERR_NDSHM_') ? 400 : 500);
  if (known === 500) note(`ndshm: ${printable(message)}`);
  return context.json({ error: { code: code ?? null, message } }, known);
}
