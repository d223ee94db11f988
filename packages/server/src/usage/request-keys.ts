/** Which keys a request is about, and whether it changes them: for figures, not for judgement. */
import { type Key, keyFromBytes, OPEN_END, prefixEnd } from '@etsd/base';
import {
  type Compare,
  DeleteRangeRequest,
  PutRequestView,
  RangeRequestView,
  type RequestOp,
  TxnRequest,
  WatchRequest,
} from '@etsd/proto';

/** Keys of one request that are told. */
const KEYS_MAX = 8;

/** Told of each key of a request: `name` is the key, or what stands for a range. */
export type KeyTeller = (name: string, isWrite: boolean, bytes: number) => void;

const put = new PutRequestView();
const range = new RangeRequestView();

/** Finds the keys of a request. What can not be read tells nothing. */
export type KeyFinder = (bytes: Buffer, start: number, end: number, tell: KeyTeller) => void;

const FINDERS: Readonly<Record<string, KeyFinder>> = {
  '/etcdserverpb.KV/Put': (bytes, start, end, tell) => {
    put.parse(bytes, start, end);
    tell(keyFromBytes(bytes, put.keyStart, put.keyEnd), true, end - start);
  },
  '/etcdserverpb.KV/Range': ranged,
  '/etcdserverpb.KV/RangeStream': ranged,
  '/etcdserverpb.KV/DeleteRange': (bytes, start, end, tell) => {
    const { key, rangeEnd } = DeleteRangeRequest.decode(bytes, start, end);
    tell(rangeName(keyFromBytes(key), keyFromBytes(rangeEnd)), true, end - start);
  },
  '/etcdserverpb.KV/Txn': (bytes, start, end, tell) => {
    const { success, failure, compare } = TxnRequest.decode(bytes, start, end);
    const ops = success.length > 0 ? success : failure;
    for (const op of ops.slice(0, KEYS_MAX)) tellOp(op, tell);
    if (ops.length === 0) for (const each of compare.slice(0, KEYS_MAX)) tell(nameOfCompare(each), false, 0);
  },
  '/etcdserverpb.Watch/Watch': (bytes, start, end, tell) => {
    const create = WatchRequest.decode(bytes, start, end).createRequest;
    if (create !== null) tell(rangeName(keyFromBytes(create.key), keyFromBytes(create.rangeEnd)), false, end - start);
  },
};

/** For a method; null where its requests name no keys. */
export function keyFinder(path: string): KeyFinder | null {
  const find = FINDERS[path];
  if (find === undefined) return null;
  return (bytes, start, end, tell) => {
    try {
      find(bytes, start, end, tell);
    } catch {
      // The handler refuses it.
    }
  };
}

function ranged(bytes: Buffer, start: number, end: number, tell: KeyTeller): void {
  range.parse(bytes, start, end);
  tell(rangeName(range.key(bytes), range.rangeEnd(bytes)), false, end - start);
}

function tellOp(op: RequestOp, tell: KeyTeller): void {
  if (op.requestPut !== null) {
    tell(keyFromBytes(op.requestPut.key), true, op.requestPut.key.length + op.requestPut.value.length);
  } else if (op.requestRange !== null) {
    tell(rangeName(keyFromBytes(op.requestRange.key), keyFromBytes(op.requestRange.rangeEnd)), false, 0);
  } else if (op.requestDeleteRange !== null) {
    const { key, rangeEnd } = op.requestDeleteRange;
    tell(rangeName(keyFromBytes(key), keyFromBytes(rangeEnd)), true, 0);
  }
}

function nameOfCompare({ key, rangeEnd }: Compare): string {
  return rangeName(keyFromBytes(key), keyFromBytes(rangeEnd));
}

/** A key as it is; a prefix, or everything from a key on, with a star; another range with dots. */
export function rangeName(key: Key, rangeEnd: Key): string {
  if (rangeEnd === '') return key;
  return rangeEnd === OPEN_END || rangeEnd === prefixEnd(key) ? `${key}*` : `${key}...`;
}
