/** What peers ask of this member: posts of messages and snapshots, streams to listen on, and probes. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorFrom, type U64, u64FromHex, u64ToHex } from '@etsd/base';
import { Message, MessageType } from '@etsd/proto';
import { APPEND_STREAM, MESSAGE_STREAM, type StreamKind } from './codec.ts';
import { headerText, type Identity, incompatibility } from './headers.ts';
import {
  FRAME_BYTES_MAX,
  POST_BODY_MS,
  POSTS_BYTES_MAX,
  SNAPSHOT_RECEIVES_MAX,
  SNAPSHOT_SILENCE_MS,
} from './limits.ts';
import type { LinkCounters } from './link-counters.ts';
import type { LinkShared } from './peer-link.ts';
import { probeAnswer } from './prober.ts';
import { Refusals } from './refusals.ts';
import { IncomingSnapshot, type SnapshotSink } from './snapshot-transfer.ts';
import type { StreamSink } from './stream-writer.ts';

/** What the routes ask of the transport. */
export interface RouteHost {
  readonly identity: Identity;
  readonly world: LinkShared['world'];
  readonly logger: LinkShared['logger'];
  readonly sink: SnapshotSink | null;
  isRemoved(id: U64): boolean;
  isPeer(id: U64): boolean;
  addRemote(id: U64, urls: readonly string[]): void;
  counters(id: U64): LinkCounters;
  /** A message came; what is wrong with it, '' if nothing is. */
  step(message: Message): string;
  attach(id: U64, kind: StreamKind, sink: StreamSink): void;
  /** The connection of a stream takes more. */
  drained(id: U64, kind: StreamKind): void;
  detach(id: U64, kind: StreamKind, sink: StreamSink): void;
}

const SNAPSHOT_UNPROCESSED = 'failed to process raft message';

const STREAM_PREFIX = '/raft/stream/';

export class PeerRoutes {
  private readonly host: RouteHost;
  private readonly clusterId: string;
  private readonly refusals = new Refusals();
  private receives = 0;
  /** Bytes of posts that are not complete yet. */
  private postedBytes = 0;

  constructor(host: RouteHost) {
    this.host = host;
    this.clusterId = u64ToHex(host.identity.clusterId);
  }

  /** Answers the request if its path is one of ours. */
  handle(request: IncomingMessage, response: ServerResponse): boolean {
    const target = request.url ?? '/';
    const query = target.indexOf('?');
    const path = query < 0 ? target : target.slice(0, query);
    if (path === '/raft') this.post(request, response);
    else if (path === '/raft/probing') this.probe(request, response);
    else if (path === '/raft/snapshot') this.snapshot(request, response);
    else if (path.startsWith(STREAM_PREFIX)) this.stream(path.slice(STREAM_PREFIX.length), request, response);
    else return false;
    return true;
  }

  private probe(request: IncomingMessage, response: ServerResponse): void {
    request.resume();
    response.setHeader('Content-Type', 'text/plain; charset=utf-8');
    response.end(probeAnswer(this.host.world.clock.wallMs()));
  }

  /** The checks that all of the others begin with; false: the request is answered. */
  private admit(method: string, request: IncomingMessage, response: ServerResponse): boolean {
    if (request.method !== method) {
      request.resume();
      response.setHeader('Allow', method);
      refuse(response, 405, 'Method Not Allowed');
      return false;
    }
    response.setHeader('X-Etcd-Cluster-ID', this.clusterId);
    const { host } = this;
    const reason = incompatibility(host.identity, request.headers);
    if (reason === null) return true;
    request.resume();
    const fields = {
      'remote-peer-server-from': headerText(request.headers, 'x-server-from'),
      'remote-peer-server-version': headerText(request.headers, 'x-server-version'),
      'remote-peer-cluster-id': headerText(request.headers, 'x-etcd-cluster-id'),
      'remote-addr': request.socket.remoteAddress ?? '',
      error: reason,
    };
    if (this.refusals.isNews(Object.values(fields).join(' '), host.world.clock.nowMs())) {
      host.logger.log('warn', 'request from a peer refused', fields);
    }
    refuse(response, 412, reason);
    return false;
  }

