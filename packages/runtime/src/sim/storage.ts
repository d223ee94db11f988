/** What a simulated medium consists of: sparse file images, inodes and directories, each as it is and as it is durably. */
import { EMPTY, type Prng } from '@etsd/base';
import type { FaultCounts } from './counts.ts';
import type { DiskFaults } from './faults.ts';
import type { Life } from './simulation.ts';

const PAGE_BYTES = 4096;
export const SECTOR_BYTES = 512;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

/** Pages are cut from pieces of this size: a piece of memory of its own for each would cost more than what is in it. */
const SLAB_PAGES = 32;
let slab = EMPTY;
let slabUsed = 0;

function zeroPage(): Buffer {
  if (slabUsed === slab.length) {
    slab = Buffer.alloc(SLAB_PAGES * PAGE_BYTES);
    slabUsed = 0;
  }
  slabUsed += PAGE_BYTES;
  return slab.subarray(slabUsed - PAGE_BYTES, slabUsed);
}

/** A page of one or several images; what belongs to several is copied before it is changed. */
class Page {
  readonly bytes = zeroPage();
  owners = 1;
}

/** The content of a file; pages of nothing but zeros are not stored. */
export class Image {
  size = 0;
  private readonly pages = new Map<number, Page>();

  get allocatedBytes(): number {
    return this.pages.size * PAGE_BYTES;
  }

  write(position: number, bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      const page = Math.floor((position + at) / PAGE_BYTES);
      const offset = (position + at) % PAGE_BYTES;
      const end = Math.min(at + PAGE_BYTES - offset, bytes.length);
      this.writePage(page, offset, bytes, at, end);
      at = end;
    }
    this.size = Math.max(this.size, position + bytes.length);
  }

  truncate(length: number): void {
    if (length < this.size) {
      const keep = Math.ceil(length / PAGE_BYTES);
      for (const page of this.pages.keys()) if (page >= keep) this.drop(page);
      if (length % PAGE_BYTES !== 0) this.own(keep - 1)?.bytes.fill(0, length % PAGE_BYTES);
    }
    this.size = length;
  }

  /** Fills `target` from `position`; the number of bytes there were. */
  read(position: number, target: Buffer): number {
    const length = Math.max(0, Math.min(target.length, this.size - position));
    let at = 0;
    while (at < length) {
      const offset = (position + at) % PAGE_BYTES;
      const step = Math.min(PAGE_BYTES - offset, length - at);
      const page = this.pages.get(Math.floor((position + at) / PAGE_BYTES))?.bytes ?? ZERO_PAGE;
      page.copy(target, at, offset, offset + step);
      at += step;
    }
    return length;
  }

  /** Turns one bit over. There must be a byte at the position. */
  flip(position: number, bit: number): void {
    const byte = Buffer.alloc(1);
    this.read(position, byte);
    byte[0] = (byte[0] as number) ^ (1 << bit);
    this.write(position, byte);
  }

  clone(): Image {
    const copy = new Image();
    copy.size = this.size;
    for (const [number, page] of this.pages) {
      page.owners++;
      copy.pages.set(number, page);
    }
    return copy;
  }

  private writePage(number: number, offset: number, bytes: Buffer, start: number, end: number): void {
    let page = this.own(number);
    if (page === undefined) {
      if (ZERO_PAGE.compare(bytes, start, end, 0, end - start) === 0) return;
      page = new Page();
      this.pages.set(number, page);
    }
    bytes.copy(page.bytes, offset, start, end);
  }

  /** The page, if there is one, to be changed. */
  private own(number: number): Page | undefined {
    const page = this.pages.get(number);
    if (page === undefined || page.owners === 1) return page;
    const copy = new Page();
    page.bytes.copy(copy.bytes);
    page.owners--;
    this.pages.set(number, copy);
    return copy;
  }

  private drop(number: number): void {
    const page = this.pages.get(number);
    if (page !== undefined) page.owners--;
    this.pages.delete(number);
  }
}

/** A change of a file that may not have reached the medium. */
export interface FileChange {
  /** Of a write: where; of a truncation: the new length. */
  readonly position: number;
  /** `null` in a truncation. */
  readonly bytes: Buffer | null;
}

function applyChange(image: Image, change: FileChange): void {
  if (change.bytes === null) image.truncate(change.position);
  else image.write(change.position, change.bytes);
}

