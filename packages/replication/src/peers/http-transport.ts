import type { IncomingMessage, ServerResponse } from 'node:http';
import { EMPTY, type Logger, type U64, U64_ZERO, u64ToHex } from '@etsd/base';
import { type Message, MessageType } from '@etsd/proto';
import type { Clock, Random, Timer, Timers } from '@etsd/runtime';
import { messageFault } from './check-message.ts';
import { APPEND_STREAM, AppendCache, AppendEncoder, MessageEncoder, STREAM_NAMES, type StreamKind } from './codec.ts';
import { type Identity, identityHeaders, REMOVED_SENDER, WRONG_RECEIVER } from './headers.ts';
import { HttpClient, type TlsDial } from './http-client.ts';
import { PeerRoutes } from './http-routes.ts';
import { PAUSE_MS, REMOTES_MAX, SWEEP_MS } from './limits.ts';
import { LinkCounters } from './link-counters.ts';
import { PeerLink } from './peer-link.ts';
import { type SnapshotSink, type SnapshotSource, sendSnapshot } from './snapshot-transfer.ts';
import type { StreamSink, StreamWriter } from './stream-writer.ts';
import type { Transport } from './transport.ts';

/** What the transport asks of its member. */
export interface PeerHost {
  /** A message of another member; `ReplicationNode.step`. */
  step(message: Message): void;
  /** Whether the member was removed: it is told so, and its messages are dropped. */
  isRemoved(id: U64): boolean;
  reportUnreachable(id: U64): void;
  reportSnapshot(id: U64, failed: boolean): void;
  /** The others say that this member was removed. Called once. */
  removed(): void;
}

export interface HttpTransportOptions {
  readonly world: { readonly clock: Clock; readonly timers: Timers; readonly random: Random };
  readonly logger: Logger;
  readonly memberId: U64;
  readonly clusterId: U64;
  /** The advertised ones. */
  readonly ownPeerUrls: readonly string[];
  /** For peers behind https and unixs. */
  readonly tls: TlsDial | null;
  /** The etcd version this member says it is, `3.5.30`. */
  readonly serverVersion: string;
  /** The oldest it works with, `3.0.0`. */
  readonly minClusterVersion: string;
  readonly electionMs: number;
  readonly host: PeerHost;
  /** Null: no snapshot can be sent, or received. */
  readonly source: SnapshotSource | null;
  readonly sink: SnapshotSink | null;
}

/** The outcome of `request`: `status` is 0 where there was an error. */
export type RequestCallback = (error: Error | null, status: number, body: Buffer) => void;

const stopped = new Error('the member is stopped');
const unknownMember = new Error('unknown member');
const noAddress = new Error('no usable peer URL');

/**
 * etcd's protocol among members, both ends of it. Messages go over the streams that the others keep open to this member;
 * see docs/internals/peers.md. `handle` is to be called with the requests on the peer port.
 */
export class HttpTransport implements Transport {
  private readonly options: HttpTransportOptions;
  private readonly identity: Identity;
  private readonly client: HttpClient;
  private readonly routes: PeerRoutes;
  private readonly links: Map<U64, PeerLink> = new Map();
  private readonly remotes: Map<U64, PeerLink> = new Map();
  /** Also of members that are gone, as figures only grow; bounded by the members there ever were. */
  private readonly figures: Map<U64, LinkCounters> = new Map();
  private readonly appends = new AppendCache();
  /** Writers with something to flush, and how many they are. */
  private readonly dirty: StreamWriter[] = [];
  /** Members to whom something was lost in this turn. */
  private readonly lostTo: Set<U64> = new Set();
  private readonly sweeper: Timer;
  private sweptMs: number;
  private isRemoved = false;
  private isClosed = false;

  constructor(options: HttpTransportOptions) {
    this.options = options;
    const { memberId, clusterId, serverVersion, minClusterVersion, ownPeerUrls, world } = options;
    this.identity = { memberId, clusterId, serverVersion, minClusterVersion, peerUrls: ownPeerUrls };
    this.client = new HttpClient(world.timers, options.tls);
    this.routes = new PeerRoutes({
      identity: this.identity,
      world,
      logger: options.logger,
      sink: options.sink,
      isRemoved: (id) => options.host.isRemoved(id),
      isPeer: (id) => this.links.has(id),
      addRemote: (id, urls) => this.addRemote(id, urls),
      counters: (id) => this.countersOf(id),
      step: (message) => this.step(message),
      attach: (id, kind, sink) => this.attach(id, kind, sink),
      drained: (id, kind) => this.links.get(id)?.writer(kind).flush(world.clock.nowMs()),
      detach: (id, kind, sink) => this.detach(id, kind, sink),
    });
    this.sweptMs = world.clock.nowMs();
    this.sweeper = world.timers.every(SWEEP_MS, this.sweep, { ref: false });
  }

