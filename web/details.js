import { lockChip } from './segments.js';
import { html } from './vendor/lit-html.js';
import {
  ageInWords,
  bornAt,
  bytesInWords,
  factName,
  factValue,
  kindOf,
  none,
  permissionsInWords,
  printable,
  shapeInWords,
} from './words.js';

// What is known of the selected segment.

/** @typedef {import('./words.js').Segment} Segment */
/** @typedef {import('./chart.js').ChartChoice} ChartChoice */
/** @typedef {import('../dist/cli/serve/state.js').Sent<import('../dist/cli/serve/details.js').Details>} Details */

/**
 * @typedef {object} DetailsView
 * @property {Segment} segment
 * @property {number} now as the server's clock has it
 * @property {Details | undefined} details
 * @property {number} serverPid
 * @property {{ drawn: { url: string, warning: string | null } | undefined, problem: string | undefined }} chart
 * @property {ChartChoice} choice
 * @property {(choice: Partial<ChartChoice>) => void} onChoice
 * @property {(() => void) | undefined} onRemove undefined: it may not be removed
 */

/** @param {DetailsView} view */
export function detailsView(view) {
  const { segment, onRemove } = view;
  return html`
    <section class="card details" aria-label="Details" data-details=${segment.name}>
      <div class="toolbar">
        <h2><bdi>${printable(segment.name)}</bdi></h2>
        ${lockChip(segment.lock)}
        ${onRemove === undefined ? null : html`<button class="danger" @click=${onRemove}>Remove…</button>`}
      </div>
      <p class="dim brief">${inOneLine(segment)}</p>
      ${segment.leftover ? html`<p class="warning">Left by a process that has died. <code>ndshm gc</code> removes it.</p>` : null}
      ${segment.problem === null ? null : html`<p class="warning">${printable(segment.problem.message)}</p>`}
      ${hasChart(segment) ? chartView(view) : null} ${factsView(view)} ${storeView(view)} ${peersView(view)}
      ${othersView(view)}
    </section>
  `;
}

/** @param {Segment} segment */
function inOneLine(segment) {
  const { primitive, dtype, shape, order, allocatedBytes, ephemeral } = segment;
  const elements = primitive === null && dtype !== null ? [`${dtype} ${shapeInWords(shape)}`] : [];
  return [
    ephemeral ? `ephemeral ${kindOf(segment)}` : kindOf(segment),
    ...elements,
    ...(order === 'F' ? ['Fortran order'] : []),
    bytesInWords(allocatedBytes),
  ].join(' · ');
}

/** @param {Segment} segment */
export const hasChart = ({ kind, primitive, memberOf, problem, nbytes }) =>
  primitive === null &&
  problem === null &&
  (kind === 'tensors' || ((kind === 'array' || kind === 'npy') && memberOf === null && nbytes !== 0));

const kinds = [
  ['', 'Chart by shape'],
  ['line', 'Line'],
  ['histogram', 'Histogram'],
  ['heatmap', 'Heat map'],
];

/** @param {DetailsView} view */
function chartView({ segment, details, chart, choice, onChoice }) {
  const { drawn, problem } = chart;
  /** @param {Event} event */
  const chosenIn = ({ target }) => /** @type {HTMLInputElement} */ (target).value;
  const tensors = details?.tensors ?? [];
  return html`
    <div class="controls over-chart">
      ${
        tensors.length === 0
          ? null
          : html`
            <select aria-label="Tensor" @change=${(/** @type {Event} */ event) => onChoice({ tensor: chosenIn(event) })}>
              ${tensors.map((name) => html`<option .value=${name} ?selected=${name === choice.tensor}>${name}</option>`)}
            </select>
          `
      }
      <select aria-label="Kind of chart" @change=${(/** @type {Event} */ event) => onChoice({ kind: chosenIn(event) })}>
        ${kinds.map(([kind, words]) => html`<option .value=${kind ?? ''} ?selected=${kind === choice.kind}>${words}</option>`)}
      </select>
      <input
        class="mono"
        aria-label="Slice, as numpy writes it"
        placeholder="slice, as 0, :100, ::2"
        spellcheck="false"
        .value=${choice.slice}
        @change=${(/** @type {Event} */ event) => onChoice({ slice: chosenIn(event) })}
      />
    </div>
    <div class="chart">
      ${drawn === undefined ? null : html`<img src=${drawn.url} alt="Values of ${printable(segment.name)}" />`}
      ${problem === undefined ? null : html`<p class="warning">${printable(problem)}</p>`}
      ${drawn?.warning ? html`<p class="warning">${drawn.warning}</p>` : null}
    </div>
  `;
}

/** @param {DetailsView} view */
function factsView({ segment, now }) {
  const { lock, primitive, id, fileBytes, memberOf, permissions, owner } = segment;
  const facts = [
    ...Object.entries(primitive?.facts ?? {}).map(([fact, value]) => [factName(fact), factValue(fact, value)]),
    ...(lock === null ? [] : [['version', String(lock.version)]]),
    ['file', bytesInWords(fileBytes)],
    ['mode', permissionsInWords(permissions)],
    ['owner', owner],
    ['age', ageInWords(bornAt(segment), now)],
    ...(memberOf === null ? [] : [['belongs to', printable(memberOf)]]),
    // Enough to see that it is another one now.
    ...(id === null ? [] : [['id', id.slice(0, 8)]]),
  ];
  return html`
    <dl>
      ${facts.map(([fact, value]) => html`<div><dt>${fact}</dt><dd>${value}</dd></div>`)}
    </dl>
  `;
}

