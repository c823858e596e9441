import { html, svg } from './vendor/lit-html.js';
import { bytesInWords } from './words.js';

/** @typedef {import('../dist/cli/serve/state.js').MemorySample} MemorySample */

const width = 240;
const height = 36;
const leastSpanMs = 10_000;

/**
 * How full the memory is, and was.
 * @param {{ usedBytes: number, totalBytes: number }} memory
 * @param {readonly MemorySample[]} history
 */
export function memoryView({ usedBytes, totalBytes }, history) {
  const percent = totalBytes === 0 ? 0 : Math.round((100 * usedBytes) / totalBytes);
  return html`
    <section class="memory" aria-label="Memory">
      <div>
        <div class="label">/dev/shm</div>
        <div class="figure">
          <b>${bytesInWords(usedBytes)}</b> <span class="dim">of ${bytesInWords(totalBytes)}</span>
        </div>
        <meter min="0" max="100" high="80" optimum="0" .value=${percent} title="${percent} % used"></meter>
      </div>
      ${history.length < 2 ? null : trace(history)}
    </section>
  `;
}

/** @param {readonly MemorySample[]} history */
function trace(history) {
  const start = /** @type {MemorySample} */ (history[0]).at;
  const now = /** @type {MemorySample} */ (history.at(-1)).at;
  const spanMs = Math.max(leastSpanMs, now - start);
  const high = Math.max(1, ...history.map(({ usedBytes }) => usedBytes));
  const points = history.map(({ at, usedBytes }) => {
    const x = width * (1 - (now - at) / spanMs);
    const y = height - (0.92 * height * usedBytes) / high;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  const left = /** @type {string} */ (points[0]).split(',')[0];
  return html`
    <figure class="trace">
      <svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label="Memory over time">
        ${svg`<path class="area" d="M${left},${height} L${points.join(' L')} L${width},${height} Z" />`}
        ${svg`<path class="curve" d="M${points.join(' L')}" />`}
      </svg>
      <figcaption>
        <span>${spanInWords(spanMs)} ago</span><span>at most ${bytesInWords(high)}</span><span>now</span>
      </figcaption>
    </figure>
  `;
}

/** @param {number} spanMs */
const spanInWords = (spanMs) =>
  spanMs < 100_000 ? `${Math.round(spanMs / 1000)} s` : `${Math.round(spanMs / 60_000)} min`;
