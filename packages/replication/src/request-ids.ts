import { type U64, u64Low } from '@etsd/base';
import { RaftRequestView } from '@etsd/proto';
import type { RequestKeyOf } from './applier.ts';

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

/**
 * Recognises the proposals of one member by the id in their data: the lower 48 bits, which a number can hold, where the
 * upper 16 are the member's. Two members whose ids end alike may see each other's proposals as their own for the moment
 * in which they started in the same millisecond; etcd would as well.
 */
export function requestKeysOf(memberId: U64): RequestKeyOf {
  const view = new RaftRequestView();
  const prefix = u64Low(memberId) & 0xffff;
  return (data) => {
    view.parse(data);
    if (view.idHigh >>> 16 !== prefix) return null;
    return (view.idHigh & 0xffff) * 2 ** 32 + view.idLow;
  };
}