/** @param {DetailsView} view */
function peersView({ segment, details, now, serverPid }) {
  const { lock, peers } = segment;
  if (lock === null) return null;
  return html`
    <h3>Peers <span class="dim">${peers.length}</span></h3>
    ${
      peers.length === 0
        ? html`<p class="empty">Nobody has it open.</p>`
        : html`
          <div class="scroll">
            <table class="plain">
              <thead>
                <tr><th class="number">Pid</th><th>Mode</th><th>Does</th><th class="number">Since</th><th>Command</th></tr>
              </thead>
              <tbody>
                ${peers.map((peer) => peerRow(peer, segment, details, now, serverPid))}
              </tbody>
            </table>
          </div>
        `
    }
  `;
}

/**
 * @param {Segment['peers'][number]} peer
 * @param {Segment} segment
 * @param {Details | undefined} details
 * @param {number} now
 * @param {number} serverPid
 */
function peerRow(peer, { primitive }, details, now, serverPid) {
  const { slot, mode, pid, attachedAt } = peer;
  const known = details?.who.peers.find((each) => each.slot === slot && each.pid === pid)?.process;
  const command = pid === serverPid ? 'ndshm serve, which draws this page' : (known?.command ?? '?');
  return html`
    <tr data-pid=${pid ?? ''}>
      <td class="number">${known?.pid ?? pid ?? none}</td>
      <td class="mono">${mode}</td>
      <td>${doings(peer, primitive)}</td>
      <td class="number">${attachedAt === null ? none : ageInWords(attachedAt, now)}</td>
      <td class="command mono" title=${printable(command)}>${printable(command)}</td>
    </tr>
  `;
}

/**
 * @param {Segment['peers'][number]} peer
 * @param {Segment['primitive']} primitive
 */
function doings({ slot, holds, waitsFor }, primitive) {
  const claims = primitive?.claims.filter((claim) => claim.slot === slot) ?? [];
  // It has the lock, and readers have to leave yet.
  const isNext = holds === 'write' && waitsFor === 'write';
  const chips = [
    ...(holds === null || isNext
      ? []
      : [html`<span class="chip lock ${holds}">${holds === 'write' ? 'writes' : 'reads'}</span>`]),
    ...(waitsFor === null
      ? []
      : [html`<span class="chip waits">${isNext ? 'waits for readers' : `waits to ${waitsFor}`}</span>`]),
    ...claims.flatMap((claim) => [
      ...(claim.holds === null ? [] : [html`<span class="chip">holds ${printable(claim.holds)}</span>`]),
      ...(claim.waitsFor === null
        ? []
        : [html`<span class="chip waits">waits for ${printable(claim.waitsFor)}</span>`]),
    ]),
  ];
  return chips.length === 0 ? html`<span class="dim">${none}</span>` : chips;
}

/** @param {DetailsView} view */
function othersView({ details }) {
  const { others = [], hiddenProcesses = 0 } = details?.who ?? {};
  if (others.length === 0 && hiddenProcesses === 0) return null;
  const hidden = `${hiddenProcesses} of the machine’s processes may not be looked into, and may use it too.`;
  return html`
    ${
      others.length === 0
        ? null
        : html`
          <h3>Use it without being peers <span class="dim">${others.length}</span></h3>
          <div class="scroll">
            <table class="plain">
              <thead>
                <tr><th class="number">Pid</th><th>How</th><th>Mode</th><th>Command</th></tr>
              </thead>
              <tbody>
                ${others.map(
                  ({ pid, how, mode, command }) => html`
                    <tr>
                      <td class="number">${pid}</td>
                      <td>${how}</td>
                      <td class="mono">${mode}</td>
                      <td class="command mono" title=${printable(command ?? '?')}>${printable(command ?? '?')}</td>
                    </tr>
                  `,
                )}
              </tbody>
            </table>
          </div>
        `
    }
    ${hiddenProcesses === 0 ? null : html`<p class="label brief">${hidden}</p>`}
  `;
}

const mostObjects = 100;

/** @param {DetailsView} view */
function storeView({ details, now }) {
  if (details?.problem) return html`<p class="warning">${printable(details.problem)}</p>`;
  const store = details?.store;
  if (!store) return null;
  const { info, objects } = store;
  const inUse = info.usedBytes - info.readyBytes;
  return html`
    <h3>Objects <span class="dim">${info.objects}</span></h3>
    <p class="brief">
      <meter min="0" max=${info.capacityBytes} .value=${inUse}></meter>
      ${bytesInWords(inUse)} in use, ${bytesInWords(info.readyBytes)} ready, of ${bytesInWords(info.capacityBytes)}
      ${info.spilledObjects === 0 ? null : `; ${info.spilledObjects} on disk (${bytesInWords(info.spilledBytes)})`}
    </p>
    ${
      objects.length === 0
        ? null
        : html`
          <div class="scroll">
            <table class="plain">
              <thead>
                <tr>
                  <th class="number">Object</th><th>State</th><th class="number">Size</th><th>Mapped</th>
                  <th class="number">Pid</th><th class="number">Age</th>
                </tr>
              </thead>
              <tbody>
                ${objects.slice(0, mostObjects).map(
                  ({ ref, state, byteLength, mapped, pid, createdAt }) => html`
                    <tr>
                      <td class="number">${ref.object}</td>
                      <td>${state}</td>
                      <td class="number">${bytesInWords(byteLength)}</td>
                      <td>${mapped ? 'yes' : none}</td>
                      <td class="number">${pid}</td>
                      <td class="number">${ageInWords(createdAt, now)}</td>
                    </tr>
                  `,
                )}
              </tbody>
            </table>
          </div>
        `
    }
    ${objects.length > mostObjects ? html`<p class="dim brief">and ${objects.length - mostObjects} more</p>` : null}
  `;
}