  // -- members --------------------------------------------------------------------------------------------------------

  /** Keeps streams with a member from now on. Its own id and a known one are left alone. */
  addPeer(id: U64, urls: readonly string[]): void {
    if (this.isClosed || id === this.identity.memberId || this.links.has(id)) return;
    this.remotes.get(id)?.close();
    this.remotes.delete(id);
    const link = this.newLink(id, urls, false);
    this.links.set(id, link);
    this.options.logger.log('info', 'added remote peer', { 'remote-peer-id': u64ToHex(id), 'remote-peer-urls': urls });
    link.start();
  }

  /** Answers somebody who may become a member, or who is one and is not known here yet, by posts only. */
  addRemote(id: U64, urls: readonly string[]): void {
    if (this.isClosed || id === this.identity.memberId || id === U64_ZERO) return;
    if (this.links.has(id) || this.remotes.has(id)) return;
    if (this.remotes.size >= REMOTES_MAX) {
      const [oldest] = this.remotes.keys();
      this.remotes.get(oldest as U64)?.close();
      this.remotes.delete(oldest as U64);
    }
    this.remotes.set(id, this.newLink(id, urls, true));
  }

  private newLink(id: U64, urls: readonly string[], isRemote: boolean): PeerLink {
    const { world, logger, electionMs, host } = this.options;
    const counters = isRemote ? new LinkCounters() : this.countersOf(id);
    return new PeerLink(id, urls, isRemote, counters, {
      world,
      logger,
      identity: this.identity,
      electionMs,
      client: this.client,
      receive: (message, from) => this.receive(message, from),
      lost: (lostId) => this.lost(lostId),
      sendSnapshot: (link, message) => {
        void this.sendSnapshot(link, message, host);
      },
      removed: () => this.removed(),
    });
  }

  /** The member is to be reached at other URLs. */
  updatePeer(id: U64, urls: readonly string[]): void {
    this.links.get(id)?.update(urls);
  }

  removePeer(id: U64): void {
    const link = this.links.get(id);
    if (link === undefined) return;
    this.links.delete(id);
    link.close();
    this.options.logger.log('info', 'stopped remote peer', { 'remote-peer-id': u64ToHex(id) });
  }

  /** Ms of the world's monotonic clock since when messages flow both ways with the member; null while they do not. */
  activeSince(id: U64): number | null {
    return this.links.get(id)?.activeSince ?? null;
  }

  /** What happened on the links, by member. */
  get counters(): ReadonlyMap<U64, LinkCounters> {
    return this.figures;
  }

  private countersOf(id: U64): LinkCounters {
    let counters = this.figures.get(id);
    if (counters === undefined) {
      counters = new LinkCounters();
      if (this.links.has(id) || this.figures.size < REMOTES_MAX) this.figures.set(id, counters);
    }
    return counters;
  }

  // -- out ------------------------------------------------------------------------------------------------------------

  send(messages: readonly Message[]): void {
    for (let place = 0; place < messages.length; place++) {
      const message = messages[place] as Message;
      if (isSuperseded(message, messages[place + 1])) continue;
      const link = this.links.get(message.to) ?? this.remotes.get(message.to);
      if (link === undefined) continue;
      if (message.type === MessageType.MsgApp) link.counters.sentAppends++;
      const writer = link.send(message);
      if (writer !== null && !writer.isDirty) {
        writer.isDirty = true;
        this.dirty.push(writer);
      }
    }
    this.appends.clear();
    if (this.dirty.length === 0) return;
    const nowMs = this.options.world.clock.nowMs();
    for (let place = 0; place < this.dirty.length; place++) this.dirty[place]!.flush(nowMs);
    this.dirty.length = 0;
  }

  /** Raft is told at the end of the turn: it must not be called from inside of a hand-out of its own. */
  private lost(id: U64): void {
    if (this.lostTo.size === 0) this.options.world.timers.endOfTurn(this.reportLost);
    this.lostTo.add(id);
  }

  private readonly reportLost = (): void => {
    const ids = [...this.lostTo];
    this.lostTo.clear();
    if (this.isClosed) return;
    for (const id of ids) this.options.host.reportUnreachable(id);
  };

