import { V2Failure } from './event.ts';

/** What is counted, under etcd's names. */
const KINDS = ['gets', 'sets', 'delete', 'update', 'create', 'compareAndSwap', 'compareAndDelete'] as const;

export type V2Kind = (typeof KINDS)[number];

/** How often what was done to the tree since this member started; each member has its own numbers. */
export class V2Stats {
  private readonly succeeded = new Map<V2Kind, number>();
  private readonly failed = new Map<V2Kind, number>();
  private expirations = 0;

  count(kind: V2Kind, isSuccess: boolean): void {
    const counts = isSuccess ? this.succeeded : this.failed;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }

  /** Counts the outcome and hands it on. */
  note<T>(kind: V2Kind, outcome: T): T {
    this.count(kind, !(outcome instanceof V2Failure));
    return outcome;
  }

  expired(): void {
    this.expirations++;
  }

  /** How often so far, of those that succeeded or failed. */
  total(kind: V2Kind, isSuccess: boolean): number {
    return (isSuccess ? this.succeeded : this.failed).get(kind) ?? 0;
  }

  get expiredTotal(): number {
    return this.expirations;
  }

  /** As etcd prints them. */
  json(watchers: number): string {
    const counts = KINDS.map(
      (kind) => `"${kind}Success":${this.succeeded.get(kind) ?? 0},"${kind}Fail":${this.failed.get(kind) ?? 0}`,
    );
    return `{${counts.join(',')},"expireCount":${this.expirations},"watchers":${watchers}}`;
  }
}
