/** Encrypted logs on simulated disks, for tests. */
import assert from 'node:assert/strict';
import { Entry, HardState } from '@etsd/proto';
import { joinPath, KeyRing, SEAL_HEAD_BYTES, SealedDisk, Sealing, type World } from '@etsd/runtime';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { listSegments, Wal } from '../index.ts';

export const DIRECTORY = '/d/wal';
export const OPTIONS = { segmentBytes: 4096, fillAheadBytes: 0, segmentsMax: 100 };
export const START = { index: 0, term: 0 };
export const SECRET = 'nobody is to find this';
export const METADATA = Buffer.from('whose log this is');

export function ring(...ids: readonly string[]): KeyRing {
  const lines = ids.map((id) => `${id} ${Buffer.from(id.repeat(32)).subarray(0, 31).toString('hex')}00\n`);
  return KeyRing.parse(Buffer.from(lines.join('')), 'keys of the test');
}

export function encrypted({ world }: SimMachine, keys: KeyRing): World {
  return { ...world, disk: new SealedDisk(world.disk, new Sealing(keys, world.random)) };
}

export function entryAt(index: number): Entry {
  return Entry.create({ term: 1, index, data: Buffer.from(`${SECRET} ${index} `.repeat(10)) });
}

export async function save(wal: Wal, first: number, last: number): Promise<void> {
  for (let index = first; index <= last; index++) {
    const state = HardState.create({ term: 1, vote: '00000000000000aa', commit: index - 1 });
    await new Promise<void>((resolve, reject) => {
      wal.save(state, [entryAt(index)], 0, 1, (error) => (error === null ? resolve() : reject(error)));
    });
  }
}

/** A log of these entries, on a disk of its own. */
export class Log {
  readonly universe = new SimUniverse(1);
  readonly machine = this.universe.addMachine('m');

  run<T>(work: Promise<T>): Promise<T> {
    return this.universe.simulation.runToEnd(work);
  }

  async write(last: number, world: World): Promise<void> {
    const make = async (): Promise<void> => {
      await world.disk.makeDirectory('/d');
      const wal = await Wal.create(world, DIRECTORY, METADATA, OPTIONS);
      await save(wal, 1, last);
      await wal.close();
    };
    await this.run(make());
  }

  /** Opens it, says how many entries it holds, all of them as written, and closes it after `go`. */
  open(world: World, go: (wal: Wal) => Promise<void> = async () => {}): Promise<number> {
    const look = async (): Promise<number> => {
      const { wal, entries, metadata } = await Wal.open(world, DIRECTORY, START, OPTIONS);
      assert.deepEqual(metadata, METADATA);
      for (const [at, entry] of entries.entries()) assert.deepEqual(Entry.encode(entry), Entry.encode(entryAt(at + 1)));
      await go(wal);
      await wal.close();
      return entries.length;
    };
    return this.run(look());
  }

  async names(): Promise<string[]> {
    return (await this.run(listSegments(this.machine.world.disk, DIRECTORY))).map(({ name }) =>
      joinPath(DIRECTORY, name),
    );
  }

  peek(path: string): Buffer {
    return this.machine.medium.peek(path);
  }

  poke(path: string, bytes: Buffer): void {
    this.machine.medium.poke(path, bytes);
  }
}

/** Where the frames of a segment stand; the last is where the next one would. */
export function framesOf(bytes: Buffer): number[] {
  const places = [SEAL_HEAD_BYTES];
  for (let at = SEAL_HEAD_BYTES; at + 4 <= bytes.length && bytes.readUInt32LE(at) > 0; ) {
    at += Math.ceil((bytes.readUInt32LE(at) + 36) / 8) * 8;
    places.push(at);
  }
  return places;
}
