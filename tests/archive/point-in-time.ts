/**
 * Writes at random to a member that archives, and restores its archive to random revisions and moments: each must be, key
 * by key, what the client was told.
 *
 *     node tests/archive/point-in-time.ts [--revisions 1000] [--changes 20000] [--seed 1]
 */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MemoryBackend } from '@etsd/backend';
import { LmdbBackend, StoreLoader } from '@etsd/backend/lmdb';
import { OPEN_END, Prng } from '@etsd/base';
import { type Store, WHOLE_RANGE } from '@etsd/mvcc';
import { KeyValue } from '@etsd/proto';
import { nodeWorld } from '@etsd/runtime/node';
import {
  type BulkStore,
  type Chain,
  type ChainProof,
  loadStoreFile,
  planRestore,
  proveChain,
  type RestoredMoment,
  type RestoreMoment,
  readArchive,
  replayPlan,
  withBase,
} from '@etsd/server';
import { eventually } from '../support/conditions.ts';
import { ArchivedMember, type ArchivedOptions } from './archived-member.ts';
import { RecordedClient, type SeenKey } from './history.ts';

const { disk } = nodeWorld();
const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const ANY = { clusterId: '', memberId: '' } as const;
const WAIT_MS = 300_000;

/** All keys of a store as a client would see them. */
function seenIn(store: Store): Map<string, SeenKey> {
  const result = { records: [] as Buffer[], count: 0, more: false };
  equal(store.range('\0', OPEN_END, WHOLE_RANGE, result), null);
  const seen = new Map<string, SeenKey>();
  for (const record of result.records) {
    const { key, value, createRevision, modRevision, version, lease } = KeyValue.decode(record);
    const view = { value: value.toString(), create: createRevision, mod: modRevision, version, lease };
    seen.set(key.toString(), view);
  }
  return seen;
}

/** What the archive makes of a moment. */
export async function restoredAt(
  chains: readonly Chain[],
  moment: RestoreMoment,
  place: string,
): Promise<{ restored: RestoredMoment; seen: Map<string, SeenKey> }> {
  const { replay, restored } = await replayed(chains, moment, place);
  return { restored, seen: seenIn(replay.store) };
}

/** The store of a moment, in memory. */
export async function replayed(chains: readonly Chain[], moment: RestoreMoment, temporary: string) {
  mkdirSync(temporary, { recursive: true });
  const backend = new MemoryBackend();
  const plan = planRestore(chains, moment, ANY);
  const parts = { disk, temporary, pause };
  const loader: BulkStore = {
    isFull: false,
    add: (bucket, key, value) => backend.put(bucket, key, Buffer.from(value)),
    drain: pause,
    close: () => backend.flush(),
  };
  await withBase({ ...parts, chain: plan.chain }, plan.base, (file) => loadStoreFile(file, loader, pause));
  return await replayPlan(plan, backend, parts);
}

/** Waits until everything the client has done is in the archive. */
export function archived(member: ArchivedMember, revision: number): Promise<Chain[]> {
  return eventually(WAIT_MS, `revision ${revision} in the archive`, async () => {
    const chains = await readArchive(disk, member.archive);
    return chains.some(({ end }) => (end?.revision ?? 0) >= revision) ? chains : null;
  });
}

export interface Prepared {
  readonly member: ArchivedMember;
  readonly history: RecordedClient;
  readonly chains: readonly Chain[];
}

export async function prove(chain: Chain, place: string): Promise<ChainProof> {
  mkdirSync(place, { recursive: true });
  const openBackend = (path: string): LmdbBackend =>
    new LmdbBackend(path, (error) => {
      throw error;
    });
  const openLoader = (path: string): Promise<StoreLoader> => StoreLoader.create(path);
  return await proveChain(chain, { disk, temporary: place, pause, openBackend, openLoader });
}

/** A member that was written to, and what it has archived: two copies of its store at least. */
export async function writtenMember(changes: number, seed: number, options: ArchivedOptions = {}): Promise<Prepared> {
  const member = await new ArchivedMember(options).start();
  try {
    const history = new RecordedClient(seed);
    await member.said('archived a copy of the store');
    const written = async (revision: number): Promise<readonly Chain[]> => {
      while (history.revision < revision) await history.act(member.client);
      return archived(member, history.revision);
    };
    let chains = await written(changes);
    // A fast disk takes them all before the second copy is due.
    while ((chains[0]?.bases.length ?? 0) < 2) chains = await written(history.revision + 1);
    return { member, history, chains };
  } catch (error) {
    await member.dispose();
    throw error;
  }
}

export interface Checked {
  readonly revisions: number;
  readonly moments: number;
  readonly entries: number;
}

/** Restores revisions and moments at random and compares. */
export async function checkMoments(
  { chains, history, member }: Prepared,
  revisions: number,
  seed: number,
): Promise<Checked> {
  const random = new Prng(seed);
  const place = join(member.place, 'unpacked');
  const first = Math.min(...chains.flatMap(({ bases }) => bases.map(({ at }) => at.revision)));
  let entries = 0;
  for (let round = 0; round < revisions; round++) {
    const revision = random.between(first, history.revision);
    const { restored, seen } = await restoredAt(chains, { kind: 'revision', revision }, place);
    equal(restored.revision, revision);
    deepEqual(seen, history.at(revision), `revision ${revision}`);
    entries += restored.entries;
  }
  const moments = Math.ceil(revisions / 10);
  const last = Math.max(...chains.map(({ end }) => end?.timeMs ?? 0));
  const known = history.times.filter(({ timeMs, revision }) => timeMs < last && revision >= first);
  for (let round = 0; round < moments; round++) {
    const at = random.below(known.length);
    const { timeMs } = known[at] as (typeof known)[number];
    const { restored, seen } = await restoredAt(chains, { kind: 'time', timeMs }, place);
    deepEqual(seen, history.at(restored.revision), `moment ${timeMs}`);
    // Nothing later than the moment, and no more missing than two samples lie apart.
    const laterThan = history.times.find((each) => each.timeMs > timeMs)?.revision ?? history.revision;
    ok(restored.revision <= laterThan, `revision ${restored.revision} was not there at ${timeMs}`);
  }
  return { revisions, moments, entries };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      revisions: { type: 'string', default: '1000' },
      changes: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
    },
  });
  const [revisions, changes, seed] = [values.revisions, values.changes, values.seed].map(Number) as [
    number,
    number,
    number,
  ];
  const startMs = performance.now();
  const prepared = await writtenMember(changes, seed, { flags: { 'archive-base-interval': '3s' } });
  try {
    const { chains } = prepared;
    const counts = chains.map(
      ({ bases, runs }) => `${bases.length} bases, ${runs.flatMap(({ pieces }) => pieces).length} pieces`,
    );
    console.log(`seed ${seed}: ${prepared.history.revision} revisions, ${counts.join('; ')}`);
    const checked = await checkMoments(prepared, revisions, seed);
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    console.log(
      `${checked.revisions} revisions and ${checked.moments} moments restored, each equal to the history; ` +
        `${checked.entries} entries applied, ${seconds} s`,
    );
    for (const chain of chains) {
      const proof = await prove(chain, join(prepared.member.place, 'proof'));
      equal(proof.problems.length, 0, proof.problems.join('\n'));
      console.log(
        `proved: ${proof.bases} bases, ${proof.agreed} agreed with the log, ${proof.moments} revisions noted`,
      );
    }
  } finally {
    await prepared.member.dispose();
  }
}
