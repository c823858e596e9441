import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import { stateError } from '../../errors';

// Any web page that the user looks at can send requests to 127.0.0.1, and any user of the machine can. So each path begins
// with a secret; a page that had its own name resolved to 127.0.0.1 (DNS rebinding) still sends that name as the host;
// and what changes something has to come from our own page.

export const makeToken = (): string => randomBytes(24).toString('base64url');

/** Lets through what begins with the token and was sent to this machine by one of its own names. */
export function guard(token: string): MiddlewareHandler {
  return async (context, next) => {
    const host = context.req.header('host') ?? '';
    // The port is another one behind ssh -L.
    if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(host)) {
      throw stateError('ERR_NDSHM_AUTH', 'Expected 127.0.0.1 or localhost for the host of the address');
    }
    const given = Buffer.from(context.req.path.split('/')[1] ?? '');
    const expected = Buffer.from(token);
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw stateError('ERR_NDSHM_AUTH', 'This is not the address that `ndshm serve` has printed');
    }
    await next();
  };
}

/** For what changes something. */
export function guardWrite(allowWrite: boolean): MiddlewareHandler {
  return async (context, next) => {
    if (context.req.header('origin') !== `http://${context.req.header('host')}`) {
      throw stateError('ERR_NDSHM_AUTH', 'Expected a request of the page itself');
    }
    if (!allowWrite) {
      throw stateError('ERR_NDSHM_READ_ONLY', 'This page can only look: `ndshm serve --allow-write` lets it remove');
    }
    await next();
  };
}

/** Nothing from elsewhere, nothing inline, no frames; lit-html alone makes HTML of strings, of its own templates. */
export const headers: MiddlewareHandler = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    connectSrc: ["'self'"],
    imgSrc: ["'self'", 'blob:'],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
    requireTrustedTypesFor: ["'script'"],
    trustedTypes: ['lit-html'],
  },
  referrerPolicy: 'no-referrer',
  xFrameOptions: 'DENY',
  strictTransportSecurity: false,
});
