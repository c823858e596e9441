import { ChartLoader } from './chart.js';
import { ask, connect, Refusal } from './connection.js';
import { detailsView, hasChart } from './details.js';
import { memoryView } from './memory.js';
import { segmentsView } from './segments.js';
import { html, render } from './vendor/lit-html.js';
import { bytesInWords, countInWords, printable } from './words.js';

// The page: what there is to show, and what happens to it. All else makes HTML of it.

/** @typedef {import('./words.js').Segment} Segment */
/** @typedef {import('./details.js').Details} Details */

const mostSamples = 600;
const detailsEveryMs = 1900; // each second state

const model = {
  /** @type {import('./connection.js').Connection} */
  connection: 'connecting',
  /** @type {import('./connection.js').Hello | undefined} */
  hello: undefined,
  /** @type {import('./connection.js').State | undefined} */
  state: undefined,
  /** @type {import('../dist/cli/serve/state.js').MemorySample[]} */
  history: [],
  /** Writes per second, by name. @type {ReadonlyMap<string, number>} */
  rates: new Map(),
  selected: selectedByAddress(),
  /** Of the selected one. @type {Details | undefined} */
  details: undefined,
  choice: { kind: '', slice: '', tensor: '' },
  filter: '',
  sort: { by: 'Name', descending: false },
  /** What the last removal did. */
  notice: '',
  /** What the user is asked. @type {{ name: string, problem: string, force: boolean } | undefined} */
  removal: undefined,
};

const chart = new ChartLoader(update);
const dark = matchMedia('(prefers-color-scheme: dark)');
let isUpdating = false;

/** Draws all anew, soon, and once however often it is asked for. */
function update() {
  if (isUpdating) return;
  isUpdating = true;
  queueMicrotask(() => {
    isUpdating = false;
    askForMore();
    render(page(), document.body);
  });
}

function selectedByAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ''; // typed by hand
  }
}

const selectedSegment = () => model.state?.segments.find(({ name }) => name === model.selected);

/** What the selected segment needs beside the state. */
function askForMore() {
  const segment = selectedSegment();
  if (segment === undefined || model.connection !== 'live') return;
  void loadDetails(segment.name);
  if (!hasChart(segment) || (segment.kind === 'tensors' && model.choice.tensor === '')) return;
  // Of half the width of a large screen; the picture is scaled to what there is.
  chart.show(segment, model.choice, { width: 560, height: 320, dark: dark.matches });
}

let detailsOf = '';
let detailsDue = 0;
let detailsAsked = false;

/** @param {string} name */
async function loadDetails(name) {
  if (detailsAsked || (detailsOf === name && Date.now() < detailsDue)) return;
  detailsAsked = true;
  try {
    /** @type {Details} */
    const details = await ask('details', { name });
    if (name === model.selected) showDetails(details);
  } catch {
    // Gone meanwhile, as the next state says; or the connection is lost, as the page says.
  } finally {
    detailsOf = name;
    detailsDue = Date.now() + detailsEveryMs;
    detailsAsked = false;
    update();
  }
}

/** @param {Details} details */
function showDetails(details) {
  model.details = details;
  const first = details.tensors?.[0];
  if (first !== undefined && model.choice.tensor === '') model.choice = { ...model.choice, tensor: first };
}

function select() {
  model.selected = selectedByAddress();
  model.details = undefined;
  model.choice = { kind: '', slice: sliceFor(selectedSegment()), tensor: '' };
  chart.clear();
  update();
}

/**
 * Of more than two axes the last two are shown, at the first place of the others.
 * @param {Segment | undefined} segment
 */
function sliceFor(segment) {
  const axes = segment?.shape?.length ?? 0;
  return axes > 2 ? Array.from({ length: axes }, (_, n) => (n < axes - 2 ? '0' : ':')).join(', ') : '';
}

/**
 * @param {import('./connection.js').State | undefined} before
 * @param {import('./connection.js').State} after
 */
function ratesBetween(before, after) {
  const seconds = (after.at - (before?.at ?? after.at)) / 1000;
  const known = new Map(before?.segments.map((segment) => [segment.name, segment]));
  const rates = after.segments.map(({ name, id, lock }) => {
    const old = known.get(name);
    const isSame = old?.id === id && old?.lock && lock && seconds > 0;
    return /** @type {const} */ ([name, isSame ? (lock.version - old.lock.version) / 2 / seconds : 0]);
  });
  return new Map(rates);
}

// ---- what may be changed ----

const isWritable = () => model.hello?.allowWrite === true;

/** @param {boolean} force */
async function remove(force) {
  const { name } = /** @type {{ name: string }} */ (model.removal);
  try {
    /** @type {import('../dist/cli/remove.js').Removed} */
    const { members } = await ask('remove', { name, force: String(force) }, 'POST');
    model.notice = `Removed ${printable(name)}${members.length > 0 ? ` and ${countInWords(members.length, 'member')}` : ''}.`;
    model.removal = undefined;
  } catch (error) {
    const isInUse = error instanceof Refusal && error.code === 'EBUSY';
    model.removal = { name, problem: /** @type {Error} */ (error).message, force: isInUse };
  }
  update();
}