export class FileNode {
  readonly kind = 'file';
  current = new Image();
  durable = new Image();
  /** Not durable yet, in the order made. */
  changes: FileChange[] = [];
  holder: Life | null = null;
  modifiedMs = 0;
  /** How often a sync has failed, and with it whatever was being made durable. */
  lostSyncs = 0;

  change(change: FileChange): void {
    applyChange(this.current, change);
    this.changes.push(change);
  }

  /** What was changed up to and including `last` reaches the medium. */
  persistThrough(last: FileChange | undefined): void {
    const count = last === undefined ? 0 : this.changes.indexOf(last) + 1;
    for (const change of this.changes.splice(0, count)) applyChange(this.durable, change);
  }

  /**
   * A durable write reaches the medium, with everything before it that touches one of its pages (pages are written as
   * they are) or the length of the file.
   */
  persistWrite(write: FileChange): void {
    const index = this.changes.indexOf(write);
    if (index < 0) return;
    const from = Math.floor(write.position / PAGE_BYTES);
    const to = Math.floor((write.position + (write.bytes as Buffer).length) / PAGE_BYTES);
    const rest: FileChange[] = [];
    this.changes.forEach((change, at) => {
      const first = Math.floor(change.position / PAGE_BYTES);
      const last = change.bytes === null ? to : Math.floor((change.position + change.bytes.length) / PAGE_BYTES);
      if (at <= index && (change.bytes === null || (first <= to && last >= from))) applyChange(this.durable, change);
      else rest.push(change);
    });
    this.changes = rest;
  }

  /** A sync has failed: each change has reached the medium or not, and none will be tried again. */
  dropChanges(prng: Prng): void {
    for (const change of this.changes) if (prng.chance(0.5)) applyChange(this.durable, change);
    this.changes = [];
    this.lostSyncs++;
  }

  crash(prng: Prng, faults: DiskFaults, counts: FaultCounts): void {
    let isLost = false;
    for (const change of this.changes) {
      const coin = prng.float();
      if (coin < faults.crashKeepRate) {
        applyChange(this.durable, change);
        counts.add(isLost ? 'disk.reordered' : 'disk.kept');
      } else if (coin < faults.crashKeepRate + faults.crashTearRate) {
        this.tear(change, prng);
        counts.add('disk.torn');
      } else {
        isLost = true;
        counts.add('disk.lost');
      }
    }
    this.changes = [];
    this.current = this.durable.clone();
    this.holder = null;
  }

  /** Some sectors of the write reach the medium. */
  private tear(change: FileChange, prng: Prng): void {
    if (change.bytes === null) return;
    let at = 0;
    while (at < change.bytes.length) {
      const length = Math.min(SECTOR_BYTES - ((change.position + at) % SECTOR_BYTES), change.bytes.length - at);
      if (prng.chance(0.5)) this.durable.write(change.position + at, change.bytes.subarray(at, at + length));
      at += length;
    }
  }
}

export type Node = FileNode | DirectoryNode;

/** One change of a directory: names that go and names that come, together or not at all. */
export interface DirectoryChange {
  readonly removed: string | null;
  readonly added: string | null;
  readonly node: Node | null;
}

function applyEntry(entries: Map<string, Node>, change: DirectoryChange): void {
  if (change.removed !== null) entries.delete(change.removed);
  if (change.added !== null) entries.set(change.added, change.node as Node);
}

export class DirectoryNode {
  readonly kind = 'directory';
  entries = new Map<string, Node>();
  private durable = new Map<string, Node>();
  private changes: DirectoryChange[] = [];

  change(change: DirectoryChange): void {
    applyEntry(this.entries, change);
    this.changes.push(change);
  }

  clear(): void {
    this.entries.clear();
    this.durable.clear();
    this.changes = [];
  }

  persist(): void {
    for (const change of this.changes) applyEntry(this.durable, change);
    this.changes = [];
  }

  /** The file system's journal keeps order: some first part of the changes has reached the medium. */
  crash(prng: Prng, faults: DiskFaults, counts: FaultCounts): void {
    const kept = this.changes.length === 0 ? 0 : prng.below(this.changes.length + 1);
    if (kept < this.changes.length) counts.add('disk.names lost', this.changes.length - kept);
    for (const change of this.changes.slice(0, kept)) applyEntry(this.durable, change);
    this.changes = [];
    this.entries = new Map(this.durable);
    for (const node of this.entries.values()) node.crash(prng, faults, counts);
  }
}
