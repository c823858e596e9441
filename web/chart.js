import { ask } from './connection.js';

/** @typedef {import('./words.js').Segment} Segment */
/** @typedef {{ kind: string, slice: string, tensor: string }} ChartChoice */

const leastPauseMs = 950; // states come each second
/** What was not written under the lock shows in no version: so it is looked at again, now and then. */
const restlessMs = 3000;
/** Of the time that drawing took: a large array is drawn less often. */
const pauseFactor = 10;

/** The picture of one array at a time. It is drawn anew when the array has changed, and not too often. */
export class ChartLoader {
  /** @type {{ url: string, warning: string | null } | undefined} */
  drawn;
  /** @type {string | undefined} */
  problem;
  #key = '';
  #version = '';
  #svg = '';
  #isLoading = false;
  #pauseUntil = 0;
  #restlessAt = 0;
  #onChange;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /**
   * To be called with each state, and whenever the user has chosen otherwise.
   * @param {Segment} segment
   * @param {ChartChoice} choice
   * @param {{ width: number, height: number, dark: boolean }} look
   */
  show(segment, { kind, slice, tensor }, look) {
    const query = {
      name: segment.name,
      kind,
      slice,
      ...(tensor === '' ? {} : { tensor }),
      width: String(look.width),
      height: String(look.height),
      dark: String(look.dark),
    };
    const key = JSON.stringify(query);
    // To attach, as for a picture, changes the time of a segment with a lock.
    const version = segment.lock === null ? segment.modifiedAt : `${segment.id} ${segment.lock.version}`;
    const now = Date.now();
    const isOther = key !== this.#key;
    const isDue = now >= this.#pauseUntil && (version !== this.#version || now >= this.#restlessAt);
    if (this.#isLoading || !(isOther || isDue)) return;
    this.#key = key;
    this.#version = version;
    void this.#load(key, query);
  }

  /** Nothing is shown: the next one is another one. */
  clear() {
    this.#key = '';
    this.#forget();
    this.problem = undefined;
  }

  /**
   * @param {string} key
   * @param {Record<string, string>} query
   */
  async #load(key, query) {
    this.#isLoading = true;
    const start = Date.now();
    try {
      /** @type {import('../dist/cli/serve/chart.js').DrawnChart} */
      const { svg, warning } = await ask('chart', query);
      if (key === this.#key) await this.#swap(svg, warning);
    } catch (error) {
      if (key === this.#key) {
        this.#forget();
        this.problem = /** @type {Error} */ (error).message;
      }
    } finally {
      const end = Date.now();
      this.#isLoading = false;
      this.#pauseUntil = end + Math.max(leastPauseMs, pauseFactor * (end - start));
      this.#restlessAt = Math.max(this.#pauseUntil, end + restlessMs);
      this.#onChange();
    }
  }

  /**
   * @param {string} svg
   * @param {string | null} warning
   */
  async #swap(svg, warning) {
    this.problem = undefined;
    if (this.drawn !== undefined && svg === this.#svg) {
      this.drawn = { url: this.drawn.url, warning };
      return;
    }
    const url = URL.createObjectURL(new Blob([svg], { type: 'image/svg+xml' }));
    // Ready before it takes the other one's place, which would blink otherwise.
    const image = new Image();
    image.src = url;
    await image.decode();
    this.#forget();
    this.#svg = svg;
    this.drawn = { url, warning };
  }

  #forget() {
    if (this.drawn !== undefined) URL.revokeObjectURL(this.drawn.url);
    this.drawn = undefined;
    this.#svg = '';
  }
}
