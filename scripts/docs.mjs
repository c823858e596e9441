// Writes docs/api.md from the comments in the type declarations, and docs/errors.md from the table of codes.
// `node scripts/docs.mjs` after a build; with --check it only compares, and fails if a page is out of date.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = (file) => readFileSync(`${root}dist/${file}`, 'utf8');
const { errorCodes } = createRequire(import.meta.url)(`${root}dist/errors.js`);

const note = '<!-- Made by scripts/docs.mjs from the source; change it there. -->\n';

/** The chapters of the API page: a title, the declaration file, and the names to show from it, in order. */
const chapters = [
  [
    'Creating',
    'array/create.d.ts',
    ['create', 'CreateOptions', 'PublishOptions', 'fromArray', 'FromArrayOptions', 'anonymous', 'AnonymousOptions'],
  ],
  ['Opening', 'array/open.d.ts', ['open', 'OpenOptions', 'openRaw', 'OpenRawOptions']],
  ['Passing arrays to other processes', 'array/handle.d.ts', ['attach', 'AttachOptions', 'ArrayHandle']],
  ['Forking', 'array/fork.d.ts', ['fork', 'ForkOptions', 'inherited']],
  ['Replacements', 'array/watch.d.ts', ['watch', 'WatchOptions']],
  [
    'What is there',
    'array/directory.d.ts',
    ['list', 'ListOptions', 'stat', 'SegmentInfo', 'unlink', 'gc', 'GcOptions'],
  ],
  ['Who has it open, and its lock', 'array/peers.d.ts', ['PeerInfo', 'LockState']],
  ['What a primitive is like', 'sync/inspect.d.ts', ['inspect', 'PrimitiveInfo']],
  ['What peers have of a primitive', 'sync/still.d.ts', ['Claim']],
  ['Files on disk', 'array/files.d.ts', ['load', 'LoadOptions', 'save', 'SaveOptions']],
  ['Tables', 'interop/tables.d.ts', ['putTable', 'openTable', 'OpenTableOptions', 'SharedTable']],
  [
    'Tensors',
    'interop/tensors.d.ts',
    ['putTensors', 'PutTensorsOptions', 'TensorSource', 'openTensors', 'OpenTensorsOptions', 'SharedTensors'],
  ],
  ['What putting has in common', 'interop/plain-file.d.ts', ['PutOptions']],
  ['An array', 'array/shared-array.d.ts', ['SharedArray', 'ChangedOptions']],
  [
    'Locks and waiting: what the options mean',
    'lock/hold.d.ts',
    [
      'Hold',
      'WriteOptions',
      'WriteSyncOptions',
      'ReadOptions',
      'ReadSyncOptions',
      'OnAbandonedWrite',
      'OnAbandonedRead',
    ],
  ],
  ['Time limits and signals', 'lock/deadline.d.ts', ['WaitOptions', 'SyncWaitOptions']],
  ['Named primitives', 'sync/primitive.d.ts', ['Primitive']],
  ['What names have in common', 'sync/named-state.d.ts', ['NamedOptions']],
  ['Mutex', 'sync/mutex.d.ts', ['Mutex', 'MutexOptions']],
  ['Reader-writer lock', 'sync/rw-lock.d.ts', ['RWLock']],
  ['Semaphore', 'sync/semaphore.d.ts', ['Semaphore', 'SemaphoreOptions']],
  ['Event', 'sync/event.d.ts', ['Event']],
  ['Condition', 'sync/condition.d.ts', ['Condition']],
  ['Barrier', 'sync/barrier.d.ts', ['Barrier', 'BarrierOptions']],
  ['Value', 'sync/value.d.ts', ['Value', 'ValueOptions']],
  ['Queue', 'sync/queue.d.ts', ['Queue', 'QueueOptions']],
  [
    'Web Locks',
    'sync/lock-manager.d.ts',
    ['locks', 'LockManager', 'LockOptions', 'Lock', 'LockInfo', 'LockManagerSnapshot'],
  ],
  [
    'The object store',
    'store/store.d.ts',
    ['Store', 'StoreOptions', 'StoreWaitOptions', 'CreateArrayOptions', 'ObjectInfo', 'StoreInfo'],
  ],
  ['Object refs', 'store/object-ref.d.ts', ['ObjectRef']],
  ['Leases', 'store/lease.d.ts', ['Lease']],
  ['Drafts', 'store/draft.d.ts', ['Draft']],
  ['The table of arrays', 'store/array-table.d.ts', ['ArrayTable', 'TableArrayOptions', 'GetArrayOptions']],
  ['The process pool', 'pool/pool.d.ts', ['Pool', 'PoolOptions', 'MapOptions', 'ImapOptions', 'PoolWaitOptions']],
  ['Limits of a call', 'pool/limits.d.ts', ['CallOptions']],
  ['Functions for workers', 'pool/functions.d.ts', ['ModuleFunction', 'TaskFunction']],
  ['Task refs', 'pool/task-ref.d.ts', ['TaskRef']],
  ['Actors', 'pool/actor.d.ts', ['Actor']],
  ['Errors of tasks', 'pool/failures.d.ts', ['TaskError', 'WorkerLost', 'Timeout', 'Cancelled']],
  ['Progress', 'pool/map.d.ts', ['OnPoolProgress']],
  ['Progress bars', 'pool/progress-bar.d.ts', ['progressBar', 'ProgressBarOptions', 'ProgressBar', 'Progress']],
  ['Processors', 'pool/processors.d.ts', ['availableProcessors']],
  [
    'Managers',
    'manager/manager.d.ts',
    [
      'Manager',
      'ManagerStartOptions',
      'ManagerServeOptions',
      'ManagerHereOptions',
      'ManagerConnectOptions',
      'RegisterOptions',
      'ManagerTypes',
      'ManagerMakers',
    ],
  ],
  ['Certificates of managers', 'manager/tls.d.ts', ['TlsOptions']],
  ['Limits of managers', 'manager/limits.d.ts', ['ManagerLimits']],
  ['Proxies', 'manager/remote.d.ts', ['Proxied', 'Pending']],
  ['Callers', 'manager/caller.d.ts', ['Caller']],
  ['What a manager has', 'manager/objects.d.ts', ['ManagerInfo', 'HostedObjectInfo']],
  ['Elements', 'array/dtype.d.ts', ['DTypes', 'Complex', 'float16IsBits', 'dtypes']],
  ['numpy-ts: `ndshm/numpy`', 'numpy.d.ts', ['asNumpy', 'fromNumpy']],
];

