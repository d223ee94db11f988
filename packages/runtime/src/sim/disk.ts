/**
 * A disk in memory. It outlives the machine that uses it: after `crash` it holds what was synced, and of what was not
 * some part that a coin decides (see `faults.ts`).
 */
import type { Prng } from '@etsd/base';
import {
  type Disk,
  type DiskCallback,
  type DiskFile,
  diskError,
  type FileStat,
  type Lock,
  type LockedFiles,
  type OpenAccess,
  type OpenOptions,
  PlainLockedFiles,
  type ReadCallback,
} from '../disk.ts';
import type { FaultCounts } from './counts.ts';
import type { DiskFaults } from './faults.ts';
import type { Life, Simulation } from './simulation.ts';
import { DirectoryNode, type FileChange, FileNode, type Node, SECTOR_BYTES } from './storage.ts';

/** Where a bit at rest was turned over. */
export interface Rot {
  readonly path: string;
  readonly position: number;
  readonly bit: number;
}

/** The medium of one machine. */
export class SimMedium {
  /** May be changed at any time. */
  readonly faults: DiskFaults;
  readonly prng: Prng;
  readonly root = new DirectoryNode();
  readonly counts: FaultCounts;
  /** Writes and syncs that were made to fail so far. */
  failures = 0;
  /** Writes that went elsewhere so far. */
  strays = 0;
  /** Nothing ends before, in simulated milliseconds. */
  private stalledUntilMs = 0;

  constructor(prng: Prng, faults: DiskFaults, counts: FaultCounts) {
    this.prng = prng;
    this.faults = faults;
    this.counts = counts;
  }

  /** From now on nothing ends before that moment: a controller that resets, a volume that moves. */
  stall(untilMs: number): void {
    this.stalledUntilMs = Math.max(this.stalledUntilMs, untilMs);
    this.counts.add('disk.stall');
  }

  /** How long an operation that begins now takes. */
  takesMs(nowMs: number): number {
    const { faults, prng } = this;
    let ms = faults.latencyMinMs + prng.float() * (faults.latencyMaxMs - faults.latencyMinMs);
    if (prng.chance(faults.stallRate)) {
      ms += faults.stallMs;
      this.counts.add('disk.stall');
    }
    return Math.max(ms, this.stalledUntilMs - nowMs);
  }

  failed(kind: 'write error' | 'sync error' | 'read error' | 'full'): void {
    if (kind !== 'read error') this.failures++;
    this.counts.add(`disk.${kind}`);
  }

  /**
   * Turns one bit of a file over, where it lies and as it is read: rot at rest. Which file, of those that `isMeant` says yes
   * to and that are not empty, and which bit, is drawn. Null where there is no such file.
   */
  rot(isMeant: (path: string) => boolean): Rot | null {
    const files: [path: string, file: FileNode][] = [];
    collectFiles(this.root, '', files);
    const meant = files.filter(([path, file]) => file.current.size > 0 && isMeant(path));
    if (meant.length === 0) return null;
    const [path, file] = this.prng.pick(meant);
    const position = this.prng.below(file.current.size);
    const bit = this.prng.below(8);
    file.current.flip(position, bit);
    if (position < file.durable.size) file.durable.flip(position, bit);
    this.counts.add('disk.bit flip');
    return { path, position, bit };
  }

  /** Another disk, empty, is put in the place of this one. */
  wipe(): void {
    this.root.clear();
  }

  /** Power is lost: what was not synced is kept, lost or torn. */
  crash(): void {
    this.root.crash(this.prng, this.faults, this.counts);
  }

  find(path: string): Node | null {
    let node: Node = this.root;
    for (const name of partsOf(path)) {
      if (node.kind !== 'directory') return null;
      const next: Node | undefined = node.entries.get(name);
      if (next === undefined) return null;
      node = next;
    }
    return node;
  }

  directory(path: string): DirectoryNode {
    const node = this.find(path);
    if (node === null) throw diskError('ENOENT', `no such directory, '${path}'`);
    if (node.kind !== 'directory') throw diskError('ENOTDIR', `not a directory, '${path}'`);
    return node;
  }

  file(path: string): FileNode {
    const node = this.find(path);
    if (node === null) throw diskError('ENOENT', `no such file, '${path}'`);
    if (node.kind !== 'file') throw diskError('EISDIR', `a directory, '${path}'`);
    return node;
  }

  /** The content of a file, at once: for tests that look at or damage it. */
  peek(path: string): Buffer {
    const { current } = this.file(path);
    const bytes = Buffer.alloc(current.size);
    current.read(0, bytes);
    return bytes;
  }

  /** Replaces the content of a file, at once and durably: for tests that damage it. */
  poke(path: string, bytes: Buffer): void {
    const file = this.file(path);
    file.change({ position: 0, bytes: null });
    file.change({ position: 0, bytes });
    file.persistThrough(file.changes.at(-1));
  }

