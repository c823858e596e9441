import type * as acorn from 'acorn';

// acorn and eslint-scope are loaded when the first function without a module comes along: most programs never have one.

/** What the source text of a function says about it. */
export interface FunctionText {
  /** An expression whose value is the function; a method has become a function expression. */
  readonly expression: string;
  /** Variables that it does not declare, in order of appearance: globals and outer names alike, and `arguments`. */
  readonly names: readonly string[];
  /** What it takes from the code around it that no other place can have: `this` of an arrow function, `super` … */
  readonly outerWords: readonly string[];
  /** What makes its names unknowable: direct eval() finds names at run time, and so does `with`. */
  readonly hidesNames: 'eval()' | 'with' | null;
  /** Whether import() occurs, which resolves names from the file around it. */
  readonly imports: boolean;
  readonly strict: boolean;
}

interface Root {
  readonly node: acorn.FunctionExpression | acorn.ArrowFunctionExpression | acorn.ClassExpression;
  readonly program: acorn.Program;
  readonly sourceType: 'module' | 'script';
  readonly expression: string;
}

interface ScopeAnalysis {
  analyze(
    program: acorn.Program,
    options: { ecmaVersion: number; sourceType: 'module' | 'script' },
  ): { readonly globalScope: { readonly through: readonly { readonly identifier: { readonly name: string } }[] } };
}

/** What Function.prototype.toString gave, taken apart; throws a SyntaxError where that is no function that can be moved. */
export function readFunctionText(text: string, sloppy: boolean): FunctionText {
  const root = parse(text, sloppy ? ['script'] : ['module', 'script']);
  const scopes = require('eslint-scope') as ScopeAnalysis;
  // The year turns on block scopes and modules, and no more than that.
  const { globalScope } = scopes.analyze(root.program, { ecmaVersion: 2024, sourceType: root.sourceType });
  const names = new Set(globalScope.through.map(({ identifier }) => identifier.name));
  const words = new Words();
  words.readRoot(root.node);
  return {
    expression: root.expression,
    names: [...names],
    outerWords: [...words.outer],
    hidesNames: words.hidesNames,
    imports: words.imports,
    strict: root.sourceType === 'module',
  };
}

/**
 * As an expression, or else as a method of an object: `{ f(x) { … } }.f` has the text `f(x) { … }`. Strict if that can
 * be, because the text does not tell: modules and classes are strict without saying so.
 */
function parse(text: string, sourceTypes: readonly ('module' | 'script')[]): Root {
  const { parse: parseProgram } = require('acorn') as typeof acorn;
  let problem: unknown;
  for (const sourceType of sourceTypes) {
    const options = { ecmaVersion: 'latest', sourceType, ranges: true, allowSuperOutsideMethod: true } as const;
    for (const [before, after] of [
      ['(', '\n)'],
      ['({', '\n})'],
    ] as const) {
      let program: acorn.Program;
      try {
        program = parseProgram(before + text + after, options);
      } catch (error) {
        problem ??= error;
        continue;
      }
      const node = functionIn(program);
      const expression = before === '(' ? text : `${node.async ? 'async ' : ''}function ${text.slice(node.start - 2)}`;
      return { node, program, sourceType, expression };
    }
  }
  throw problem;
}

function functionIn({ body: [statement] }: acorn.Program): Root['node'] & { readonly async?: boolean } {
  const expression = statement?.type === 'ExpressionStatement' ? statement.expression : undefined;
  switch (expression?.type) {
    case 'FunctionExpression':
    case 'ArrowFunctionExpression':
    case 'ClassExpression':
      return expression;
    case 'ObjectExpression': {
      const [property] = expression.properties;
      if (property?.type === 'Property' && property.method && property.value.type === 'FunctionExpression') {
        return property.value;
      }
      if (property?.type === 'Property' && property.kind !== 'init') throw new SyntaxError('It is a getter or setter');
    }
  }
  throw new SyntaxError('It is not the text of a function');
}

interface Surroundings {
  readonly hasThis: boolean;
  readonly hasSuper: boolean;
}
const nothing: Surroundings = { hasThis: false, hasSuper: false };
const everything: Surroundings = { hasThis: true, hasSuper: true };

/** Words whose meaning comes from the code around them. */
class Words {
  readonly outer = new Set<string>();
  hidesNames: FunctionText['hidesNames'] = null;
  imports = false;

  readRoot(root: Root['node']): void {
    // A method's `super` is the object that it was taken from.
    this.#readChildren(root, root.type === 'FunctionExpression' ? { hasThis: true, hasSuper: false } : nothing);
  }

  #read(node: acorn.AnyNode, around: Surroundings): void {
    switch (node.type) {
      case 'ThisExpression':
        if (!around.hasThis) this.outer.add('this');
        return;
      case 'Super':
        if (!around.hasSuper) this.outer.add('super');
        return;
      case 'MetaProperty':
        if (node.meta.name === 'import') this.outer.add('import.meta');
        return;
      case 'ImportExpression':
        this.imports = true;
        break;
      case 'WithStatement':
        this.hidesNames = 'with';
        break;
      case 'CallExpression':
        if (node.callee.type === 'Identifier' && node.callee.name === 'eval') this.hidesNames = 'eval()';
        break;
      case 'FunctionExpression':
      case 'FunctionDeclaration':
      case 'ClassBody':
        this.#readChildren(node, everything);
        return;
    }
    this.#readChildren(node, around);
  }

  #readChildren(node: acorn.AnyNode, around: Surroundings): void {
    for (const value of Object.values(node) as unknown[]) {
      for (const child of Array.isArray(value) ? (value as unknown[]) : [value])
        if (isNode(child)) this.#read(child, around);
    }
  }
}

const isNode = (value: unknown): value is acorn.AnyNode =>
  typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