const comment = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\//;
const documented = new RegExp(
  `(?:${comment.source}\\s*)?export (?:declare )?(?:abstract )?(?:function|class|interface|const|type) (\\w+)`,
  'g',
);

/** Comment and text of a declaration, up to the next one at the margin; overloads stay together. */
function declarations(source) {
  const starts = [...source.matchAll(documented)];
  const found = new Map();
  starts.forEach((start, n) => {
    const [whole, doc, name] = start;
    const end = starts[n + 1]?.index ?? source.length;
    const text = source.slice(start.index + whole.indexOf('export', doc?.length ?? 0), end).trim();
    const before = found.get(name);
    found.set(name, { doc: before?.doc ?? doc, text: before === undefined ? text : `${before.text}\n${text}` });
  });
  return found;
}

const prose = (doc) => (doc ?? '').replace(/^\s*\* ?/gm, '').trim();

function section(name, { doc, text }) {
  const [description, example] = prose(doc).split(/@example\s/);
  const code = text
    .replace(/\n\/\/# sourceMappingURL.*/, '')
    .replace(/\nexport \{\};?$/, '')
    .replace(/^export (declare )?/gm, '')
    .replace(/^\s*(#private|private .*|protected .*);\n/gm, '');
  return [
    `### ${name}\n`,
    description.trim() === '' ? '' : `${description.trim()}\n`,
    `\`\`\`ts\n${code.trim()}\n\`\`\`\n`,
    example === undefined ? '' : `\`\`\`js\n${example.trim()}\n\`\`\`\n`,
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function apiPage() {
  const parts = [`# API\n\n${note}`];
  for (const [title, file, names] of chapters) {
    const found = declarations(dist(file));
    parts.push(`## ${title}\n`);
    for (const name of names) {
      const declaration = found.get(name);
      if (declaration === undefined) throw new Error(`${file} declares no ${name}`);
      parts.push(section(name, declaration));
    }
  }
  return `${parts.join('\n').trim()}\n`;
}

function errorsPage() {
  const rows = Object.entries(errorCodes).map(
    ([code, meaning]) => `| \`${code}\` | ${meaning.replace(/\|/g, '\\|')} |`,
  );
  return `# Errors

${note}
Every error that ndshm throws has a \`code\`. System errors have the system's (\`ENOENT\`, \`EEXIST\`, \`ENOSPC\`, \`EACCES\`,
\`EMFILE\` …) with \`errno\`, \`syscall\` and \`path\`, as Node's own errors do. The others:

| code | meaning and remedy |
|---|---|
${rows.join('\n')}
`;
}

const pages = { 'docs/api.md': apiPage(), 'docs/errors.md': errorsPage() };
const check = process.argv.includes('--check');
for (const [page, text] of Object.entries(pages)) {
  const path = `${root}${page}`;
  if (!check) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    console.error(`${page} is out of date: npm run build && node scripts/docs.mjs`);
    process.exitCode = 1;
  }
}
