import type { Prng } from '@etsd/base';
import type { WatchEvent, WatchRecord } from '@etsd/simulator/checkers';
import { Client, type Message, type Stream } from '../support/client.ts';
import { RECONNECT_SOON } from '../support/cluster.ts';
import type { TestServer } from '../support/server.ts';
import type { Identity } from './identity.ts';
import { keyRecord, now } from './kv-calls.ts';

export interface WatchWish {
  readonly key: string;
  readonly end: string;
  /** 0 = from now on. */
  readonly startRevision: number;
  readonly previous: boolean;
  readonly without: ('put' | 'delete')[];
}

const ALL: WatchWish = { key: '\0', end: '\0', startRevision: 2, previous: true, without: [] };
/** A stream that has said nothing for so long is given up, as a client behind a broken wire would. */
const SILENCE_MS = 4000;
const BOOKMARK_EVERY_MS = 700;
const RETRY_MS = 200;
let lastId = 0;

/**
 * One watch on one member for as long as wanted. When its connection is lost it goes on with a new watch behind the last
 * event; each of them is a record of its own, and the checker sees that nothing got lost in between.
 */
export class Watcher {
  readonly records: WatchRecord[] = [];
  readonly server: TestServer;
  /** Everything up to here has come. */
  reached = 0;
  private readonly client: Client;
  private readonly wish: WatchWish;
  private readonly identity: Identity;
  private nextRevision: number;
  private stream: Stream | null = null;
  private current: WatchRecord | null = null;
  private lastHeard = 0;
  private isOver = false;
  private readonly timer: NodeJS.Timeout;
  private retryAt = 0;
  /** Whether the member served when the stream was opened. */
  private wasReady = false;

  constructor(server: TestServer, identity: Identity, wish: WatchWish = ALL) {
    this.server = server;
    this.identity = identity;
    this.wish = wish;
    this.nextRevision = wish.startRevision;
    this.client = new Client(server.address, RECONNECT_SOON);
    this.open();
    this.timer = setInterval(() => this.look(), RETRY_MS);
  }

  /** Asks for a bookmark: what the stream has sent before its answer is everything up to there. */
  askBookmark(): void {
    this.stream?.send({ progress_request: {} });
  }

  /** Ends it. Whether it was to get everything to the end of the run, or nobody wants to know any more. */
  close(toTheEnd: boolean): void {
    if (this.isOver) return;
    this.isOver = true;
    if (!toTheEnd && this.current?.ended === 'open') this.current.ended = 'lost';
    clearInterval(this.timer);
    this.stream?.cancel();
    this.client.close();
  }

  private look(): void {
    if (this.isOver) return;
    if (this.stream === null) {
      if (now() >= this.retryAt) this.open();
      return;
    }
    const silence = now() - this.lastHeard;
    if (silence > SILENCE_MS) this.stream.cancel();
    else if (silence > BOOKMARK_EVERY_MS && this.current?.createdRevision !== 0) this.askBookmark();
  }

  private open(): void {
    const { key, end, previous, without } = this.wish;
    const record: WatchRecord = {
      type: 'watch',
      id: ++lastId,
      member: this.server.membership.name,
      run: this.server.run,
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
    this.wasReady = this.server.isReady;
    const stream = this.client.stream('Watch/Watch');
    this.stream = stream;
    this.current = record;
    this.lastHeard = now();
    this.records.push(record);
    stream.onMessage = (message) => this.heard(record, message);
    void stream.changed
      .wait(2 ** 31 - 1, 'the end of a watch', () => stream.ended !== null)
      .then(() => this.lost(record, stream));
    stream.send({
      create_request: {
        key: Buffer.from(key, 'latin1'),
        range_end: Buffer.from(end, 'latin1'),
        start_revision: String(this.nextRevision),
        prev_kv: previous,
        progress_notify: true,
        filters: without.map((type) => (type === 'put' ? 'NOPUT' : 'NODELETE')),
      },
    });
  }

  private lost(record: WatchRecord, stream: Stream): void {
    if (this.stream !== stream) return;
    this.stream = null;
    this.current = null;
    this.retryAt = now() + RETRY_MS;
    if (!this.isOver && record.ended === 'open') record.ended = 'lost';
  }

  private heard(record: WatchRecord, message: Message): void {
    if (this.isOver || this.current !== record) return;
    this.lastHeard = now();
    if (!this.identity.isOurs(this.server, this.wasReady, message)) {
      record.ended = 'lost';
      this.stream?.cancel();
      return;
    }
    const revision = Number((message['header'] as Message)['revision']);
    if (message['canceled'] === true) {
      const compactRevision = Number(message['compact_revision']);
      record.ended = compactRevision > 0 ? 'compacted' : 'lost';
      record.compactRevision = compactRevision;
      if (compactRevision > 0) this.nextRevision = compactRevision;
      this.stream?.cancel();
      return;
    }
    if (message['created'] === true) {
      record.createdRevision = revision;
      if (this.nextRevision === 0) this.nextRevision = revision + 1;
      return;
    }
    const events = (message['events'] as Message[]).map(eventOf);
    record.responses.push({ at: this.lastHeard, revision, events });
    // A bookmark of a stream as a whole vouches for what it had; the next watch goes on behind the last event only, so that a
    // bookmark that promised too much is found out.
    this.reached = Math.max(this.reached, events.at(-1)?.kv.mod ?? revision);
    const last = events.at(-1);
    if (last !== undefined) this.nextRevision = last.kv.mod + 1;
  }
}

function eventOf(event: Message): WatchEvent {
  const previous = event['prev_kv'] as Message | null;
  return {
    type: event['type'] === 'DELETE' ? 'delete' : 'put',
    kv: keyRecord(event['kv'] as Message),
    previous: previous === null ? null : keyRecord(previous),
  };
}

/** Any range over the keys of the workload, from any revision. */
export function drawWatch(prng: Prng, keys: number, revision: number): WatchWish {
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
    startRevision: prng.chance(0.3) ? 0 : Math.max(1, revision + prng.between(-300, 20)),
    previous: prng.chance(0.5),
    without: prng.chance(0.2) ? [prng.pick(['put', 'delete'] as const)] : [],
  };
}
