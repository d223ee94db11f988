import { keyToBytes, type Prng } from '@etsd/base';
import {
  type Event,
  EventType,
  FilterType,
  WatchCreateRequest,
  WatchProgressRequest,
  WatchRequest,
  WatchResponse,
} from '@etsd/proto';
import type { ClientCall } from '@etsd/rpc';
import type { SimMachine } from '@etsd/runtime/sim';
import type { WatchEvent, WatchRecord } from '../checkers/history.ts';
import type { SimMember } from '../cluster/member.ts';
import { SimClient } from './client.ts';
import { keyRecord } from './kv-codec.ts';
import type { Shared } from './shared.ts';

export interface WatchWish {
  readonly key: string;
  readonly end: string;
  /** 0 = from now on. */
  readonly startRevision: number;
  readonly previous: boolean;
  readonly without: readonly ('put' | 'delete')[];
}

/** Everything from the beginning: what these see, together, is the log. */
export const EVERYTHING: WatchWish = { key: '\0', end: '\0', startRevision: 2, previous: true, without: [] };

/** A stream that has said nothing for so long is given up, as a client behind a broken wire would. */
const SILENCE_MS = 4000;
const BOOKMARK_EVERY_MS = 700;
const LOOK_MS = 200;

/**
 * One watch on one member for as long as wanted. When its connection is lost it goes on with a new watch behind the last
 * event; each of them is a record of its own, and the checker sees that nothing got lost in between.
 */
export class Watcher {
  readonly member: SimMember;
  /** Everything up to here has come, by the watch that is open now: the one before it vouches for nothing that this one owes. */
  reached = 0;
  private readonly shared: Shared;
  private readonly client: SimClient;
  private readonly name: string;
  private readonly wish: WatchWish;
  private nextRevision: number;
  private call: ClientCall | null = null;
  private current: WatchRecord | null = null;
  private lastHeardMs = 0;
  private isOver = false;

  constructor(shared: Shared, machine: SimMachine, member: SimMember, wish: WatchWish) {
    this.shared = shared;
    this.member = member;
    this.wish = wish;
    this.name = machine.name;
    this.nextRevision = wish.startRevision;
    this.client = new SimClient(shared.cluster, machine.world);
    const timer = machine.world.timers.every(LOOK_MS, () => {
      if (this.isOver) timer.cancel();
      else this.look();
    });
    this.look();
  }

  /** Whether it has yet to say that it has everything up to there. A watch on the future owes nothing before. */
  owes(revision: number): boolean {
    return this.reached < revision && this.nextRevision <= revision;
  }

  /** Asks for a bookmark: what the stream has sent before its answer is everything up to there. */
  askBookmark(): void {
    if (this.current === null || this.current.createdRevision === 0) return;
    this.call?.send(WatchRequest.encode(WatchRequest.create({ progressRequest: new WatchProgressRequest() })));
  }

  /** Ends it. Whether it was to get everything to the end of the run, or nobody wants to know any more. */
  close(toTheEnd: boolean): void {
    if (this.isOver) return;
    this.isOver = true;
    if (!toTheEnd && this.current?.ended === 'open') this.current.ended = 'lost';
    this.call?.cancel();
    this.client.close();
  }

  private look(): void {
    if (this.call === null) {
      this.open();
      return;
    }
    const silenceMs = this.client.nowMs - this.lastHeardMs;
    if (silenceMs > SILENCE_MS) {
      this.client.hangUp(this.member);
      this.lost();
    } else if (silenceMs > BOOKMARK_EVERY_MS) this.askBookmark();
  }

