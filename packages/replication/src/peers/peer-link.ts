import { type Logger, type U64, u64ToHex } from '@etsd/base';
import { type Message, MessageType } from '@etsd/proto';
import type { Clock, Random, Timers } from '@etsd/runtime';
import { APPEND_STREAM, MESSAGE_STREAM, STREAM_NAMES, type StreamKind } from './codec.ts';
import type { Identity } from './headers.ts';
import type { HttpClient } from './http-client.ts';
import type { LinkCounters } from './link-counters.ts';
import { PeerUrls } from './peer-urls.ts';
import { Pipeline } from './pipeline.ts';
import { Prober } from './prober.ts';
import { StreamReader } from './stream-reader.ts';
import { StreamWriter } from './stream-writer.ts';

/** What all links of a member share. */
export interface LinkShared {
  readonly world: { readonly clock: Clock; readonly timers: Timers; readonly random: Random };
  readonly logger: Logger;
  readonly identity: Identity;
  readonly electionMs: number;
  readonly client: HttpClient;
  /** A message came from the member. */
  receive(message: Message, from: U64): void;
  /** Messages to the member were lost. */
  lost(id: U64): void;
  /** A snapshot for the member is to be sent. */
  sendSnapshot(link: PeerLink, message: Message): void;
  /** The others say that this member was removed. */
  removed(): void;
}

/**
 * Everything between this member and one other: two streams it dials, two the other dials, posts for what no stream
 * takes, and a prober. A link to somebody who is no member yet (a remote) has only the posts.
 */
export class PeerLink {
  readonly id: U64;
  readonly urls: PeerUrls;
  readonly counters: LinkCounters;
  readonly isRemote: boolean;
  readonly world: LinkShared['world'];
  readonly logger: Logger;
  readonly identity: Identity;
  readonly electionMs: number;
  readonly client: HttpClient;
  readonly appendWriter: StreamWriter;
  readonly messageWriter: StreamWriter;
  /** Ms of the monotonic clock since when messages flow both ways, null while they do not. */
  activeSince: number | null = null;
  private readonly shared: LinkShared;
  private readonly pipeline: Pipeline;
  private readonly readers: readonly StreamReader[];
  private readonly prober: Prober | null;
  private lastSaid = '';
  private isClosed = false;

  constructor(id: U64, urls: readonly string[], isRemote: boolean, counters: LinkCounters, shared: LinkShared) {
    this.id = id;
    this.urls = new PeerUrls(urls);
    this.isRemote = isRemote;
    this.counters = counters;
    this.shared = shared;
    this.world = shared.world;
    this.logger = shared.logger;
    this.identity = shared.identity;
    this.electionMs = shared.electionMs;
    this.client = shared.client;
    this.appendWriter = new StreamWriter(counters);
    this.messageWriter = new StreamWriter(counters);
    this.pipeline = new Pipeline(this);
    this.readers = isRemote ? [] : [new StreamReader(MESSAGE_STREAM, this), new StreamReader(APPEND_STREAM, this)];
    this.prober = isRemote ? null : new Prober(this);
  }

  start(): void {
    for (const reader of this.readers) reader.dial();
    this.prober?.start();
  }

  writer(kind: StreamKind): StreamWriter {
    return kind === APPEND_STREAM ? this.appendWriter : this.messageWriter;
  }

  /** Sends a message the best way there is; returns the stream that must be flushed, null if none. */
  send(message: Message): StreamWriter | null {
    if (message.type === MessageType.MsgSnap) {
      this.shared.sendSnapshot(this, message);
      return null;
    }
    let writer: StreamWriter | null = null;
    if (message.type === MessageType.MsgApp && this.appendWriter.isAttached) writer = this.appendWriter;
    else if (this.messageWriter.isAttached) writer = this.messageWriter;
    const taken = writer === null ? this.pipeline.send(message) : writer.send(message);
    if (!taken) {
      this.counters.sentFailures++;
      this.reportUnreachable();
    }
    return writer;
  }

  receive(message: Message): void {
    if (!this.isClosed) this.shared.receive(message, this.id);
  }

  reportUnreachable(): void {
    if (!this.isClosed) this.shared.lost(this.id);
  }

  removedByPeer(): void {
    if (!this.isClosed) this.shared.removed();
  }

  /**
   * A stream came up or went down. Any one of them shows that a connection can be made one way or the other, which is
   * enough for messages to flow both ways: where streams cannot be dialled from the other side, it takes posts.
   */
  streamsChanged(): void {
    let streams = (this.messageWriter.isAttached ? 1 : 0) + (this.appendWriter.isAttached ? 1 : 0);
    for (const reader of this.readers) if (reader.isConnected) streams++;
    this.counters.streams = streams;
    const isActive = streams > 0;
    if (isActive === (this.activeSince !== null)) return;
    const fields = { 'peer-id': u64ToHex(this.id) };
    if (isActive) {
      this.activeSince = this.world.clock.nowMs();
      this.lastSaid = '';
      this.logger.log('info', 'peer became active', fields);
    } else {
      this.activeSince = null;
      this.counters.disconnects++;
      this.logger.log('warn', 'peer became inactive', fields);
      this.reportUnreachable();
    }
  }

  /** A connection to send on is gone, with what was queued for it. */
  writerLost(kind: StreamKind, error: string): void {
    this.logger.log('warn', 'lost TCP streaming connection with remote peer', {
      'stream-writer-type': STREAM_NAMES[kind],
      'local-member-id': u64ToHex(this.identity.memberId),
      'remote-peer-id': u64ToHex(this.id),
      error,
    });
    this.reportUnreachable();
    this.streamsChanged();
  }

  /** The other side has just shown that it is there. */
  seen(): void {
    for (const reader of this.readers) reader.hurry();
  }

  /** Warns, but not of the same twice in a row. */
  say(what: string, error: string): void {
    const text = `${what}: ${error}`;
    if (this.isClosed || text === this.lastSaid) return;
    this.lastSaid = text;
    this.logger.log('warn', what, { 'remote-peer-id': u64ToHex(this.id), error });
  }

  update(urls: readonly string[]): void {
    if (!this.urls.update(urls)) return;
    for (const reader of this.readers) reader.redial();
  }

  sweep(nowMs: number): void {
    if (this.appendWriter.sweep(nowMs)) this.writerLost(APPEND_STREAM, 'i/o timeout');
    if (this.messageWriter.sweep(nowMs)) this.writerLost(MESSAGE_STREAM, 'i/o timeout');
    for (const reader of this.readers) reader.sweep(nowMs);
  }

  close(): void {
    this.isClosed = true;
    this.prober?.close();
    for (const reader of this.readers) reader.close();
    this.appendWriter.close();
    this.messageWriter.close();
    this.pipeline.close();
    this.counters.streams = 0;
  }
}
