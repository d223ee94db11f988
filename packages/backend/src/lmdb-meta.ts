/**
 * The first pages of a file of LMDB (drawn in `lmdb-reader.ts`): which transaction is the last whole one, and where its
 * tables begin. There are two, written by turns, and half a page behind the first a third, the last one known to be on the
 * disk.
 */
import { fstatSync, readFileSync, readSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { CorruptionError } from '@etsd/base';
import { HEAD_BYTES, META, META_LAST_PAGE, TABLE_BYTES, u64 } from './lmdb-layout.ts';

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const META_BYTES = HEAD_BYTES + 144;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65536;

/** Of a table's flags: its keys are eight bytes of a number. */
export const INTEGER_KEYS = 0x08;
/** Of the first table's flags: the transaction did not wait for the disk. */
const OVERLAPPING_SYNC = 0x1000;

const ADVICE =
  'Do not start this member on it: `etsdutl doctor` says what can be saved, `etsdutl rebuild` fetches all from its peers.';

export interface Table {
  readonly name: string;
  readonly flags: number;
  readonly depth: number;
  readonly branches: number;
  readonly leaves: number;
  readonly overflow: number;
  readonly records: number;
  /** -1 for none. */
  readonly root: number;
}

export interface Meta {
  /** In the file. */
  readonly position: number;
  readonly isSynced: boolean;
  readonly free: Table;
  readonly main: Table;
  readonly lastPage: number;
  readonly transaction: number;
  readonly bootId: string;
}

/** Of a store's file, at a place that is given in words. */
export function storeDamage(path: string, what: string, place: string): CorruptionError {
  return new CorruptionError(what, `${path}${place}`, ADVICE);
}

/** The beginning of one open file. What is wrong with it is thrown as a `CorruptionError`. */
export class FirstPages {
  readonly pageBytes: number;
  private readonly path: string;
  private readonly fd: number;

  constructor(path: string, fd: number) {
    this.path = path;
    this.fd = fd;
    this.pageBytes = this.readPageBytes();
  }

  /** As LMDB picks with `overlappingSync` and `usePreviousSnapshot`: after a crash of the machine, a synced one. */
  last(): Meta {
    const [first, second, synced] = this.bothAndSynced();
    const bootId = ownBootId();
    const picked = pick(first, second, bootId);
    return this.sound(synced === null ? picked : pick(picked, synced, bootId));
  }

  /** While somebody writes: the newest; what is read twice and is the same was not being written. */
  lastOfLive(): Meta {
    let before = this.newest();
    for (;;) {
      const meta = this.newest();
      if (isDeepStrictEqual(meta, before)) return meta;
      before = meta;
    }
  }

  /** Where this transaction is described. */
  startsOf(transaction: number): number[] {
    return this.read().flatMap((meta) => (meta?.transaction === transaction ? [meta.position] : []));
  }

  private newest(): Meta {
    const [first, second] = this.bothAndSynced();
    return this.sound(first.transaction >= second.transaction ? first : second);
  }

  private readPageBytes(): number {
    const head = Buffer.alloc(META_BYTES);
    if (readSync(this.fd, head, 0, META_BYTES, 0) < META_BYTES)
      throw this.damage("it is not a file of etsd's store: it ends within its first page");
    const pageBytes = head.readUInt32LE(HEAD_BYTES + 24);
    const isPageSize =
      pageBytes >= PAGE_BYTES_MIN && pageBytes <= PAGE_BYTES_MAX && (pageBytes & (pageBytes - 1)) === 0;
    if (head.readUInt32LE(HEAD_BYTES) !== MAGIC)
      throw this.damage("it is not a file of etsd's store: it does not begin as one");
    if (!isPageSize) throw this.damage(`a page size of ${pageBytes} bytes`);
    if (fstatSync(this.fd).size < 2 * pageBytes) throw this.damage('the file ends within its first two pages');
    return pageBytes;
  }

  private bothAndSynced(): [Meta, Meta, Meta | null] {
    const [first, second, synced] = this.read();
    if (first === null || second === null) throw this.damage('one of the two first pages is none of a store');
    return [first, second, synced];
  }

  private sound(meta: Meta): Meta {
    if (meta.lastPage < 1) throw this.damage('the first pages are not those of a store');
    return meta;
  }

  private read(): [Meta | null, Meta | null, Meta | null] {
    const { pageBytes } = this;
    return [this.readAt(0, true), this.readAt(pageBytes, true), this.readAt(pageBytes / 2, false)];
  }

  private readAt(position: number, isPage: boolean): Meta | null {
    const bytes = Buffer.alloc(META_BYTES);
    if (readSync(this.fd, bytes, 0, META_BYTES, position) < META_BYTES) return null;
    const at = HEAD_BYTES;
    if (isPage) {
      if (bytes.readUInt16LE(18) !== META || bytes.readUInt32LE(at) !== MAGIC) return null;
      if ((bytes.readUInt32LE(at + 4) & 0xffff) !== DATA_VERSION) return null;
      if (bytes.readUInt32LE(at + 24) !== this.pageBytes) return null;
    }
    const transaction = u64(bytes, at + 128);
    if (!isPage && transaction === 0) return null;
    return {
      position,
      isSynced: (bytes.readUInt16LE(at + 28) & OVERLAPPING_SYNC) === 0,
      free: { ...tableAt(bytes, at + 24, 'free pages'), flags: INTEGER_KEYS },
      main: tableAt(bytes, at + 24 + TABLE_BYTES, 'tables'),
      lastPage: u64(bytes, META_LAST_PAGE),
      transaction,
      bootId: bytes.toString('hex', at + 136, at + 144),
    };
  }

  private damage(what: string): CorruptionError {
    return storeDamage(this.path, what, ', page 0 at byte 0');
  }
}

/** The description of a table. */
export function tableAt(bytes: Buffer, at: number, name: string): Table {
  const root = u64(bytes, at + 40);
  return {
    name,
    flags: bytes.readUInt16LE(at + 4),
    depth: bytes.readUInt16LE(at + 6),
    branches: u64(bytes, at + 8),
    leaves: u64(bytes, at + 16),
    overflow: u64(bytes, at + 24),
    records: u64(bytes, at + 32),
    root: bytes.readUInt32LE(at + 40) === 0xffff_ffff && bytes.readUInt32LE(at + 44) === 0xffff_ffff ? -1 : root,
  };
}

function pick(a: Meta, b: Meta, bootId: string): Meta {
  const [newer, older] = a.transaction >= b.transaction ? [a, b] : [b, a];
  if (b.transaction === 0) return a;
  return newer.isSynced || (newer.bootId === bootId && bootId !== NO_BOOT_ID) ? newer : older;
}

const NO_BOOT_ID = '0000000000000000';

/** Which start of the machine this is, as LMDB notes it: the first digits of the system's name for it, as a number. */
function ownBootId(): string {
  if (process.platform !== 'linux') return NO_BOOT_ID;
  try {
    const digits = /^[0-9a-f]+/.exec(readFileSync('/proc/sys/kernel/random/boot_id', 'latin1'))?.[0] ?? '0';
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(Number.parseInt(digits, 16) >>> 0, 0);
    return bytes.toString('hex');
  } catch {
    return NO_BOOT_ID;
  }
}
