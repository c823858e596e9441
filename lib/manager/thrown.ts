import { types } from 'node:util';
import { decode } from '../codec/decode';
import { bytesOf, encode } from '../codec/encode';

/** An error, or whatever else was thrown, so that it can be told whole. */
interface Told {
  readonly isError: boolean;
  /** Of what is no error; of an error that cannot be cloned nothing. */
  readonly value?: unknown;
  readonly name?: string;
  readonly message?: string;
  readonly stack?: string | null;
  /** `code` and all else that it has as its own. */
  readonly properties?: readonly (readonly [string, unknown])[];
  readonly cause?: Told;
  readonly errors?: readonly Told[];
}

const maxCauses = 8;

/** The bytes of what was thrown: class, message, stack, code and other properties, causes. Never throws. */
export const encodeThrown = (thrown: unknown): Uint8Array => bytesOf(encode(tell(thrown, maxCauses)));

/** What capnweb may reject a call with: it tells class and message by itself, the whole goes beside. */
export function tellable(thrown: unknown): Error {
  const message = thrown instanceof Error ? thrown.message : 'The method threw something that is no error';
  return Object.assign(new Error(message), { ndshm: encodeThrown(thrown) });
}

/** What encodeThrown() was given: errors of the language's own classes are of these again. */
export function decodeThrown(bytes: Uint8Array): unknown {
  return retell(decode(bytes) as Told, maxCauses);
}

const untellable = 'something that cannot be told in words';

/** Its getters and proxies may throw again. */
function tell(thrown: unknown, depth: number): Told {
  try {
    return types.isNativeError(thrown) || isErrorLike(thrown)
      ? tellError(thrown, depth)
      : { isError: false, value: sendable(thrown) };
  } catch {
    return { isError: false, value: untellable };
  }
}

const isErrorLike = (value: unknown): value is Error =>
  typeof value === 'object' && value !== null && 'message' in value && 'stack' in value;

function tellError(error: Error, depth: number): Told {
  const properties = Object.keys(error).filter((key) => !told.has(key));
  const { errors } = error as Partial<AggregateError>;
  return {
    isError: true,
    name: String(error.name),
    message: String(error.message),
    stack: typeof error.stack === 'string' ? error.stack : null,
    properties: properties.map((key) => [key, tellProperty(error, key)]),
    ...('cause' in error && depth > 0 ? { cause: tell(error.cause, depth - 1) } : {}),
    ...(Array.isArray(errors) && depth > 0 ? { errors: errors.map((each) => tell(each, depth - 1)) } : {}),
  };
}

function tellProperty(error: Error, key: string): unknown {
  try {
    return sendable((error as unknown as Record<string, unknown>)[key]);
  } catch {
    return untellable;
  }
}

const told = new Set(['name', 'message', 'stack', 'cause', 'errors']);

function sendable(value: unknown): unknown {
  try {
    encode(value);
    return value;
  } catch {
    return String(value);
  }
}

const classes: Record<string, ErrorConstructor> = {
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
};

/** The bytes may say anything. */
function retell(told: Told, depth: number): unknown {
  if (!told.isError) return told.value;
  const name = String(told.name);
  const message = String(told.message);
  const errors =
    Array.isArray(told.errors) && depth > 0 ? told.errors.map((each: Told) => retell(each, depth - 1)) : [];
  const Class = Object.hasOwn(classes, name) ? (classes[name] as ErrorConstructor) : Error;
  const error = name === 'AggregateError' ? new AggregateError(errors, message) : new Class(message);
  const define = (key: string, value: unknown) =>
    Object.defineProperty(error, key, { value, configurable: true, writable: true });
  if (error.name !== name) define('name', name);
  define('stack', typeof told.stack === 'string' ? told.stack : `${name}: ${message}`);
  for (const [key, value] of told.properties ?? []) {
    if (typeof key === 'string')
      Object.defineProperty(error, key, { value, configurable: true, writable: true, enumerable: true });
  }
  if (told.cause !== undefined && depth > 0) define('cause', retell(told.cause, depth - 1));
  return error;
}
