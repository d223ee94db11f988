/**
 * What the unary workloads send. Each request is encoded once with a key of zeros; a request under way is a copy of it
 * with another key written over.
 */
import { PutRequest, RangeRequest, RequestOp, TxnRequest } from '@etsd/proto';
import { KeySpace } from './keys.ts';
import type { UnarySource } from './load.ts';
import type { LoadOptions } from './options.ts';

const PUT_PATH = '/etcdserverpb.KV/Put';
const RANGE_PATH = '/etcdserverpb.KV/Range';
const TXN_PATH = '/etcdserverpb.KV/Txn';

/** Where the zeros of a key stand: marked by 0x01 bytes while the template is made. */
function template(keySize: number, encode: (key: Buffer) => Buffer): { bytes: Buffer; offsets: number[] } {
  const marker = Buffer.alloc(keySize, 1);
  const bytes = encode(marker);
  const offsets: number[] = [];
  for (let at = bytes.indexOf(marker); at >= 0; at = bytes.indexOf(marker, at + keySize)) offsets.push(at);
  return { bytes, offsets };
}

function keySpaceOf(options: LoadOptions, seed: number): KeySpace {
  return new KeySpace(options.keySpaceSize, options.keySize, options.sequentialKeys, seed);
}

/** A value of printable bytes, which cannot be taken for the marker of a key. */
function printableValue(options: LoadOptions): Buffer {
  const value = Buffer.alloc(options.valSize);
  for (let index = 0; index < value.length; index++) value[index] = 0x61 + (index % 26);
  return value;
}

/** One kind of request over a key space; several keys are neighbours in the space, hence different. */
class TemplateSource implements UnarySource {
  readonly path: string;
  message: Buffer;
  readonly kind: number;
  private readonly bytes: Buffer;
  private readonly offsets: readonly number[];
  private readonly keys: KeySpace;

  constructor(path: string, kind: number, keys: KeySpace, encode: (key: Buffer) => Buffer) {
    const { bytes, offsets } = template(keys.keySize, encode);
    this.path = path;
    this.kind = kind;
    this.keys = keys;
    this.bytes = bytes;
    this.offsets = offsets;
    this.message = bytes;
  }

  prepare(): void {
    const message = Buffer.allocUnsafe(this.bytes.length);
    this.bytes.copy(message);
    const first = this.keys.next();
    for (let index = 0; index < this.offsets.length; index++) {
      this.keys.write(message, this.offsets[index] as number, (first + index) % this.keys.size);
    }
    this.message = message;
  }
}

export function putSource(options: LoadOptions): UnarySource {
  const value = printableValue(options);
  return new TemplateSource(PUT_PATH, 0, keySpaceOf(options, 1), (key) =>
    PutRequest.encode(PutRequest.create({ key, value })),
  );
}

/** The same range each time if words name one, otherwise single keys of the key space. */
export function rangeSource(options: LoadOptions): UnarySource {
  const serializable = options.consistency === 's';
  const [key, end] = options.words;
  if (key !== undefined) {
    const rangeEnd = Buffer.from(end ?? '', 'latin1');
    const limit = options.limit;
    const request = RangeRequest.create({ key: Buffer.from(key, 'latin1'), rangeEnd, serializable, limit });
    return { path: RANGE_PATH, message: RangeRequest.encode(request), kind: 1, prepare: () => {} };
  }
  return new TemplateSource(RANGE_PATH, 1, keySpaceOf(options, 2), (each) =>
    RangeRequest.encode(RangeRequest.create({ key: each, serializable })),
  );
}

export function txnPutSource(options: LoadOptions): UnarySource {
  const value = printableValue(options);
  if (options.keySpaceSize < options.txnOps) throw new Error('--key-space-size must not be below --txn-ops');
  return new TemplateSource(TXN_PATH, 0, keySpaceOf(options, 3), (key) => {
    const success: RequestOp[] = [];
    for (let left = options.txnOps; left > 0; left--) {
      success.push(RequestOp.create({ requestPut: PutRequest.create({ key, value }) }));
    }
    return TxnRequest.encode(TxnRequest.create({ success }));
  });
}

/** Transactions that read one key and transactions that put one, in the given ratio. */
class MixedSource implements UnarySource {
  path = TXN_PATH;
  message: Buffer;
  kind = 0;
  private readonly write: TemplateSource;
  private readonly read: TemplateSource;
  private readonly ratio: number;
  private debt = 0;

  constructor(write: TemplateSource, read: TemplateSource, ratio: number) {
    this.write = write;
    this.read = read;
    this.ratio = ratio;
    this.message = write.message;
  }

  prepare(): void {
    // So many reads are owed to each write; fractions are carried over.
    const source = this.debt >= 1 ? this.read : this.write;
    this.debt += source === this.write ? this.ratio : -1;
    source.prepare();
    this.message = source.message;
    this.kind = source.kind;
  }
}

export function txnMixedSource(options: LoadOptions): UnarySource {
  const serializable = options.consistency === 's';
  const write = txnPutSource({ ...options, txnOps: 1 }) as TemplateSource;
  const read = new TemplateSource(TXN_PATH, 1, keySpaceOf(options, 4), (key) => {
    const requestRange = RangeRequest.create({ key, serializable });
    return TxnRequest.encode(TxnRequest.create({ success: [RequestOp.create({ requestRange })] }));
  });
  return new MixedSource(write, read, options.rwRatio);
}
