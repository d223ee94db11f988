import { HASH_SLICE_BYTES, type KvHashJob, type KvHashResult } from '@etsd/mvcc';
import type { EtcdError } from '@etsd/proto';
import type { SlicedJob } from '../api/slice-runner.ts';

/** Is told a hash of the keys: exactly one of `error` and `result` is null. */
export type HashCallback = (error: EtcdError | null, result: KvHashResult | null, currentRevision: number) => void;

export interface KvHashesParts {
  readonly store: {
    readonly revision: number;
    hashKv(revision: number): KvHashJob | EtcdError;
  };
  readonly runner: { add(job: SlicedJob): void };
}

/** Hashes of this member's own keys, a slice a turn, so that nobody waits for them. */
export class KvHashes {
  private readonly parts: KvHashesParts;

  constructor(parts: KvHashesParts) {
    this.parts = parts;
  }

  /** Of a revision, 0 for the current one; that of a compaction is known already. `currentRevision` is that at the begin. */
  byRevision(revision: number, done: HashCallback): void {
    const { runner, store } = this.parts;
    const currentRevision = store.revision;
    const job = store.hashKv(revision);
    if (job instanceof Error) {
      done(job, null, currentRevision);
      return;
    }
    runner.add({
      step() {
        if (!job.slice(HASH_SLICE_BYTES)) return false;
        done(null, job, currentRevision);
        return true;
      },
    });
  }
}
