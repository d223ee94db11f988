import { type U64, u64Low } from '@etsd/base';

/** Two halves of a 64-bit id; reused by its maker. */
export interface RequestId {
  high: number;
  low: number;
}

/**
 * Ids that no two members and no two lives of a member share, in etcd's layout:
 *
 *     63        48 47                      8 7      0
 *     ┌───────────┬─────────────────────────┬────────┐
 *     │ member id │ start, milliseconds     │ count  │
 *     │ (low 16)  │ since 1970 (low 40)     │        │
 *     └───────────┴─────────────────────────┴────────┘
 *
 * The count runs over into the milliseconds: 256 ids each are more than a member ever hands out.
 */
export class RequestIds {
  private readonly id: RequestId;
  private readonly prefix: number;

  constructor(memberId: U64, startWallMs: number) {
    this.prefix = (u64Low(memberId) & 0xffff) << 16;
    // The lower 48 bits: 40 of the time, then 8 of the count. Split without leaving the integers a number can hold.
    const milliseconds = Math.floor(startWallMs) % 2 ** 40;
    this.id = { high: this.prefix | Math.floor(milliseconds / 2 ** 24), low: (milliseconds % 2 ** 24) * 256 };
  }

  /** The next id. The object is the same each time. Halves are unsigned. */
  next(): RequestId {
    const id = this.id;
    if (id.low === 0xffff_ffff) {
      id.low = 0;
      id.high = (this.prefix | ((id.high + 1) & 0xffff)) >>> 0;
    } else {
      id.low++;
      id.high >>>= 0;
    }
    return id;
  }
}
