import type { ChangeDigest } from '@etsd/mvcc';
import { WINDOW_ENTRIES } from '@etsd/state';

/** Windows remembered: at 15,000 entries a second those of the last 17 seconds. */
const WINDOWS_KEPT = 1024;

/** What a window of the log did to a member. */
export interface WindowDigest {
  /** Index of its last entry: a multiple of `WINDOW_ENTRIES`. */
  readonly end: number;
  readonly digest: number;
  /** The store's revision before it and behind it. */
  readonly fromRevision: number;
  readonly toRevision: number;
}

export interface WindowDigestsParts {
  readonly store: { readonly revision: number; readonly compactRevision: number; readonly digest: ChangeDigest };
  readonly auth: { readonly revision: number };
}

/**
 * Digests of what the last windows of the log did here. Every member cuts the log at the same indexes, so each window can
 * be compared by itself: a member that started in the middle, or was given another state, has the next whole window again.
 */
export class WindowDigests {
  private readonly parts: WindowDigestsParts;
  private readonly windows: WindowDigest[] = [];
  /** Where the current window began; −1 where it did not begin here. */
  private beganAt = -1;
  private fromRevision = 0;

  constructor(parts: WindowDigestsParts) {
    this.parts = parts;
  }

  /** The last entry of a window is applied, the next one is not. */
  ended(index: number): void {
    const { auth, store } = this.parts;
    const { digest } = store;
    if (this.beganAt === index - WINDOW_ENTRIES) {
      digest.take(store.revision);
      digest.take(store.compactRevision);
      digest.take(auth.revision);
      const { fromRevision } = this;
      this.windows.push({ end: index, digest: digest.value, fromRevision, toRevision: store.revision });
      if (this.windows.length > 2 * WINDOWS_KEPT) this.windows.splice(0, WINDOWS_KEPT);
    }
    this.beganAt = index;
    this.fromRevision = store.revision;
    digest.clear();
  }

  /** The state is another one: what was noted is not about it, and the current window is not whole. */
  reset(): void {
    this.windows.length = 0;
    this.beganAt = -1;
  }

  /** Those behind an index, oldest first, `WINDOWS_KEPT` at most. */
  after(index: number): WindowDigest[] {
    return this.windows.filter(({ end }) => end > index).slice(-WINDOWS_KEPT);
  }
}
