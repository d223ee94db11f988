import { errorFrom, type Logger } from '@etsd/base';
import { HASH_SLICE_BYTES, type KvHashJob, type Store } from '@etsd/mvcc';
import type { EtcdError } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import type { StateHash } from './compare.ts';

/** Hashes remembered, for comparing with those of other members. */
const STATES_KEPT = 16;
/** A slice takes about a quarter of a millisecond; the next one comes so much later, in milliseconds. */
const PAUSE_MS = 3;
/** A member that lags behind the revision waits for it, so often and so long in milliseconds. */
const WAITS = 30;
const WAIT_MS = 1000;

export interface StateCheckParts {
  readonly store: Pick<Store, 'revision' | 'compactRevision' | 'hashKv' | 'compactionHashes'>;
  readonly world: Pick<World, 'timers'> & {
    readonly disk: Pick<World['disk'], 'readFile' | 'stat' | 'writeFileAtomic'>;
  };
  /** Where the last hash is kept over restarts. */
  readonly path: string;
  readonly logger: Logger;
  /** What is stored changed by itself. */
  readonly damaged: (state: StateHash) => void;
}

/**
 * Reads the whole store now and then, a slice at a time, and keeps its hash: for other members to compare with theirs, and
 * for the next reading, which finds out whether what was there then is still there. So rot on the disk is noticed in data
 * that nobody reads, also by a member that is alone.
 */
export class StateCheck {
  /** Readings of the whole store that were finished. */
  checks = 0;
  /** Those which found another hash than before. */
  failures = 0;
  private readonly parts: StateCheckParts;
  private readonly states: StateHash[] = [];
  /** The hash of the last reading: it can be made again as long as nothing more is compacted. */
  private seal: StateHash | null = null;
  private isBusy = false;
  private isStopped = false;

  constructor(parts: StateCheckParts) {
    this.parts = parts;
  }

  /** Reads what the last life has left. */
  async open(): Promise<void> {
    const { path, world } = this.parts;
    if ((await world.disk.stat(path)) === null) return;
    this.seal = readSeal(await world.disk.readFile(path));
  }

  stop(): void {
    this.isStopped = true;
  }

  /** What this member knows of its states, newest last. */
  known(): readonly StateHash[] {
    const compactions = this.parts.store.compactionHashes.all().map(({ hash, hashRevision, compactRevision }) => ({
      revision: hashRevision,
      compactRevision,
      hash,
    }));
    return [...this.states, ...compactions];
  }

  /** The state is another one. */
  reset(): void {
    this.states.length = 0;
    this.seal = null;
  }

  /** Reads everything, as of a revision that may be yet to come. Does nothing while it is at it already. */
  check(revision: number): void {
    if (this.isBusy || this.isStopped) return;
    this.isBusy = true;
    this.run(revision)
      .catch((error: unknown) =>
        this.parts.logger.log('warn', 'failed to check the stored state', { error: errorFrom(error).message }),
      )
      .finally(() => {
        this.isBusy = false;
      });
  }

  private async run(revision: number): Promise<void> {
    const { store } = this.parts;
    for (let waits = 0; store.revision < revision && waits < WAITS; waits++) await this.pause(WAIT_MS);
    const { seal } = this;
    if (seal !== null && seal.compactRevision === store.compactRevision && seal.revision <= store.revision) {
      const again = await this.hash(seal.revision);
      if (again === null) return;
      // A compaction in between makes it another question.
      if (again.compactRevision === seal.compactRevision) this.compare(seal, again);
    }
    if (seal !== null && seal.revision === revision && seal.compactRevision === store.compactRevision) return;
    const fresh = await this.hash(revision);
    if (fresh !== null) await this.keep(fresh);
  }

  private compare(before: StateHash, now: StateHash): void {
    const { damaged, logger } = this.parts;
    this.note(now);
    if (before.hash === now.hash) return;
    this.failures++;
    this.seal = now;
    logger.log('error', 'the stored state has changed by itself: what was read is not what was read before', {
      'to-revision': before.revision,
      'compact-revision': before.compactRevision,
      'hash-before': before.hash,
      hash: now.hash,
      advice: 'Look at the disk and the memory of this machine. With other members this one mends itself.',
    });
    damaged(now);
  }

  /** HashKV at a revision; null where it can not be made. */
  private async hash(revision: number): Promise<StateHash | null> {
    const job: KvHashJob | EtcdError = this.parts.store.hashKv(revision);
    if (job instanceof Error) return null;
    while (!job.slice(HASH_SLICE_BYTES)) {
      await this.pause(PAUSE_MS);
      if (!this.isStopped) continue;
      job.cancel();
      return null;
    }
    this.checks++;
    const { hash, compactRevision } = job;
    return { revision, compactRevision, hash };
  }

  private note(state: StateHash): void {
    const at = this.states.findIndex(
      ({ revision, compactRevision }) => revision === state.revision && compactRevision === state.compactRevision,
    );
    if (at >= 0) this.states.splice(at, 1);
    this.states.push(state);
    if (this.states.length > STATES_KEPT) this.states.splice(0, 1);
  }

  private async keep(state: StateHash): Promise<void> {
    const { path, world } = this.parts;
    this.note(state);
    this.seal = state;
    await world.disk.writeFileAtomic(path, Buffer.from(`${JSON.stringify(state)}\n`));
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.parts.world.timers.after(ms, resolve, { ref: false }));
  }
}

function readSeal(bytes: Buffer): StateHash | null {
  try {
    const { revision, compactRevision, hash } = JSON.parse(bytes.toString('utf8')) as Partial<StateHash>;
    const isWhole = [revision, compactRevision, hash].every(Number.isSafeInteger);
    return isWhole ? ({ revision, compactRevision, hash } as StateHash) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw errorFrom(error);
  }
}
