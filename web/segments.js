import { repeat } from './vendor/directives/repeat.js';
import { html } from './vendor/lit-html.js';
import {
  ageInWords,
  bornAt,
  bytesInWords,
  factName,
  factValue,
  kindOf,
  none,
  printable,
  shapeInWords,
} from './words.js';

/** @typedef {import('./words.js').Segment} Segment */
/** @typedef {{ by: string, descending: boolean }} Sort */

/**
 * @typedef {object} Column
 * @property {string} head
 * @property {(segment: Segment, view: SegmentsView) => string | number} value what is sorted by
 * @property {(segment: Segment, view: SegmentsView) => unknown} [shown] default: the value
 * @property {string} [style]
 */

/**
 * @typedef {object} SegmentsView
 * @property {readonly Segment[]} segments
 * @property {number} now as the server's clock has it
 * @property {string} selected
 * @property {string} filter
 * @property {Sort} sort
 * @property {ReadonlyMap<string, number>} rates writes per second, by name
 * @property {(sort: Sort) => void} onSort
 * @property {(filter: string) => void} onFilter
 */

/** @type {readonly Column[]} */
const columns = [
  { head: 'Name', value: ({ name }) => name, shown: nameCell, style: 'name' },
  { head: 'Kind', value: kindOf, shown: (segment) => html`<span class="kind">${kindOf(segment)}</span>` },
  { head: 'Elements', value: (segment) => segment.nbytes ?? -1, shown: elementsCell, style: 'mono extra' },
  {
    head: 'Memory',
    value: ({ allocatedBytes }) => allocatedBytes,
    shown: ({ allocatedBytes }) => bytesInWords(allocatedBytes),
    style: 'number',
  },
  {
    head: 'Peers',
    value: ({ peers }) => peers.length,
    shown: ({ lock, peers }) => (lock === null ? none : peers.length),
    style: 'number',
  },
  { head: 'Lock', value: ({ lock }) => lock?.state ?? '', shown: lockCell },
  {
    head: 'Writes/s',
    value: ({ name }, { rates }) => rates.get(name) ?? 0,
    shown: ({ name }, { rates }) => rateInWords(rates.get(name) ?? 0),
    style: 'number extra',
  },
  {
    head: 'Age',
    value: (segment, { now }) => now - Date.parse(bornAt(segment)),
    shown: (segment, { now }) => ageInWords(bornAt(segment), now),
    style: 'number extra',
  },
];

/** @param {Segment} segment */
function nameCell({ name, memberOf, problem }) {
  const short = memberOf === null ? name : name.slice(memberOf.length);
  return html`
    <a href="#${encodeURIComponent(name)}" title=${printable(name)}><bdi>${printable(short)}</bdi></a>
    ${problem === null ? null : html`<span class="chip problem" title=${problem.message}>!</span>`}
  `;
}

/** @param {Segment} segment */
function elementsCell({ primitive, dtype, shape }) {
  if (primitive !== null) return firstFact(primitive.facts);
  if (dtype === null) return none;
  return html`${dtype} <span class="dim">${shapeInWords(shape)}</span>`;
}

/**
 * The first, which says most.
 * @param {Readonly<Record<string, string | number | boolean | null>>} facts
 */
function firstFact(facts) {
  const [first] = Object.entries(facts);
  return first === undefined ? null : html`<span class="dim">${factName(first[0])}</span> ${factValue(...first)}`;
}

/** @param {Segment} segment */
function lockCell({ lock, peers, leftover }) {
  if (leftover) return html`<span class="chip leftover">leftover</span>`;
  const waiting = peers.filter(({ waitsFor }) => waitsFor !== null).length;
  return html`${lockChip(lock)}${waiting > 0 ? html` <span class="dim" title="waiting">+${waiting}</span>` : null}`;
}

/** @param {Segment['lock']} lock */
export const lockChip = (lock) =>
  lock === null ? none : html`<span class="chip lock ${lock.state}" data-lock=${lock.state}>${lock.state}</span>`;

/** @param {number} rate */
const rateInWords = (rate) => (rate === 0 ? none : rate < 10 ? rate.toFixed(1) : String(Math.round(rate)));

/** @param {SegmentsView} view */
export function segmentsView(view) {
  const rows = rowsOf(view);
  return html`
    <section class="card segments" aria-label="Segments">
      <div class="toolbar">
        <h2>Segments</h2>
        <input
          type="search"
          placeholder="Filter by name or kind"
          aria-label="Filter by name or kind"
          .value=${view.filter}
          @input=${(/** @type {InputEvent} */ { target }) => view.onFilter(/** @type {HTMLInputElement} */ (target).value)}
        />
      </div>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              ${columns.map((column) => headCell(column, view))}
            </tr>
          </thead>
          <tbody>
            ${repeat(
              rows,
              ({ name }) => name,
              (segment) => row(segment, view),
            )}
          </tbody>
        </table>
        ${rows.length === 0 ? html`<p class="empty">${emptyText(view)}</p>` : null}
      </div>
    </section>
  `;
}

/** @param {SegmentsView} view */
const emptyText = ({ segments }) =>
  segments.length === 0 ? 'Nothing is in shared memory now. What is made appears here.' : 'Nothing fits the filter.';

/**
 * @param {Column} column
 * @param {SegmentsView} view
 */
function headCell({ head, style }, { sort, onSort }) {
  const by = sort.by === head;
  const order = !by ? 'none' : sort.descending ? 'descending' : 'ascending';
  return html`
    <th class=${style ?? ''} aria-sort=${order} scope="col">
      <button @click=${() => onSort({ by: head, descending: by && !sort.descending })}>
        ${head}<span aria-hidden="true">${by ? (sort.descending ? ' ↓' : ' ↑') : ''}</span>
      </button>
    </th>
  `;
}

/**
 * @param {Segment} segment
 * @param {SegmentsView} view
 */
function row(segment, view) {
  const { name, kind, memberOf } = segment;
  const isSelected = name === view.selected;
  // With a mouse all of the row is the link that it contains.
  const select = () => {
    location.hash = encodeURIComponent(name);
  };
  return html`
    <tr
      class="${isSelected ? 'selected' : ''} ${kind} ${memberOf === null ? '' : 'member'}"
      aria-selected=${isSelected}
      data-name=${name}
      @click=${select}
    >
      ${columns.map((column) => html`<td class=${column.style ?? ''}>${(column.shown ?? column.value)(segment, view)}</td>`)}
    </tr>
  `;
}

/**
 * Filtered and sorted; members behind their parents.
 * @param {SegmentsView} view
 */
function rowsOf(view) {
  const { segments, sort } = view;
  const filter = view.filter.trim().toLowerCase();
  const fitting = segments.filter((segment) => `${segment.name} ${kindOf(segment)}`.toLowerCase().includes(filter));
  const names = new Set(fitting.map(({ name }) => name));
  const column = /** @type {Column} */ (columns.find(({ head }) => head === sort.by));
  const sign = sort.descending ? -1 : 1;
  const sorted = fitting.toSorted((a, b) => sign * compare(column.value(a, view), column.value(b, view)));
  /** @type {(parent: Segment) => Segment[]} */
  const family = (parent) => [parent, ...sorted.filter(({ memberOf }) => memberOf === parent.name).flatMap(family)];
  return sorted.filter(({ memberOf }) => memberOf === null || !names.has(memberOf)).flatMap(family);
}

/**
 * @param {string | number} a
 * @param {string | number} b
 */
function compare(a, b) {
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
}