async function collect() {
  try {
    /** @type {{ removed: string[] }} */
    const { removed } = await ask('gc', {}, 'POST');
    model.notice = `Removed ${countInWords(removed.length, 'leftover')}.`;
  } catch (error) {
    model.notice = /** @type {Error} */ (error).message;
  }
  update();
}

/** @param {string} name */
function askToRemove(name) {
  model.removal = { name, problem: '', force: false };
  update();
  // It is drawn then.
  queueMicrotask(() => document.querySelector('dialog')?.showModal());
}

function dropRemoval() {
  model.removal = undefined;
  update();
}

// ---- the page ----

function page() {
  const { state, hello, history } = model;
  return html`
    <header>
      <h1><img src="icon.svg" alt="" />ndshm</h1>
      <span class="dim host">${hello?.host}</span>
      ${state === undefined ? null : html`${figures(state)}${memoryView(state.memory, history)}`} ${connectionView()}
    </header>
    ${lostView()} ${model.notice === '' ? null : html`<p class="notice" role="status">${model.notice}</p>`}
    <main>${state === undefined ? null : html`${segmentsPart(state)}${detailsPart(state)}`}</main>
    ${removalView()}
  `;
}

/** @param {import('./connection.js').State} state */
function figures({ segments }) {
  const bytes = segments.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0);
  const held = segments.filter(({ lock }) => lock?.state === 'read' || lock?.state === 'write').length;
  const leftovers = segments.filter(({ leftover }) => leftover).length;
  return html`
    <div class="figures">
      <div><b>${segments.length}</b><span class="label">${segments.length === 1 ? 'segment' : 'segments'}</span></div>
      <div><b>${bytesInWords(bytes)}</b><span class="label">in memory</span></div>
      <div><b>${held}</b><span class="label">${held === 1 ? 'lock' : 'locks'} held</span></div>
      <div class=${leftovers > 0 ? 'attention' : ''}>
        <b>${leftovers}</b><span class="label">${leftovers === 1 ? 'leftover' : 'leftovers'}</span>
        ${leftovers > 0 && isWritable() ? html`<button class="danger" @click=${collect}>Remove</button>` : null}
      </div>
    </div>
  `;
}

const connections = { connecting: 'connecting', live: 'live', lost: 'connection lost', refused: 'ended' };

const connectionView = () =>
  html`<span class="connection ${model.connection}" role="status">${connections[model.connection]}</span>`;

function lostView() {
  const { connection } = model;
  if (connection === 'lost') {
    return html`<p class="banner" role="alert">The connection is lost, and this is what was so before; trying again.</p>`;
  }
  if (connection === 'refused') {
    return html`<p class="banner" role="alert">The server does not know this page: open the address that <code>ndshm serve</code> prints.</p>`;
  }
  return null;
}

/** @param {import('./connection.js').State} state */
const segmentsPart = ({ segments, at }) =>
  segmentsView({
    segments,
    now: at,
    selected: model.selected,
    filter: model.filter,
    sort: model.sort,
    rates: model.rates,
    onSort(sort) {
      model.sort = sort;
      update();
    },
    onFilter(filter) {
      model.filter = filter;
      update();
    },
  });

/** @param {import('./connection.js').State} state */
function detailsPart({ at }) {
  const segment = selectedSegment();
  if (segment === undefined) {
    const text =
      model.selected === ''
        ? 'Choose a segment to see its values, its lock, and who uses it.'
        : `There is no segment '${printable(model.selected)}' now.`;
    return html`<section class="card details" aria-label="Details"><p class="empty">${text}</p></section>`;
  }
  return detailsView({
    segment,
    now: at,
    details: model.details,
    serverPid: model.hello?.pid ?? 0,
    chart,
    choice: model.choice,
    onChoice(choice) {
      model.choice = { ...model.choice, ...choice };
      update();
    },
    onRemove: isWritable() ? () => askToRemove(segment.name) : undefined,
  });
}

function removalView() {
  if (model.removal === undefined) return null;
  const { name, problem, force } = model.removal;
  return html`
    <dialog @close=${dropRemoval} aria-label="Remove a segment">
      <h2>Remove <bdi>${printable(name)}</bdi>?</h2>
      <p>The name is gone for all. Whoever has it open keeps the memory until it is closed.</p>
      ${problem === '' ? null : html`<p class="warning" role="alert">${printable(problem)}</p>`}
      <div class="controls">
        <button @click=${dropRemoval}>Cancel</button>
        ${problem === '' ? html`<button class="danger" @click=${() => remove(false)}>Remove</button>` : null}
        ${force ? html`<button class="danger" @click=${() => remove(true)}>Remove it all the same</button>` : null}
      </div>
    </dialog>
  `;
}

connect({
  hello(hello) {
    model.hello = hello;
    model.history = [...hello.history];
    update();
  },
  state(state) {
    const isFirst = model.state === undefined;
    model.rates = ratesBetween(model.state, state);
    model.state = state;
    model.history = [...model.history, { at: state.at, usedBytes: state.memory.usedBytes }].slice(-mostSamples);
    if (isFirst) model.choice = { ...model.choice, slice: sliceFor(selectedSegment()) };
    update();
  },
  connection(connection) {
    model.connection = connection;
    update();
  },
});
addEventListener('hashchange', select);
dark.addEventListener('change', update);
update();
