// apache-arrow trusts the counts in the metadata: one that is wrong makes it take memory until the process dies. This looks at
// all of them first. The metadata of each message is a FlatBuffer of the schema that Arrow's Message.fbs, Schema.fbs and
// File.fbs give; numbers of fields below are theirs. Offsets are followed as flatbuffers' own reader does, signs
// included; what leads out of the metadata throws a RangeError.

export const messageKinds = { schema: 1, dictionaryBatch: 2, recordBatch: 3 };
const typeIds = { timestamp: 10, list: 12, struct: 13, union: 14, fixedSizeList: 16, map: 17, largeList: 21 };
const ofOneChild: readonly number[] = [typeIds.list, typeIds.fixedSizeList, typeIds.map, typeIds.largeList];
const ofManyChildren: readonly number[] = [typeIds.struct, typeIds.union];
const maxDepth = 64;

/** Where a file says that a message is. */
export interface ArrowBlock {
  readonly offset: number;
  readonly metadataBytes: number;
  readonly bodyBytes: number;
}

export interface ArrowFooter {
  /** How many nodes each column has. */
  readonly columns: readonly number[];
  readonly dictionaries: readonly ArrowBlock[];
  readonly batches: readonly ArrowBlock[];
}

/** The metadata of one message, or the footer of a file. */
export class ArrowMetadata {
  /** Of a message, once it is checked. */
  kind = 0;
  bodyBytes = 0;
  isCompressed = false;
  /** Where a batch says where its buffers lie: offset and length, 8 bytes each. */
  buffersAt: readonly number[] = [];
  /** How many parts may be looked at: tables and texts may be pointed at more than once, but not without end. */
  #allowance: number;

  constructor(
    readonly view: DataView,
    /** The error that says why they cannot be read. */
    readonly wrong: (why: string) => Error,
  ) {
    this.#allowance = 4 * view.byteLength;
  }

  /** Takes and returns how many nodes each column of the schema has. */
  checkMessage(columns: readonly number[]): readonly number[] {
    const message = this.#root;
    this.kind = this.#uint8(this.#field(message, 1));
    const headerAt = this.#field(message, 2);
    if (headerAt === 0) throw this.wrong('a message has no header');
    this.bodyBytes = this.#count(this.#field(message, 3), 2 ** 53);
    this.#texts(this.#field(message, 4));
    const header = this.#target(headerAt);
    switch (this.kind) {
      case messageKinds.schema:
        return this.#columns(header);
      case messageKinds.recordBatch:
        this.#batch(header, columns);
        return columns;
      case messageKinds.dictionaryBatch: {
        const batchAt = this.#field(header, 1);
        if (batchAt === 0) throw this.wrong('a dictionary is empty');
        this.#batch(this.#target(batchAt), undefined);
        return columns;
      }
      default:
        throw this.wrong('a message is of an unknown kind');
    }
  }

  /** A file's last part. */
  checkFooter(): ArrowFooter {
    const schemaAt = this.#field(this.#root, 1);
    if (schemaAt === 0) throw this.wrong('it has no schema');
    return {
      columns: this.#columns(this.#target(schemaAt)),
      dictionaries: this.#blocks(this.#field(this.#root, 2)),
      batches: this.#blocks(this.#field(this.#root, 3)),
    };
  }

  /** Where the message says how long its body is; 0 = nowhere, since it has none. */
  get bodyLengthAt(): number {
    return this.#field(this.#root, 3);
  }

  /** Of a schema message: where its schema is. */
  get schemaAt(): number {
    return this.#target(this.#field(this.#root, 2));
  }

  /** Whether a dictionary batch begins a dictionary, and of what number. */
  get dictionary(): { readonly id: bigint; readonly isDelta: boolean } {
    const header = this.#target(this.#field(this.#root, 2));
    const idAt = this.#field(header, 0);
    const id = idAt === 0 ? 0n : this.view.getBigInt64(idAt, true);
    return { id, isDelta: this.#uint8(this.#field(header, 2)) !== 0 };
  }

  get #root(): number {
    return this.view.getInt32(0, true);
  }

