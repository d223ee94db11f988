/**
 * Goal: whatever is in the files, the reader neither crashes nor invents entries: it gives a first part of what was
 * written, or says where the damage is (etcd did not: CVE-2020-15106, CVE-2020-15112). Method: a log of four segments, one of them changed at random, then opened.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError, OperatorError, Prng } from '@etsd/base';
import { Entry, HardState, RaftSnapshot, SnapshotMetadata } from '@etsd/proto';
import { joinPath } from '@etsd/runtime';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { forSeeds, mutate } from '@etsd/testkit';
import { decodeSnapshotFile, encodeSnapshotFile, listSegments, Wal } from './index.ts';

const DIRECTORY = '/d/wal';
const OPTIONS = { segmentBytes: 2048, fillAheadBytes: 0, segmentsMax: 100 };
const START = { index: 0, term: 0 };

interface Sample {
  readonly names: readonly string[];
  readonly files: ReadonlyMap<string, Buffer>;
  readonly entries: readonly Entry[];
}

async function write(universe: SimUniverse, machine: SimMachine): Promise<Sample> {
  const prng = new Prng(1);
  const entries: Entry[] = [];
  const build = async (): Promise<string[]> => {
    await machine.world.disk.makeDirectory('/d');
    const wal = await Wal.create(machine.world, DIRECTORY, Buffer.from('metadata'), OPTIONS);
    for (let index = 1; index <= 30; index++) {
      const entry = Entry.create({ term: 1 + (index >> 3), index, data: prng.bytes(prng.below(400)) });
      entries.push(entry);
      const state = HardState.create({ term: entry.term, vote: '00000000000000aa', commit: index - 1 });
      await new Promise<void>((resolve) => wal.save(state, [entry], 0, 1, () => resolve()));
    }
    await wal.close();
    return (await listSegments(machine.world.disk, DIRECTORY)).map(({ name }) => name);
  };
  const names = await universe.simulation.runToEnd(build());
  const files = new Map(names.map((name) => [name, machine.medium.peek(joinPath(DIRECTORY, name))]));
  return { names, files, entries };
}

function isFirstPart(part: readonly Entry[], whole: readonly Entry[]): boolean {
  return part.every((entry, at) => {
    const original = whole[at] as Entry;
    return entry.index === original.index && entry.term === original.term && entry.data.equals(original.data);
  });
}

test('a changed file is read as a first part of the log, or refused with the place', async () => {
  const counts = { whole: 0, part: 0, repaired: 0, refused: 0 };
  const universe = new SimUniverse(1);
  const machine = universe.addMachine('m');
  const sample = await write(universe, machine);
  assert.ok(sample.names.length >= 4);
  await forSeeds(3000, async (prng) => {
    const name = prng.chance(0.5) ? (sample.names.at(-1) as string) : prng.pick(sample.names);
    for (const [file, bytes] of sample.files) machine.medium.poke(joinPath(DIRECTORY, file), bytes);
    machine.medium.poke(joinPath(DIRECTORY, name), mutate(prng, sample.files.get(name) as Buffer));
    try {
      const opened = await universe.simulation.runToEnd(Wal.open(machine.world, DIRECTORY, START, OPTIONS));
      assert.ok(isFirstPart(opened.entries, sample.entries), `${name}: entries that were never written`);
      if (opened.repair !== null) counts.repaired++;
      else if (opened.entries.length === sample.entries.length) counts.whole++;
      else counts.part++;
      await universe.simulation.runToEnd(opened.wal.close());
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error;
      assert.ok(error.advice !== '');
      if (error instanceof CorruptionError) assert.match(error.where, /\.wal( at byte \d+)?$/);
      counts.refused++;
    }
    machine.kill();
  });
  console.log(JSON.stringify(counts));
  const { part, ...others } = counts;
  if (process.env['FUZZ_SEED'] === undefined) assert.ok(part > 0 && Object.values(others).every((count) => count > 5));
});

test('a changed snapshot file is refused, or its change does not matter', async () => {
  const metadata = SnapshotMetadata.create({ index: 300, term: 4 });
  const snapshot = RaftSnapshot.create({ data: Buffer.from('some data'), metadata });
  const bytes = encodeSnapshotFile(snapshot);
  const decoded = decodeSnapshotFile(bytes, 'here');
  await forSeeds(3000, (prng) => {
    try {
      assert.deepEqual(decodeSnapshotFile(mutate(prng, bytes), 'here'), decoded);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
    }
  });
});