  private async sendSnapshot(link: PeerLink, message: Message, host: PeerHost): Promise<void> {
    const { source, logger } = this.options;
    let failure = 'this member cannot make snapshots';
    if (link.counters.snapshotsSending > 0) failure = 'another snapshot is under way';
    else if (source !== null) failure = await sendSnapshot(link, source, message);
    const fields = { 'remote-peer-id': u64ToHex(link.id) };
    if (failure === '') logger.log('info', 'sent database snapshot', fields);
    else logger.log('warn', 'failed to send database snapshot', { ...fields, error: failure });
    this.options.world.timers.endOfTurn(() => {
      if (this.isClosed) return;
      if (failure !== '') host.reportUnreachable(link.id);
      host.reportSnapshot(link.id, failure !== '');
    });
  }

  /**
   * Asks another member something over HTTP, at one of its peer URLs; `done` is called exactly once, never before this
   * returns. `body` null: nothing is sent.
   */
  request(
    member: U64,
    method: string,
    path: string,
    body: Buffer | null,
    contentType: string,
    timeoutMs: number,
    done: RequestCallback,
  ): void {
    const link = this.links.get(member);
    const address = link?.urls.pick() ?? null;
    if (link === undefined || address === null || this.isClosed) {
      const error = this.isClosed ? stopped : link === undefined ? unknownMember : noAddress;
      this.options.world.timers.endOfTurn(() => done(error, 0, EMPTY));
      return;
    }
    const headers = identityHeaders(this.identity);
    if (contentType !== '') headers['Content-Type'] = contentType;
    const options = { method, path, headers, body, isStreaming: false, isAlone: false };
    this.client.call(address, options, timeoutMs, (error, status, _headers, answer) => {
      if (error !== null) link.urls.unreachable(address);
      done(error, status, answer);
    });
  }

  // -- in -------------------------------------------------------------------------------------------------------------

  /** Answers /raft and what is below it on the peer port; false if the path is another's. */
  handle(request: IncomingMessage, response: ServerResponse): boolean {
    if (this.isClosed) {
      response.destroy();
      return true;
    }
    return this.routes.handle(request, response);
  }

  /** A message from a stream. */
  private receive(message: Message, from: U64): void {
    const fault = message.type === MessageType.MsgSnap ? 'a snapshot without its file' : this.step(message);
    if (fault === '') return;
    this.countersOf(from).receivedFailures++;
    this.links.get(from)?.say('failed to process a message of a remote peer', fault);
  }

  /** Gives raft a message if there is nothing wrong with it; otherwise says what is. */
  private step(message: Message): string {
    if (this.isClosed) return 'stopped';
    const { host } = this.options;
    if (host.isRemoved(message.from)) return REMOVED_SENDER;
    if (message.to !== this.identity.memberId) return WRONG_RECEIVER;
    const fault = messageFault(message, this.identity.memberId);
    if (fault === '') {
      if (message.type === MessageType.MsgApp) this.countersOf(message.from).receivedAppends++;
      host.step(message);
    }
    return fault;
  }

  private attach(id: U64, kind: StreamKind, sink: StreamSink): void {
    const link = this.links.get(id);
    if (link === undefined) {
      sink.destroy();
      return;
    }
    const encoder = kind === APPEND_STREAM ? new AppendEncoder(this.appends) : new MessageEncoder();
    link.writer(kind).attach(sink, encoder, this.options.world.clock.nowMs());
    this.options.logger.log('info', 'set message encoder', {
      'remote-peer-id': u64ToHex(id),
      'stream-type': STREAM_NAMES[kind],
    });
    link.streamsChanged();
    link.seen();
  }

  private detach(id: U64, kind: StreamKind, sink: StreamSink): void {
    const link = this.links.get(id);
    if (link?.writer(kind).detach(sink) === true) link.writerLost(kind, 'EOF');
  }

  private removed(): void {
    if (this.isRemoved) return;
    this.isRemoved = true;
    this.options.logger.log('error', 'the member has been permanently removed from the cluster');
    this.options.host.removed();
  }

  private readonly sweep = (): void => {
    const nowMs = this.options.world.clock.nowMs();
    const pauseMs = nowMs - this.sweptMs;
    this.sweptMs = nowMs;
    // A pause of this process is no silence of the others: first let us read what they have said meanwhile.
    if (pauseMs > PAUSE_MS) return;
    for (const link of this.links.values()) link.sweep(nowMs);
  };

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.sweeper.cancel();
    for (const link of this.links.values()) link.close();
    for (const link of this.remotes.values()) link.close();
    this.client.close();
  }
}

/** Of acknowledgements that follow each other the last says everything. */
function isSuperseded(message: Message, next: Message | undefined): boolean {
  return (
    next !== undefined &&
    message.type === MessageType.MsgAppResp &&
    next.type === MessageType.MsgAppResp &&
    !message.reject &&
    !next.reject &&
    message.to === next.to &&
    message.term === next.term &&
    message.index <= next.index
  );
}
