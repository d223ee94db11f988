import { V2Failure } from './event.ts';

/** What is counted, under etcd's names; reads of whole trees are counted apart, and shown together with the others. */
const KINDS = ['gets', 'sets', 'delete', 'update', 'create', 'compareAndSwap', 'compareAndDelete'] as const;

export type V2Kind = (typeof KINDS)[number] | 'recursiveGets';

/** How often what was done to the tree since this member started; each member has its own numbers. */
export class V2Stats {
  private readonly succeeded = new Map<V2Kind, number>();
  private readonly failed = new Map<V2Kind, number>();
  expirations = 0;
  /** Waits for changes that began. */
  watches = 0;

  count(kind: V2Kind, isSuccess: boolean): void {
    const counts = isSuccess ? this.succeeded : this.failed;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }

  of(kind: V2Kind, isSuccess: boolean): number {
    return (isSuccess ? this.succeeded : this.failed).get(kind) ?? 0;
  }

  /** Counts the outcome and hands it on. */
  note<T>(kind: V2Kind, outcome: T): T {
    this.count(kind, !(outcome instanceof V2Failure));
    return outcome;
  }

  /** As etcd prints them. */
  json(watchers: number): string {
    const all = (kind: V2Kind, isSuccess: boolean): number =>
      this.of(kind, isSuccess) + (kind === 'gets' ? this.of('recursiveGets', isSuccess) : 0);
    const counts = KINDS.map((kind) => `"${kind}Success":${all(kind, true)},"${kind}Fail":${all(kind, false)}`);
    return `{${counts.join(',')},"expireCount":${this.expirations},"watchers":${watchers}}`;
  }
}
