import type { U64 } from '@etsd/base';
import { ConfState, Entry, HardState, Message } from '@etsd/proto';
import { RAFT_DEFAULTS, type RaftOptions } from '../config.ts';
import { messageTo } from '../messages.ts';
import { idOf, type Observer, TestDisk, TestMember } from './member.ts';

/** One member whose peers are played by the test: members 1 to n, this one is 1 unless said otherwise. */
export interface SoloSetup {
  readonly id?: number;
  /** Number of voters. */
  readonly voters: number;
  /** Terms of the entries in the log, from index 1. */
  readonly log?: readonly number[];
  readonly term?: number;
  /** For whom it voted in that term. */
  readonly vote?: number;
  readonly commit?: number;
  readonly learners?: readonly number[];
  readonly options?: Partial<RaftOptions>;
}

export class Solo {
  readonly member: TestMember;
  readonly applied: string[] = [];
  /** Indexes of answered reads. */
  readonly reads: number[] = [];

  constructor(setup: SoloSetup) {
    const disk = new TestDisk();
    const log = setup.log ?? [];
    disk.entries = log.map((term, place) => Entry.create({ term, index: place + 1 }));
    const term = setup.term ?? log[log.length - 1] ?? 0;
    const vote: U64 = idOf(setup.vote ?? 0);
    disk.hardState = HardState.create({ term, vote, commit: setup.commit ?? 0 });
    disk.confState = new ConfState();
    for (let number = 1; number <= setup.voters; number++) disk.confState.voters.push(idOf(number));
    disk.confState.learners = (setup.learners ?? []).map(idOf);
    const observer: Observer = {
      applied: (_member, entry) => this.applied.push(entry.data.toString()),
      read: (_member, state) => this.reads.push(state.index),
    };
    const id = idOf(setup.id ?? 1);
    // Half of the election time-out is added, always: 15 ticks.
    const draw = (bound: number): number => bound >> 1;
    this.member = new TestMember({ ...RAFT_DEFAULTS, id, preVote: false, draw, ...setup.options }, disk, observer);
  }

  get node(): TestMember['node'] {
    return this.member.node;
  }

  /** What it wants to send after everything it has to write and apply is done. */
  settle(): Message[] {
    while (this.member.pump() || this.member.finishWrite() || this.member.apply());
    const messages = this.member.outbox;
    this.member.outbox = [];
    return messages;
  }

  /** What it sends before its disk has done anything. */
  unwritten(): Message[] {
    while (this.member.pump());
    const messages = this.member.outbox;
    this.member.outbox = [];
    return messages;
  }

  /** A message of another member, and what it sends then. */
  hear(from: number, type: number, term: number, fields: Partial<Message> = {}): Message[] {
    const message = Object.assign(messageTo(this.member.id, type, term), fields);
    message.from = idOf(from);
    this.node.step(Message.decode(Message.encode(message)));
    return this.settle();
  }

  tick(times: number): Message[] {
    const messages: Message[] = [];
    for (let count = 0; count < times; count++) {
      this.node.tick();
      messages.push(...this.settle());
    }
    return messages;
  }

  /** Terms of the log, from its first entry on. */
  get terms(): number[] {
    const terms: number[] = [];
    for (let index = this.node.firstIndex; index <= this.node.lastIndex; index++) terms.push(this.node.termAt(index));
    return terms;
  }
}