  /** A sender that is no member yet says where it can be answered. */
  private learnSender(id: U64 | undefined, request: IncomingMessage): void {
    const { host } = this;
    const urls = headerText(request.headers, 'x-peerurls');
    if (id === undefined || urls === '' || host.isPeer(id) || host.isRemoved(id)) return;
    host.addRemote(id, urls.split(','));
  }

  // -- posts ----------------------------------------------------------------------------------------------------------

  private post(request: IncomingMessage, response: ServerResponse): void {
    if (!this.admit('POST', request, response)) return;
    const { host } = this;
    const sender = u64FromHex(headerText(request.headers, 'x-server-from'));
    this.learnSender(sender, request);
    this.readPost(request, (bytes) => {
      if (sender !== undefined && host.isPeer(sender)) host.counters(sender).receivedBytes += bytes.length;
      this.take(bytes, response);
    });
  }

  /** Reads the body of a post; one that is too large, too slow or one too many ends its connection. */
  private readPost(request: IncomingMessage, done: (bytes: Buffer) => void): void {
    const parts: Buffer[] = [];
    let length = 0;
    const timer = this.host.world.timers.after(POST_BODY_MS, () => request.destroy(), { ref: false });
    request.on('data', (bytes: Buffer) => {
      length += bytes.length;
      this.postedBytes += bytes.length;
      parts.push(bytes);
      if (length > FRAME_BYTES_MAX || this.postedBytes > POSTS_BYTES_MAX) request.destroy();
    });
    request.on('error', () => {});
    request.on('end', () => done(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)));
    request.on('close', () => {
      timer.cancel();
      this.postedBytes -= length;
    });
  }

  private take(bytes: Buffer, response: ServerResponse): void {
    let message: Message;
    try {
      message = Message.decode(bytes);
    } catch {
      refuse(response, 400, 'error unmarshalling raft message');
      return;
    }
    if (message.type === MessageType.MsgSnap) {
      response.setHeader('Connection', 'close');
      refuse(response, 500, 'error processing raft message');
      return;
    }
    this.answerStep(message, response, 'error processing raft message');
  }

  private answerStep(message: Message, response: ServerResponse, failed: string): void {
    const fault = this.host.step(message);
    if (fault === '') {
      response.writeHead(204);
      response.end();
      return;
    }
    this.host.logger.log('warn', 'failed to process Raft message', {
      'local-member-id': u64ToHex(this.host.identity.memberId),
      'remote-peer-id': u64ToHex(message.from),
      error: fault,
    });
    // What the reason is etcd does not say: for a sender that took a 403 as its removal it would be dangerous to.
    response.setHeader('Connection', 'close');
    refuse(response, 500, failed);
  }

  // -- streams --------------------------------------------------------------------------------------------------------

  private stream(rest: string, request: IncomingMessage, response: ServerResponse): void {
    const { host } = this;
    response.setHeader('X-Server-Version', host.identity.serverVersion);
    if (!this.admit('GET', request, response)) return;
    request.resume();
    const slash = rest.indexOf('/');
    const kind = rest.slice(0, slash);
    if (kind !== APPEND_STREAM && kind !== MESSAGE_STREAM) {
      refuse(response, 404, 'invalid path');
      return;
    }
    const from = u64FromHex(rest.slice(slash + 1));
    if (from === undefined) {
      refuse(response, 404, 'invalid from');
      return;
    }
    if (host.isRemoved(from)) {
      host.logger.log('warn', 'refused a stream to a removed member', { 'remote-peer-id-from': u64ToHex(from) });
      refuse(response, 410, 'removed member');
      return;
    }
    if (!host.isPeer(from)) {
      this.learnSender(from, request);
      refuse(response, 404, 'error sender not found');
      return;
    }
    if (u64FromHex(headerText(request.headers, 'x-raft-to')) !== host.identity.memberId) {
      refuse(response, 412, 'to field mismatch');
      return;
    }
    this.openStream(from, kind, response);
  }

  /**
   * From here on the connection is ours: the head of the answer announces chunks, and frames are written as such past
   * Node's own chunking, one write for a turn's frames.
   */
  private openStream(from: U64, kind: StreamKind, response: ServerResponse): void {
    const { host } = this;
    const { socket } = response;
    if (socket === null || socket.destroyed) {
      response.destroy();
      return;
    }
    response.writeHead(200, { 'Transfer-Encoding': 'chunked' });
    response.flushHeaders();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    socket.setTimeout(0);
    socket.on('drain', () => host.drained(from, kind));
    response.on('close', () => {
      socket.destroy();
      host.detach(from, kind, socket);
    });
    host.attach(from, kind, socket);
  }

  // -- snapshots ------------------------------------------------------------------------------------------------------

  private snapshot(request: IncomingMessage, response: ServerResponse): void {
    if (!this.admit('POST', request, response)) return;
    this.learnSender(u64FromHex(headerText(request.headers, 'x-server-from')), request);
    if (this.receives >= SNAPSHOT_RECEIVES_MAX || this.host.sink === null) {
      refuse(response, 500, 'failed to save KV snapshot (too many snapshots under way)');
      return;
    }
    this.receives++;
    void this.receiveSnapshot(this.host.sink, request, response).finally(() => {
      this.receives--;
      request.resume();
    });
  }

  private async receiveSnapshot(sink: SnapshotSink, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host } = this;
    const { clock } = host.world;
    const startMs = clock.nowMs();
    let incoming: IncomingSnapshot;
    try {
      incoming = await IncomingSnapshot.open(this.patiently(request));
    } catch (error) {
      const reason = errorFrom(error).message;
      const isType = reason === 'wrong raft message type';
      refuse(response, 400, isType ? reason : `failed to decode raft message (${reason})`);
      return;
    }
    const { message, from } = incoming;
    const counters = host.counters(from);
    if (host.isRemoved(from) || message.to !== host.identity.memberId) {
      counters.snapshotReceiveFailures++;
      this.answerStep(message, response, SNAPSHOT_UNPROCESSED);
      return;
    }
    const about = {
      'local-member-id': u64ToHex(host.identity.memberId),
      'remote-snapshot-sender-id': u64ToHex(from),
      'incoming-snapshot-index': message.snapshot?.metadata?.index ?? 0,
    };
    host.logger.log('info', 'receiving database snapshot', about);
    counters.snapshotsReceiving++;
    try {
      await sink.receive(message, incoming.body());
    } catch (error) {
      counters.snapshotReceiveFailures++;
      const reason = errorFrom(error).message;
      host.logger.log('warn', 'failed to save KV snapshot', { ...about, error: reason });
      refuse(response, 500, `failed to save KV snapshot (${reason})`);
      return;
    } finally {
      counters.snapshotsReceiving--;
      counters.receivedBytes += incoming.bytes;
    }
    counters.snapshotsReceived++;
    counters.snapshotReceiveTimes.observe((clock.nowMs() - startMs) / 1000);
    host.logger.log('info', 'received and saved database snapshot', { ...about, bytes: incoming.bytes });
    this.answerStep(message, response, SNAPSHOT_UNPROCESSED);
  }

  /** The request's bytes; a sender that is silent for too long while they are wanted is given up. */
  private async *patiently(request: IncomingMessage): AsyncGenerator<Buffer> {
    const { timers } = this.host.world;
    const chunks = request[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const giveUp = (): void => {
      request.destroy(new Error('i/o timeout'));
    };
    for (;;) {
      const timer = timers.after(SNAPSHOT_SILENCE_MS, giveUp, { ref: false });
      const next = await chunks.next().finally(() => timer.cancel());
      if (next.done === true) return;
      yield next.value;
    }
  }
}

/** An answer of one line, as Go's `http.Error` writes it. */
function refuse(response: ServerResponse, status: number, text: string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' });
  response.end(`${text}\n`);
}
