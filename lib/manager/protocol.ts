import { stateError } from '../errors';

// Sessions say to each other a small part of what capnweb understands: calls of a few methods with our own values, answers,
// references and streams. With the rest of it, calls within values, promises of promises, functions that are mapped over
// lists, requests and blobs, a few bytes can cost any amount of time and memory, or end the process. So whatever is not
// listed here ends the connection before capnweb sees it.

/** How objects and functions, results on their way, iterators and signals are called. */
const methods = new Set(['call', 'o.call', 'next', 'aborted']);
const constants = new Set(['undefined', 'inf', '-inf', 'nan']);
/** Of what is answered beside a value: session.ts and passed.ts say which go together. */
const answerKeys = new Set(['o', 'i', 't', 'done', 'value', 'aborted', 'reason']);

/** The message, as capnweb may have it. Errors: ERR_NDSHM_PROTOCOL. */
export function checkMessage(message: unknown): unknown[] {
  if (!Array.isArray(message)) throw refused(message);
  const [kind, first, second] = message as unknown[];
  switch (kind) {
    case 'push':
      if (isCall(first)) return message;
      break;
    case 'stream':
      if (isCall(first) || isWrite(first)) return message;
      if (isStreamAbort(first)) return [kind, [...first.slice(0, 3), [errorOf(first[3][0])]]];
      break;
    case 'pipe':
      return message;
    case 'pull':
      if (isNumber(first)) return message;
      break;
    case 'release':
      if (isNumber(first) && isNumber(second) && second > 0) return message;
      break;
    case 'resolve':
      if (isNumber(first) && isAnswer(second)) return message;
      break;
    case 'reject':
      if (isNumber(first)) return [kind, first, errorOf(second)];
      break;
    case 'abort':
      return [kind, errorOf(first)];
    default:
  }
  throw refused(message);
}

const refused = (message: unknown) =>
  stateError(
    'ERR_NDSHM_PROTOCOL',
    `The other side sent a message that no manager or client sends: ${String(JSON.stringify(message)).slice(0, 100)}`,
  );

const isNumber = (value: unknown): value is number => Number.isSafeInteger(value);

type Pipeline = [kind: 'pipeline', id: number, path: unknown[], args: unknown[]];

const isPipeline = (expression: unknown): expression is Pipeline =>
  Array.isArray(expression) &&
  expression.length === 4 &&
  expression[0] === 'pipeline' &&
  isNumber(expression[1]) &&
  Array.isArray(expression[2]) &&
  Array.isArray(expression[3]);

const isCall = (expression: unknown): boolean =>
  isPipeline(expression) && methods.has(expression[2].join('.')) && expression[3].every(isValue);

function isWrite(expression: unknown): boolean {
  if (!isPipeline(expression)) return false;
  const [, , [name], args] = expression;
  return name === 'write' ? args.length === 1 && isBytes(args[0]) : name === 'close' && args.length === 0;
}

const isStreamAbort = (expression: unknown): expression is Pipeline =>
  isPipeline(expression) && expression[2].join('.') === 'abort';

/** What values.ts makes of a value. */
function isValue(value: unknown): boolean {
  if (!Array.isArray(value)) return typeof value !== 'object' || value === null;
  const [inside] = value as unknown[];
  if (value.length !== 1) return false;
  return typeof inside === 'string' ? constants.has(inside) : isWhole(inside);
}

const isWhole = (list: unknown): boolean =>
  Array.isArray(list) && isBytes(list[0]) && list.every((each, n) => n === 0 || isReference(each));

const isBytes = (value: unknown): boolean =>
  Array.isArray(value) && value.length === 2 && value[0] === 'bytes' && value[1] instanceof Uint8Array;

/** To what the other side has, or a stream that it has begun. */
function isReference(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [kind, id] = value as unknown[];
  return isNumber(id) && (kind === 'export' ? id < 0 : kind === 'readable' && id > 0);
}

function isAnswer(answer: unknown): boolean {
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) return isValue(answer);
  return Object.entries(answer).every(
    ([key, part]) => answerKeys.has(key) && (isValue(part) || isReference(part) || isBytes(part)),
  );
}

/** All that is wanted of an error: what it says in words, and the bytes of the whole. */
function errorOf(expression: unknown): unknown {
  const [, name, message, , properties] = Array.isArray(expression) ? (expression as unknown[]) : [];
  const { ndshm, code } = (properties ?? {}) as { ndshm?: unknown; code?: unknown };
  const kept = { ...(isBytes(ndshm) ? { ndshm } : {}), ...(typeof code === 'string' ? { code } : {}) };
  return ['error', typeof name === 'string' ? name : 'Error', typeof message === 'string' ? message : '', null, kept];
}
