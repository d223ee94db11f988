import type { ConfChange, ConfChangeV2, ConfState } from '@etsd/proto';
import type { Applier, Waiter } from './applier.ts';

/** Stands between the log and what applies it, and hands on whatever it has nothing to say about. */
export class PassingApplier<Inner extends Applier = Applier> implements Applier {
  protected readonly inner: Inner;

  constructor(inner: Inner) {
    this.inner = inner;
  }

  get appliedIndex(): number {
    return this.inner.appliedIndex;
  }

  get confState(): ConfState | null {
    return this.inner.confState;
  }

  apply(index: number, term: number, data: Buffer, waiter: Waiter | null): void {
    this.inner.apply(index, term, data, waiter);
  }

  took(ms: number): void {
    this.inner.took?.(ms);
  }

  applyEmpty(index: number, term: number): void {
    this.inner.applyEmpty(index, term);
  }

  applyConfChange(
    index: number,
    term: number,
    change: ConfChange,
    toRaft: (change: ConfChange | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.inner.applyConfChange(index, term, change, toRaft, waiter);
  }

  applyWideChange(
    index: number,
    term: number,
    change: ConfChangeV2,
    toRaft: (change: ConfChangeV2 | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.inner.applyWideChange(index, term, change, toRaft, waiter);
  }

  batchEnd(): void {
    this.inner.batchEnd();
  }
}
