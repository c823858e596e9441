import { readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';

export interface PageFile {
  readonly type: string;
  readonly content: string;
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Of the package lit-html: as browsers get it, not what require() finds for Node in the folder beside. */
const libraryFiles = ['lit-html.js', 'directive.js', 'directive-helpers.js', 'directives/repeat.js'];

/** The files of the page, by their paths; '' is the page itself. There are no others to be had, whatever a path looks like. */
export function pageFiles(): ReadonlyMap<string, PageFile> {
  const web = join(__dirname, '../../../web');
  const library = resolve(dirname(require.resolve('lit-html')), '..');
  const own = readdirSync(web).filter((name) => extname(name) in types);
  return new Map([
    ...own.map((name) => [name === 'index.html' ? '' : name, pageFile(join(web, name))] as const),
    ...libraryFiles.map((name) => [`vendor/${name}`, pageFile(join(library, name))] as const),
  ]);
}

const pageFile = (path: string): PageFile => ({
  type: types[extname(path)] as string,
  content: readFileSync(path, 'utf8'),
});