  #columns(schema: number): number[] {
    this.#texts(this.#field(schema, 2));
    return this.#tables(this.#field(schema, 1)).map((field) => this.#nodesOf(field, 0));
  }

  #blocks(at: number): ArrowBlock[] {
    return this.#structs(at, 24).map((block) => ({
      offset: this.#count(block, 2 ** 53),
      metadataBytes: this.view.getInt32(block + 8, true),
      bodyBytes: this.#count(block + 16, 2 ** 53),
    }));
  }

  /** How many nodes a record batch has for a field. */
  #nodesOf(field: number, depth: number): number {
    if (depth === maxDepth) throw this.wrong('its columns are nested too deep');
    this.#text(this.#field(field, 0));
    this.#texts(this.#field(field, 6));
    const type = this.#uint8(this.#field(field, 2));
    const typeAt = this.#field(field, 3);
    if (typeAt === 0) throw this.wrong('a column has no type');
    if (type === typeIds.timestamp) this.#text(this.#field(this.#target(typeAt), 1));
    if (type === typeIds.union) this.#vector(this.#field(this.#target(typeAt), 1), 4);
    const children = this.#tables(this.#field(field, 5)).map((child) => this.#nodesOf(child, depth + 1));
    const isRight = ofManyChildren.includes(type) || children.length === (ofOneChild.includes(type) ? 1 : 0);
    if (!isRight) throw this.wrong('a column has the wrong number of children');
    const isDictionary = this.#field(field, 4) !== 0;
    return isDictionary ? 1 : children.reduce((sum, nodes) => sum + nodes, 1);
  }

  /** Columns of other lengths than the batch's would be filled up, each with memory of its own. */
  #batch(batch: number, columns: readonly number[] | undefined): void {
    // A column of bits has eight values in a byte; one of nulls has no bytes at all.
    const maxLength = 8 * this.bodyBytes + 2 ** 16;
    const length = this.#count(this.#field(batch, 0), maxLength);
    const lengths = this.#structs(this.#field(batch, 1), 16).map((at) => this.#count(at, maxLength));
    this.buffersAt = this.#structs(this.#field(batch, 2), 16);
    for (const at of this.#structs(this.#field(batch, 4), 8)) this.#count(at, this.buffersAt.length);
    this.isCompressed = this.#field(batch, 3) !== 0;
    if (columns === undefined) return;
    let node = 0;
    for (const nodes of columns) {
      if (lengths[node] !== length) throw this.wrong('a column has another length than its batch');
      node += nodes;
    }
    if (node !== lengths.length) throw this.wrong('a batch has other columns than the schema');
  }

  #spend(parts: number): void {
    this.#allowance -= parts;
    if (this.#allowance < 0) throw this.wrong('its metadata has too many parts');
  }

  /** Where a table has a field; 0 = it does not have it. */
  #field(table: number, number: number): number {
    const vtable = table - this.view.getInt32(table, true);
    const at = 4 + 2 * number;
    const offset = at < this.view.getInt16(vtable, true) ? this.view.getInt16(vtable + at, true) : 0;
    return offset === 0 ? 0 : table + offset;
  }

  #target(at: number): number {
    this.#spend(1);
    return at + this.view.getInt32(at, true);
  }

  #uint8(at: number): number {
    return at === 0 ? 0 : this.view.getUint8(at);
  }

  #count(at: number, max: number): number {
    const value = at === 0 ? 0 : Number(this.view.getBigInt64(at, true));
    if (value < 0 || value > max) throw this.wrong('its metadata has a count that cannot be');
    return value;
  }

  /** Where a vector's items begin, and how many there are. */
  #vector(at: number, itemBytes: number): { first: number; count: number } {
    if (at === 0) return { first: 0, count: 0 };
    const vector = this.#target(at);
    const count = this.view.getInt32(vector, true);
    const first = vector + 4;
    if (count < 0 || count * itemBytes > this.view.byteLength - first)
      throw this.wrong('a vector does not lie within it');
    this.#spend(count);
    return { first, count };
  }

  #structs(at: number, structBytes: number): number[] {
    const { first, count } = this.#vector(at, structBytes);
    return Array.from({ length: count }, (_, n) => first + n * structBytes);
  }

  #tables(at: number): number[] {
    return this.#structs(at, 4).map((entry) => this.#target(entry));
  }

  #text(at: number): void {
    this.#vector(at, 1);
  }

  /** Of custom metadata: names and values. */
  #texts(at: number): void {
    for (const pair of this.#tables(at)) {
      this.#text(this.#field(pair, 0));
      this.#text(this.#field(pair, 1));
    }
  }
}
