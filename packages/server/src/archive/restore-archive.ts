/** A data directory of a past moment, and the proof beforehand that there will be one. */
import type { Backend } from '@etsd/backend';
import { errorFrom, OperatorError } from '@etsd/base';
import { type Disk, joinPath } from '@etsd/runtime';
import { Digest } from '@etsd/state';
import {
  type BulkStore,
  checkTargets,
  loadStoreFile,
  makeDataDirectory,
  type RestoreTarget,
  turnOf,
} from '../snapshots/restore.ts';
import type { Pause } from '../snapshots/store-file.ts';
import type { Chain } from './chain.ts';
import type { BaseManifest, Sample } from './manifest.ts';
import type { RestorePlan } from './plan.ts';
import { Replay, type ReplayEnd, type ReplayParts, TO_THE_END, withBase } from './replay.ts';

export interface RestoredMoment {
  /** Of the archived cluster, before it was lifted. */
  readonly revision: number;
  readonly index: number;
  readonly term: number;
  /** Entries applied behind the base. */
  readonly entries: number;
}

/** Brings a store, which has the content of the plan's base, to its moment. */
export async function replayPlan(
  plan: RestorePlan,
  backend: Backend,
  parts: Omit<ReplayParts, 'chain'>,
): Promise<{ replay: Replay; restored: RestoredMoment }> {
  const { base, end, pieces, chain } = plan;
  const replay = new Replay(backend, base, end);
  await replay.run({ ...parts, chain }, pieces);
  await replay.settle(parts.pause);
  const { store, state } = replay;
  const missed = Number.isFinite(end.revision) ? store.revision !== end.revision : state.appliedIndex < end.index;
  if (missed && (Number.isFinite(end.revision) || Number.isFinite(end.index))) {
    throw new OperatorError(
      `the log in the archive ends at revision ${store.revision} (entry ${state.appliedIndex}), before what was asked for`,
      'Ask for an earlier moment, or use the archive of another member.',
    );
  }
  const { appliedIndex: index, appliedTerm: term } = state;
  return { replay, restored: { revision: store.revision, index, term, entries: index - base.at.index } };
}

/** Makes the data directory of a member of a new cluster, with the data of the moment. */
export async function restoreArchive(plan: RestorePlan, target: RestoreTarget): Promise<RestoredMoment> {
  const { world, dataDir, walDir } = target;
  const { disk } = world;
  await checkTargets(target, walDir === '' ? joinPath(dataDir, 'member', 'wal') : walDir);
  let restored: RestoredMoment | null = null;
  const pause = turnOf(world);
  const load = async (storePath: string, temporary: string): Promise<void> => {
    const parts = { disk, temporary, pause, chain: plan.chain };
    await withBase(parts, plan.base, async (file) => loadStoreFile(file, await target.openLoader(storePath), pause));
  };
  await makeDataDirectory(target, load, async (backend, temporary) => {
    ({ restored } = await replayPlan(plan, backend, { disk, temporary, pause }));
  });
  if (restored === null) throw new Error('nothing was restored');
  return restored;
}

/** What a proof found. */
export interface ChainProof {
  readonly chain: Chain;
  /** Bases that were read whole. */
  readonly bases: number;
  /** Bases that the log behind the one before led to, with the same content. */
  readonly agreed: number;
  /** Entries applied. */
  readonly entries: number;
  /** Moments whose revision was that of their manifest. */
  readonly moments: number;
  /** How far a restore gets. */
  readonly end: RestoredMoment | null;
  readonly problems: readonly string[];
}

export interface ProofParts {
  readonly disk: Disk;
  readonly temporary: string;
  readonly pause: Pause;
  /** The store in a file, and one that is made and filled in one go. */
  readonly openBackend: (path: string) => Backend;
  readonly openLoader: (path: string) => Promise<BulkStore>;
}

/**
 * Restores everything there is to restore, in a temporary place: each base is read, the log behind it is applied up to
 * where the next one stands, and the two must be the same; so must the revisions that were noted on the way.
 */
export async function proveChain(chain: Chain, parts: ProofParts): Promise<ChainProof> {
  const found = { bases: 0, agreed: 0, entries: 0, moments: 0, end: null as RestoredMoment | null };
  const problems = chain.problems.map(({ message }) => message);
  let expected: Content | null = null;
  for (const [at, base] of chain.bases.entries()) {
    try {
      const next = chain.bases[at + 1];
      const proof = await proveBase({ chain, base, next, expected }, parts);
      found.bases++;
      found.entries += proof.restored.entries;
      found.moments += proof.moments;
      if (expected !== null) found.agreed++;
      found.end = proof.restored;
      expected = proof.content;
    } catch (error) {
      expected = null;
      problems.push(`${base.name}: ${errorFrom(error).message}`);
    }
  }
  if (chain.bases.length === 0) problems.push('there is no base: nothing can be restored');
  return { chain, ...found, problems };
}

