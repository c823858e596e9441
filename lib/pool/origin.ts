import type { Debugger, Runtime, Session } from 'node:inspector';

// Where a function was written and which names it sees there, as V8's inspector tells it. Runtimes without the inspector
// (Bun, Deno, Node's permission model), and code that has a global object of its own (jest), do without.

export interface Surroundings {
  /** Every name that the function sees between itself and the global object. */
  readonly names: ReadonlySet<string>;
  /** Whether an ES module is around it. */
  readonly inModule: boolean;
  /** Which script it was written in, as the inspector numbers them. */
  readonly scriptId: string;
  /** Its line there, from 0. */
  readonly line: number;
}

export interface Script {
  readonly url: string;
  /** Whether it is an ES module of Node's own loader. */
  readonly isModule: boolean;
}

interface Location {
  readonly scriptId: string;
  readonly lineNumber: number;
}

const inspected = Symbol.for('ndshm.inspected');
const scripts = new Map<string, Script>();

/** Costs about a millisecond; null where nothing can be known. */
export function surroundingsOf(fn: object): Surroundings | null {
  return withInspector((ask) => {
    const global = globalThis as { [inspected]?: object };
    global[inspected] = fn;
    let id: string | undefined;
    try {
      const expression = "globalThis[Symbol.for('ndshm.inspected')]";
      id = ask<Runtime.EvaluateReturnType>('Runtime.evaluate', { expression })?.result.objectId;
    } finally {
      delete global[inspected];
    }
    const internal = propertiesOf(ask, id)?.internalProperties ?? [];
    const location = internal.find(({ name }) => name === '[[FunctionLocation]]')?.value?.value as Location | undefined;
    const scopeList = internal.find(({ name }) => name === '[[Scopes]]')?.value?.objectId;
    if (location === undefined || scopeList === undefined) return null;
    const scopes = (propertiesOf(ask, scopeList)?.result ?? []).flatMap(({ value }) =>
      value?.description === undefined || value.description.startsWith('Global') ? [] : [value],
    );
    const names = scopes.flatMap(({ objectId }) => (propertiesOf(ask, objectId)?.result ?? []).map(({ name }) => name));
    return {
      names: new Set(names),
      inModule: scopes.some(({ description }) => description === 'Module'),
      scriptId: location.scriptId,
      line: location.lineNumber,
    };
  });
}

/**
 * The script of that number. The first call makes V8 list all scripts of the process, which takes about 20 ms, and in a
 * program of 500 modules 100 ms.
 */
export function scriptOf({ scriptId }: Surroundings): Script | null {
  if (!scripts.has(scriptId)) {
    withInspector((ask, session) => {
      session.on('Debugger.scriptParsed', ({ params }: { params: Debugger.ScriptParsedEventDataType }) => {
        const { isDefault } = (params.executionContextAuxData ?? {}) as { isDefault?: boolean };
        scripts.set(params.scriptId, { url: params.url, isModule: params.isModule === true && isDefault === true });
      });
      ask('Debugger.enable');
    });
  }
  return scripts.get(scriptId) ?? null;
}

/** The script of that number, if an earlier call has found it. */
export const knownScript = ({ scriptId }: Surroundings): Script | null => scripts.get(scriptId) ?? null;

type Ask = <T>(method: string, parameters?: object) => T | undefined;

const propertiesOf = (ask: Ask, objectId: string | undefined): Runtime.GetPropertiesReturnType | undefined =>
  objectId === undefined ? undefined : ask('Runtime.getProperties', { objectId, ownProperties: true });

function withInspector<T>(use: (ask: Ask, session: Session) => T): T | null {
  try {
    const inspector = require('node:inspector') as typeof import('node:inspector');
    const session = new inspector.Session();
    session.connect();
    try {
      return use((method, parameters) => askNow(session, method, parameters), session);
    } finally {
      session.disconnect();
    }
  } catch {
    // No inspector, or not for us: what it would tell makes the pool find more, and its errors earlier.
    return null;
  }
}

/** A session in the inspected process itself answers before post() returns. */
function askNow<T>(session: Session, method: string, parameters: object | undefined): T | undefined {
  let answer: T | undefined;
  session.post(method, parameters, (_error: Error | null, result?: object) => {
    answer = result as T | undefined;
  });
  return answer;
}
