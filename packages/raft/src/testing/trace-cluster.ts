import { type Prng, u64FromNumber } from '@etsd/base';
import {
  ConfChange,
  ConfChangeSingle,
  type ConfChangeType,
  ConfChangeV2,
  Entry,
  EntryType,
  Message,
  MessageType,
} from '@etsd/proto';
import { confChangeOf } from '../conf-change.ts';
import { RAFT_DEFAULTS } from '../config.ts';
import { emptyState, RawNode } from '../raw-node.ts';
import { TraceLog } from './trace-log.ts';

/**
 * Founding members whose disks take no time, as the model of the trace has it, in a network that loses and reorders.
 * Nobody restarts and no log is cut.
 */
export class TraceCluster {
  readonly log = new TraceLog();
  readonly nodes: RawNode[] = [];
  private network: Message[] = [];
  private readonly prng: Prng;

  constructor(prng: Prng, founders: number, others: number) {
    this.prng = prng;
    for (let number = 1; number <= founders + others; number++) {
      const options = {
        ...RAFT_DEFAULTS,
        id: u64FromNumber(number),
        electionTicks: 4,
        // The model does not know pre-votes; with them only fewer elections would be traced.
        preVote: prng.chance(0.5),
        tracer: this.log,
        draw: (bound: number) => prng.below(bound),
      };
      const node = new RawNode(options, emptyState());
      if (number <= founders) node.bootstrap(Array.from({ length: founders }, (_, place) => foundingEntry(place + 1)));
      this.nodes.push(node);
    }
  }

  /** One thing happens: a message arrives or is lost, or a tick, or a proposal. */
  event(): void {
    const { prng } = this;
    const node = prng.pick(this.nodes);
    const draw = prng.below(100);
    if (draw < 60) this.deliver();
    else if (draw < 85) node.tick();
    else if (draw < 97) node.propose(Buffer.from(`p${draw}`));
    else node.readIndex(Buffer.from(`r${draw}`));
    for (const each of this.nodes) this.pump(each);
  }

  change(type: (typeof ConfChangeType)[keyof typeof ConfChangeType], number: number): boolean {
    const change = new ConfChangeV2();
    change.changes.push(ConfChangeSingle.create({ type, nodeId: u64FromNumber(number) }));
    const leader = this.nodes.find((node) => node.isLeader);
    return (leader?.proposeConfChange(EntryType.EntryConfChangeV2, ConfChangeV2.encode(change)) ?? 0) > 0;
  }

  private deliver(): void {
    const [message] = this.network.splice(this.prng.below(this.network.length || 1), 1);
    if (message === undefined || this.prng.chance(0.05)) return;
    this.nodes.find(({ id }) => id === message.to)?.step(Message.decode(Message.encode(message)));
  }

  private pump(node: RawNode): void {
    while (node.hasReady()) {
      const ready = node.ready();
      this.network.push(...ready.messages.filter(({ type }) => type !== MessageType.MsgSnap));
      const { write, committedTo } = ready;
      if (write !== null) node.written(write);
      for (let index = node.appliedIndex + 1; index <= committedTo; index++) {
        const entry = node.entryAt(index);
        if (entry.type !== EntryType.EntryNormal) node.applyConfChange(confChangeOf(entry));
      }
      node.appliedTo(committedTo);
    }
  }
}

function foundingEntry(number: number): Entry {
  const data = ConfChange.encode(ConfChange.create({ nodeId: u64FromNumber(number) }));
  return Entry.create({ type: EntryType.EntryConfChange, data });
}
