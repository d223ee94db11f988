import { EMPTY } from '@etsd/base';

/** Batches remembered. A request that is answered slowly is rarely behind so many of them. */
const BATCHES = 1024;
const MASK = BATCHES - 1;

/** When an entry passed the stages of the log, in milliseconds of the monotonic clock; `NaN` where that is forgotten. */
export class EntryTimes {
  /** It was handed to the log on disk. */
  givenMs = Number.NaN;
  /** It was synced there. */
  durableMs = Number.NaN;
  /** This member knew that it is committed. */
  committedMs = Number.NaN;
}

/** A ring of marks: up to this index a stage was passed at that time. */
class Marks {
  private readonly indexes = new Float64Array(BATCHES);
  private readonly times = new Float64Array(BATCHES);
  private readonly others = new Float64Array(BATCHES);
  private count = 0;

  add(index: number, ms: number, other: number): void {
    const at = this.count++ & MASK;
    this.indexes[at] = index;
    this.times[at] = ms;
    this.others[at] = other;
  }

  /** The first mark at `index` or above, as a place for `timeAt`; −1 where it is forgotten or there is none yet. */
  find(index: number): number {
    let found = -1;
    let foundIndex = Number.POSITIVE_INFINITY;
    const oldest = Math.max(0, this.count - BATCHES);
    for (let at = this.count - 1; at >= oldest; at--) {
      const mark = this.indexes[at & MASK] as number;
      if (mark < index) break;
      // A higher one than came later: a new leader has replaced what it stands for.
      if (mark >= foundIndex) continue;
      found = at;
      foundIndex = mark;
    }
    // The oldest one may stand for entries long before it.
    return found === oldest && oldest > 0 ? -1 : found;
  }

  timeAt(place: number): number {
    return place < 0 ? Number.NaN : (this.times[place & MASK] as number);
  }

  otherAt(place: number): number {
    return place < 0 ? Number.NaN : (this.others[place & MASK] as number);
  }
}

/**
 * When the last batches of entries were handed to the disk, synced and committed, so that it can be told afterwards where
 * the time of a slow request went. Costs a few stores a batch, and nothing for an entry.
 */
export class LogTimes {
  /** The entry that is being applied, what it says, and since when; 0 while none is. */
  applying = 0;
  applyingData: Buffer = EMPTY;
  applyingSinceMs = 0;
  private readonly writes = new Marks();
  private readonly commits = new Marks();
  private readonly entry = new EntryTimes();

  written(lastIndex: number, givenMs: number, nowMs: number): void {
    if (lastIndex > 0) this.writes.add(lastIndex, nowMs, givenMs);
  }

  committed(index: number, nowMs: number): void {
    this.commits.add(index, nowMs, 0);
  }

  /** The times of an entry that is committed; the object is reused. */
  of(index: number): EntryTimes {
    const { entry } = this;
    const write = this.writes.find(index);
    entry.durableMs = this.writes.timeAt(write);
    entry.givenMs = this.writes.otherAt(write);
    entry.committedMs = this.commits.timeAt(this.commits.find(index));
    return entry;
  }
}

/** Hears of every entry that was applied, with the time that took; for whoever looks for marks in them. */
export interface EntryWatcher {
  applied(index: number, data: Buffer, sinceMs: number, nowMs: number): void;
}