  private open(): void {
    if (!this.member.isReady) return;
    const { key, end, previous, without } = this.wish;
    const { shared } = this;
    const record: WatchRecord = {
      type: 'watch',
      id: shared.unique(),
      member: this.member.name,
      run: this.member.run,
      key,
      end,
      startRevision: this.nextRevision,
      createdRevision: 0,
      previous,
      without,
      responses: [],
      ended: 'open',
      compactRevision: 0,
    };
    shared.records.push(record);
    this.current = record;
    this.lastHeardMs = this.client.nowMs;
    this.client.token = shared.token;
    const receiver = {
      message: (call: ClientCall, bytes: Buffer, from: number, to: number): void => {
        if (this.call === call && !this.isOver) this.heard(record, WatchResponse.decode(bytes, from, to));
      },
      closed: (call: ClientCall): void => {
        if (this.call === call) this.lost();
      },
    };
    const call = this.client.channel(this.member).start('/etcdserverpb.Watch/Watch', receiver, {
      metadata: this.client.metadata(),
    });
    this.call = call;
    const createRequest = WatchCreateRequest.create({
      key: keyToBytes(key),
      rangeEnd: keyToBytes(end),
      startRevision: this.nextRevision,
      prevKv: previous,
      progressNotify: true,
      filters: without.map((type) => (type === 'put' ? FilterType.NOPUT : FilterType.NODELETE)),
    });
    call.send(WatchRequest.encode(WatchRequest.create({ createRequest })));
    // In the same breath as some of them: nothing must be vouched for that was not sent.
    if (record.id % 2 === 0)
      call.send(WatchRequest.encode(WatchRequest.create({ progressRequest: new WatchProgressRequest() })));
  }

  private lost(): void {
    if (!this.isOver && this.current?.ended === 'open') this.current.ended = 'lost';
    this.call = null;
    this.current = null;
    this.reached = 0;
  }

  private heard(record: WatchRecord, message: WatchResponse): void {
    const { client, shared } = this;
    this.lastHeardMs = client.nowMs;
    const revision = message.header?.revision ?? 0;
    if (message.canceled) {
      const { compactRevision } = message;
      record.ended = compactRevision > 0 ? 'compacted' : 'lost';
      record.compactRevision = compactRevision;
      if (compactRevision > 0) this.nextRevision = compactRevision;
      const { call } = this;
      this.lost();
      call?.cancel();
      return;
    }
    if (message.created) {
      record.createdRevision = revision;
      if (this.nextRevision === 0) this.nextRevision = revision + 1;
      return;
    }
    const events = message.events.map(eventOf);
    record.responses.push({ at: this.lastHeardMs, revision, events });
    const last = events.at(-1);
    this.reached = Math.max(this.reached, last?.kv.mod ?? revision);
    if (this.wish === EVERYTHING) shared.recorded = Math.max(shared.recorded, this.reached);
    shared.cluster.trace.detail(
      this.name,
      `${this.member.name} watch ${record.id}: ${events.length} events, ${this.reached}`,
    );
    // A bookmark vouches for what came before it; the next watch goes on behind the last event only, so that a bookmark
    // that promised too much is found out.
    if (last !== undefined) this.nextRevision = last.kv.mod + 1;
  }
}

const NO_KEY = { key: '', value: '', create: 0, mod: 0, version: 0, lease: '0' };

function eventOf({ type, kv, prevKv }: Event): WatchEvent {
  return {
    type: type === EventType.DELETE ? 'delete' : 'put',
    kv: kv === null ? NO_KEY : keyRecord(kv),
    previous: prevKv === null ? null : keyRecord(prevKv),
  };
}

/** Any range over the keys of the workload, from any revision. */
export function drawWatch(prng: Prng, keys: number, revision: number, compacted: number): WatchWish {
  const key = `k${prng.below(keys)}`;
  const [from, end] = prng.pick([
    [key, ''],
    ['k', 'l'],
    ['lease', 'leasf'],
    [key, 'k~'],
    ['\0', '\0'],
  ] as const);
  return {
    key: from,
    end,
    startRevision: drawStart(prng, revision, compacted),
    previous: prng.chance(0.5),
    without: prng.chance(0.2) ? [prng.pick(['put', 'delete'] as const)] : [],
  };
}

/** From now on, from the past or the future, or from the very first revision that there is. */
function drawStart(prng: Prng, revision: number, compacted: number): number {
  if (prng.chance(0.3)) return 0;
  if (compacted > 0 && prng.chance(0.4)) return compacted;
  return Math.max(1, revision + prng.between(-300, 50));
}