  /** Whether that many bytes more would be too many. Bytes that replace others count as well: close enough for a fault. */
  isFullFor(bytes: number): boolean {
    return Number.isFinite(this.faults.capacityBytes) && this.allocatedBytes() + bytes > this.faults.capacityBytes;
  }

  allocatedBytes(node: Node = this.root): number {
    if (node.kind === 'file') return node.current.allocatedBytes;
    let total = 0;
    for (const child of node.entries.values()) total += this.allocatedBytes(child);
    return total;
  }
}

function collectFiles(directory: DirectoryNode, path: string, files: [string, FileNode][]): void {
  for (const [name, node] of directory.entries) {
    if (node.kind === 'file') files.push([`${path}/${name}`, node]);
    else collectFiles(node, `${path}/${name}`, files);
  }
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function parentOf(path: string): string {
  return `/${partsOf(path).slice(0, -1).join('/')}`;
}

function nameOf(path: string): string {
  const name = partsOf(path).at(-1);
  if (name === undefined) throw diskError('EINVAL', `no name in '${path}'`);
  return name;
}

class SimFile implements DiskFile {
  readonly path: string;
  private readonly disk: SimDisk;
  private readonly node: FileNode;
  private readonly access: OpenAccess;
  private readonly durable: boolean;
  private isClosed = false;

  constructor(disk: SimDisk, path: string, node: FileNode, access: OpenAccess, durable: boolean) {
    this.disk = disk;
    this.path = path;
    this.node = node;
    this.access = access;
    this.durable = durable;
  }

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    this.check(true);
    if (!this.disk.isAlive) return;
    const { medium } = this.disk;
    const { faults, prng } = medium;
    const place = prng.chance(faults.misdirectRate) ? this.elsewhere(position) : position;
    const copy = Buffer.allocUnsafe(end - start);
    bytes.copy(copy, 0, start, end);
    const change: FileChange = { position: place, bytes: copy };
    if (medium.isFullFor(end - start)) {
      medium.failed('full');
      this.disk.later(() => done(diskError('ENOSPC', `no space left on device, '${this.path}'`)));
      return;
    }
    const fails = prng.chance(faults.writeErrorRate) || (this.durable && prng.chance(faults.syncErrorRate));
    if (!fails || prng.chance(0.5)) this.node.change(change);
    this.node.modifiedMs = this.disk.nowMs;
    const { lostSyncs } = this.node;
    this.disk.later(() => {
      // A sync that failed meanwhile, through whatever descriptor, has failed for this write as well.
      const isDropped = this.durable && this.node.lostSyncs > lostSyncs;
      if (fails || isDropped) {
        medium.failed('write error');
        if (this.durable && fails) this.node.dropChanges(prng);
        done(diskError('EIO', `i/o error, '${this.path}'`));
        return;
      }
      if (this.durable) this.node.persistWrite(change);
      done(null);
    });
  }

  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void {
    this.check(false);
    const { medium } = this.disk;
    const fails = medium.prng.chance(medium.faults.readErrorRate);
    this.disk.later(() => {
      if (fails) medium.failed('read error');
      if (fails) done(diskError('EIO', `i/o error, '${this.path}'`), 0);
      else done(null, this.node.current.read(position, target.subarray(start, end)));
    });
  }

  dataSync(done: DiskCallback): void {
    this.check(false);
    const { medium } = this.disk;
    const { faults, prng } = medium;
    const last = this.node.changes.at(-1);
    const fails = prng.chance(faults.syncErrorRate);
    this.disk.later(() => {
      if (!fails) {
        this.node.persistThrough(last);
        done(null);
        return;
      }
      medium.failed('sync error');
      this.node.dropChanges(prng);
      done(diskError('EIO', `i/o error, '${this.path}'`));
    });
  }

  sync(done: DiskCallback): void {
    this.dataSync(done);
  }

  async truncate(length: number): Promise<void> {
    this.check(true);
    await this.disk.operation(() => this.node.change({ position: length, bytes: null }));
  }

  size(): Promise<number> {
    this.check(false);
    return this.disk.operation(() => this.node.current.size);
  }

  close(): Promise<void> {
    this.check(false);
    this.isClosed = true;
    return this.disk.operation(() => {});
  }

  /** Another sector of this file, where a write goes that loses its way. */
  private elsewhere(position: number): number {
    const { prng, counts } = this.disk.medium;
    const sectors = Math.floor(this.node.current.size / SECTOR_BYTES);
    if (sectors < 2) return position;
    this.disk.medium.strays++;
    counts.add('disk.misdirected');
    return prng.below(sectors) * SECTOR_BYTES + (position % SECTOR_BYTES);
  }

  private check(writes: boolean): void {
    if (this.isClosed || (writes && this.access === 'read')) {
      throw diskError('EBADF', `bad file descriptor, '${this.path}'`);
    }
  }
}

/** The disk as one life of a machine sees it: what was under way in an earlier life never comes back. */
export class SimDisk implements Disk {
  readonly medium: SimMedium;
  private readonly simulation: Simulation;
  private readonly life: Life;