/** What two ways to the same moment must agree on. */
interface Content {
  readonly index: number;
  readonly hash: number;
  readonly compactRevision: number;
  readonly digest: number;
}

interface BaseProof {
  readonly restored: RestoredMoment;
  readonly moments: number;
  /** At the next base; null where the log does not lead there. */
  readonly content: Content | null;
}

interface ProofStep {
  readonly chain: Chain;
  readonly base: BaseManifest;
  readonly next: BaseManifest | undefined;
  /** What the log before led to. */
  readonly expected: Content | null;
}

async function proveBase({ chain, base, next, expected }: ProofStep, parts: ProofParts): Promise<BaseProof> {
  const { disk, temporary, pause } = parts;
  const path = joinPath(temporary, base.name);
  await disk.makeDirectory(path);
  const storePath = joinPath(path, 'store.mdb');
  const replayParts = { disk, temporary: path, pause, chain };
  await withBase(replayParts, base, async (file) => loadStoreFile(file, await parts.openLoader(storePath), pause));
  const backend = parts.openBackend(storePath);
  try {
    const pieces = chain.piecesBehind(base);
    const reaches =
      next !== undefined && pieces.some(({ samples }) => samples.some(({ index }) => index >= next.at.index));
    const end: ReplayEnd = reaches ? { ...TO_THE_END, index: next.at.index } : TO_THE_END;
    const replay = new Replay(backend, base, end);
    if (replay.state.appliedIndex !== base.at.index || replay.store.revision !== base.at.revision) {
      throw new OperatorError(
        `it holds entry ${replay.state.appliedIndex} and revision ${replay.store.revision}, ` +
          `not ${base.at.index} and ${base.at.revision} as its manifest says`,
      );
    }
    if (expected !== null) compare(expected, await contentAt(replay, pause), base);
    const noted = notedRevisions(chain.samples(), base.at.index);
    let moments = 0;
    replay.onApplied = (index, revision) => {
      const wanted = noted.get(index);
      if (wanted === undefined) return;
      moments++;
      if (wanted === revision) return;
      throw new OperatorError(`entry ${index} leads to revision ${revision}; the member noted ${wanted}`);
    };
    await replay.run(replayParts, pieces);
    await replay.settle(pause);
    const { appliedIndex: index, appliedTerm: term } = replay.state;
    const restored = { revision: replay.store.revision, index, term, entries: index - base.at.index };
    const content = reaches && index === next.at.index ? await contentAt(replay, pause) : null;
    return { restored, moments, content };
  } finally {
    await backend.close();
    await disk.remove(path);
  }
}

function notedRevisions(samples: readonly Sample[], behind: number): Map<number, number> {
  return new Map(samples.filter(({ index }) => index > behind).map(({ index, revision }) => [index, revision]));
}

const HASH_SLICE_BYTES = 1024 * 1024;
const DIGEST_RECORDS = 5000;

async function contentAt({ store, state, backend }: Replay, pause: Pause): Promise<Content> {
  const job = store.hashKv(0);
  if (job instanceof Error) throw job;
  while (!job.slice(HASH_SLICE_BYTES)) await pause();
  const { hash, compactRevision } = job;
  const rest = new Digest(backend, REST_BUCKETS);
  while (!rest.step(DIGEST_RECORDS)) await pause();
  return { index: state.appliedIndex, hash, compactRevision, digest: rest.value };
}

/** What is not in the hash of the keys. The members are left out: a replay keeps no configuration of theirs. */
const REST_BUCKETS = ['alarm', 'auth', 'authRoles', 'authUsers', 'lease'] as const;

function compare(replayed: Content, read: Content, base: BaseManifest): void {
  if (replayed.index !== read.index) return;
  const isSame =
    replayed.hash === read.hash && replayed.compactRevision === read.compactRevision && replayed.digest === read.digest;
  if (isSame) return;
  throw new OperatorError(
    `the log before leads to another content at entry ${base.at.index}: keys ${replayed.hash} instead of ${read.hash} ` +
      `(compacted at ${replayed.compactRevision} and ${read.compactRevision}), leases, users and roles ` +
      `${replayed.digest} instead of ${read.digest}`,
  );
}
