import { ConfChange, ConfChangeV2, EntryType, ErrMemberNotEnoughStarted, type EtcdError } from '@etsd/proto';
import { FORWARDED, type RawNode, REFUSED } from '@etsd/raft';
import type { Waiter } from './applier.ts';
import { type ForwardedProposals, wideChangeKey } from './forwarded.ts';
import { Parked } from './parked.ts';
import type { Proposals } from './proposals.ts';

/**
 * Gives membership changes to raft. There is only one at a time: the others wait here, as they do while there is no
 * leader.
 */
export class ChangeProposals {
  private readonly raft: RawNode;
  private readonly proposals: Proposals;
  private readonly forwarded: ForwardedProposals;
  private readonly parked = new Parked();
  private readonly parkedWide = new Parked();

  constructor(raft: RawNode, proposals: Proposals, forwarded: ForwardedProposals) {
    this.raft = raft;
    this.proposals = proposals;
    this.forwarded = forwarded;
  }

  get length(): number {
    return this.parked.length + this.parkedWide.length;
  }

  propose(change: ConfChange, tick: number, waiter: Waiter): void {
    this.place(ConfChange.encode(change), tick, waiter);
  }

  proposeWide(change: ConfChangeV2, tick: number, waiter: Waiter): void {
    this.placeWide(ConfChangeV2.encode(change), tick, waiter);
  }

  private readonly place = (data: Buffer, since: number, waiter: Waiter): void => {
    const index = this.raft.proposeConfChange(EntryType.EntryConfChange, data);
    if (index === FORWARDED) this.forwarded.addWithId(ConfChange.decode(data).id, since, waiter);
    else if (!this.isPlaced(index, data, since, waiter)) this.parked.add(data, since, waiter);
  };

  private readonly placeWide = (data: Buffer, since: number, waiter: Waiter): void => {
    const index = this.raft.proposeConfChange(EntryType.EntryConfChangeV2, data);
    if (index === FORWARDED) this.forwarded.addWithId(wideChangeKey(ConfChangeV2.decode(data)), since, waiter);
    else if (!this.isPlaced(index, data, since, waiter)) this.parkedWide.add(data, since, waiter);
  };

  /** Whether the change is in the log or refused for good; otherwise it must wait. */
  private isPlaced(index: number, data: Buffer, since: number, waiter: Waiter): boolean {
    if (index > 0) this.proposals.add(index, this.raft.term, data.length, since, waiter);
    else if (index === REFUSED) waiter.fail(ErrMemberNotEnoughStarted);
    else return false;
    return true;
  }

  /** Offers raft again what it did not take. */
  retry(): void {
    if (this.parked.length > 0) this.parked.drain(this.place);
    if (this.parkedWide.length > 0) this.parkedWide.drain(this.placeWide);
  }

  /** Fails everybody who came at `tick` or before and still waits here. */
  expire(tick: number, error: EtcdError): void {
    this.parked.expire(tick, error);
    this.parkedWide.expire(tick, error);
  }
}