  constructor(simulation: Simulation, life: Life, medium: SimMedium) {
    this.simulation = simulation;
    this.life = life;
    this.medium = medium;
  }

  get nowMs(): number {
    return this.simulation.nowMs;
  }

  /** Whether the process that has this disk is still there: one that was stopped in the midst of a step writes no more. */
  get isAlive(): boolean {
    return this.life.isAlive;
  }

  /** Calls back when the operation, begun now, is over. */
  later(callback: () => void): void {
    this.simulation.schedule(this.medium.takesMs(this.simulation.nowMs), this.life, callback);
  }

  /** Does `action` when the operation is over, and gives its result or error. */
  operation<T>(action: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.later(() => {
        try {
          resolve(action());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  open(path: string, access: OpenAccess, options?: OpenOptions): Promise<DiskFile> {
    return this.operation(() => {
      const node = access === 'create' ? this.createFile(path) : this.medium.file(path);
      return new SimFile(this, path, node, access, options?.durable === true);
    });
  }

  readFile(path: string): Promise<Buffer> {
    return this.operation(() => this.medium.peek(path));
  }

  async writeFileAtomic(path: string, bytes: Buffer): Promise<void> {
    const temporary = `${path}.tmp`;
    await this.remove(temporary);
    const file = await this.open(temporary, 'create');
    await new Promise<void>((resolve, reject) => {
      const synced = (error: Error | null): void => (error === null ? resolve() : reject(error));
      file.write(bytes, 0, bytes.length, 0, (error) => (error === null ? file.sync(synced) : reject(error)));
    });
    await file.close();
    await this.rename(temporary, path);
    await this.syncDirectory(parentOf(path));
  }

  makeDirectory(path: string): Promise<void> {
    return this.operation(() => {
      let directory = this.medium.root;
      for (const name of partsOf(path)) {
        let next = directory.entries.get(name);
        if (next === undefined) {
          next = new DirectoryNode();
          directory.change({ removed: null, added: name, node: next });
          directory.persist();
        }
        if (next.kind !== 'directory') throw diskError('ENOTDIR', `not a directory, '${path}'`);
        directory = next;
      }
    });
  }

  list(path: string): Promise<string[]> {
    return this.operation(() => [...this.medium.directory(path).entries.keys()].sort());
  }

  rename(from: string, to: string): Promise<void> {
    return this.operation(() => {
      const source = this.medium.directory(parentOf(from));
      const target = this.medium.directory(parentOf(to));
      const node = source.entries.get(nameOf(from));
      if (node === undefined) throw diskError('ENOENT', `no such file, '${from}'`);
      const inTheWay = target.entries.get(nameOf(to));
      if (inTheWay?.kind === 'directory' && inTheWay.entries.size > 0) throw diskError('ENOTEMPTY', `'${to}'`);
      if (source === target) {
        source.change({ removed: nameOf(from), added: nameOf(to), node });
      } else {
        target.change({ removed: null, added: nameOf(to), node });
        source.change({ removed: nameOf(from), added: null, node: null });
      }
    });
  }

  remove(path: string): Promise<void> {
    return this.operation(() => {
      const parent = this.medium.find(parentOf(path));
      if (parent?.kind !== 'directory' || !parent.entries.has(nameOf(path))) return;
      parent.change({ removed: nameOf(path), added: null, node: null });
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.operation(() => this.medium.directory(path).persist());
  }

  freeBytes(path: string): Promise<number> {
    return this.operation(() => {
      if (this.medium.find(path) === null) throw diskError('ENOENT', `no such file or directory, '${path}'`);
      return Math.max(0, this.medium.faults.capacityBytes - this.medium.allocatedBytes());
    });
  }

  stat(path: string): Promise<FileStat | null> {
    return this.operation(() => {
      const node = this.medium.find(path);
      if (node === null) return null;
      if (node.kind === 'directory') return { isDirectory: true, size: 0, modifiedMs: 0 };
      return { isDirectory: false, size: node.current.size, modifiedMs: node.modifiedMs };
    });
  }

  lock(path: string): Promise<Lock> {
    return this.operation(() => {
      const found = this.medium.find(path);
      const node = found === null ? this.createFile(path) : this.medium.file(path);
      if (node.holder?.isAlive === true) throw diskError('ELOCKED', `another process holds ${path}`);
      node.holder = this.life;
      return {
        release: (): Promise<void> =>
          this.operation(() => {
            node.holder = null;
          }),
      };
    });
  }

  lockedFiles(_directory: string): LockedFiles {
    return new PlainLockedFiles(this);
  }

  private createFile(path: string): FileNode {
    const parent = this.medium.directory(parentOf(path));
    if (parent.entries.has(nameOf(path))) throw diskError('EEXIST', `file already exists, '${path}'`);
    const node = new FileNode();
    node.modifiedMs = this.nowMs;
    parent.change({ removed: null, added: nameOf(path), node });
    return node;
  }
}
