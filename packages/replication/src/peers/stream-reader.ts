import { u64ToHex } from '@etsd/base';
import { type Message, ProtoError } from '@etsd/proto';
import type { Timer } from '@etsd/runtime';
import {
  APPEND_STREAM,
  AppendDecoder,
  type FrameDecoder,
  FrameError,
  MessageDecoder,
  STREAM_NAMES,
  type StreamKind,
} from './codec.ts';
import { CLUSTER_MISMATCH, headerText, INCOMPATIBLE_VERSION, identityHeaders, versionOrder } from './headers.ts';
import type { AnswerHeaders, AnswerReceiver, Exchange } from './http-client.ts';
import { DIAL_TIMEOUT_MS, REDIAL_MAX_MS, REDIAL_MIN_MS, STREAM_SILENCE_MS } from './limits.ts';
import type { PeerLink } from './peer-link.ts';
import type { PeerAddress } from './peer-urls.ts';

/** Streams of these kinds exist since this version. */
const STREAMS_SINCE = versionOrder('2.1.0');

/** The status that says that the asking member was removed. */
const GONE = 410;

/** Of a refusal's body so much is read. */
const REFUSAL_BYTES_MAX = 4096;

/**
 * The end of a stream on which this member listens: it dials, takes the messages that come, and dials again when the
 * connection ends, after a wait that grows while there is no success. Only the owner of the loop knows when it is over.
 *
 *     waiting ──dial──▶ dialling ──200──▶ listening
 *        ▲                 └──refused, failed──┤
 *        └─────────────────────────────────────┘
 */
export class StreamReader {
  readonly kind: StreamKind;
  private readonly link: PeerLink;
  private attempt: Attempt | null = null;
  private timer: Timer | null = null;
  private waitMs = REDIAL_MIN_MS;
  private isClosed = false;
  /** Why dialling last failed, so that the same is not said again and again. */
  private lastFailure = '';

  constructor(kind: StreamKind, link: PeerLink) {
    this.kind = kind;
    this.link = link;
  }

  get isConnected(): boolean {
    return this.attempt?.isListening ?? false;
  }

  /** Dials if it does not already; the next attempt does not wait for its time. */
  dial(): void {
    if (this.isClosed || this.attempt !== null) return;
    this.timer?.cancel();
    this.timer = null;
    const { link } = this;
    const address = link.urls.pick();
    if (address === null) {
      this.dialLater();
      return;
    }
    const attempt = new Attempt(this, address);
    this.attempt = attempt;
    const exchange = link.client.start(
      address,
      {
        method: 'GET',
        path: `/raft/stream/${this.kind}/${u64ToHex(link.identity.memberId)}`,
        headers: { ...identityHeaders(link.identity), 'X-Raft-To': u64ToHex(link.id) },
        body: null,
        isStreaming: false,
        isAlone: true,
      },
      attempt,
    );
    attempt.exchange = exchange;
  }

  /** The peer is alive, as was just seen elsewhere. */
  hurry(): void {
    this.waitMs = REDIAL_MIN_MS;
    this.dial();
  }

  private dialLater(): void {
    if (this.isClosed || this.timer !== null) return;
    const waitMs = this.waitMs * (0.75 + 0.5 * this.link.world.random.float());
    this.waitMs = Math.min(this.waitMs * 2, REDIAL_MAX_MS);
    this.timer = this.link.world.timers.after(waitMs, this.onTimer, { ref: false });
  }

  private readonly onTimer = (): void => {
    this.timer = null;
    this.dial();
  };

  /** The peer accepted. */
  connected(): void {
    const { link, kind } = this;
    this.lastFailure = '';
    link.logger.log('info', 'established TCP streaming connection with remote peer', {
      'stream-reader-type': STREAM_NAMES[kind],
      'local-member-id': u64ToHex(link.identity.memberId),
      'remote-peer-id': u64ToHex(link.id),
    });
    link.streamsChanged();
  }

  /** The attempt, successful or not, is over. */
  ended(attempt: Attempt, failure: string): void {
    if (this.attempt !== attempt) return;
    const { link, kind } = this;
    this.attempt = null;
    if (this.isClosed) return;
    const fields = {
      'stream-reader-type': STREAM_NAMES[kind],
      'local-member-id': u64ToHex(link.identity.memberId),
      'remote-peer-id': u64ToHex(link.id),
      error: failure,
    };
    if (attempt.isListening) {
      // One that ends as soon as it stands is no success.
      if (link.world.clock.nowMs() - attempt.sinceMs > REDIAL_MAX_MS) this.waitMs = REDIAL_MIN_MS;
      link.counters.receivedFailures++;
      link.logger.log('warn', 'lost TCP streaming connection with remote peer', fields);
    } else {
      link.urls.unreachable(attempt.address);
      if (failure !== this.lastFailure) {
        this.lastFailure = failure;
        link.logger.log('warn', 'failed to dial the stream of a remote peer', { ...fields, url: attempt.address.url });
      }
    }
    link.streamsChanged();
    this.dialLater();
  }

  /** Now and then: gives up what has been silent for too long. */
  sweep(nowMs: number): void {
    const { attempt } = this;
    if (attempt === null) return;
    const patienceMs = attempt.isAnswered ? STREAM_SILENCE_MS : DIAL_TIMEOUT_MS + this.link.electionMs;
    if (nowMs - attempt.lastMs > patienceMs) attempt.giveUp(attempt.isAnswered ? 'i/o timeout' : 'dial timeout');
  }

  newDecoder(): FrameDecoder {
    const { link } = this;
    const receive = (message: Message): void => link.receive(message);
    return this.kind === APPEND_STREAM
      ? new AppendDecoder(link.identity.memberId, link.id, receive)
      : new MessageDecoder(receive);
  }

  get peer(): PeerLink {
    return this.link;
  }

  /** The URLs changed: what stands stays, what is being tried begins anew. */
  redial(): void {
    if (this.isConnected) return;
    this.abandon();
    this.hurry();
  }

  /** Ends what is being tried without a word. */
  private abandon(): void {
    const { attempt } = this;
    this.attempt = null;
    attempt?.giveUp('abandoned');
  }

  close(): void {
    this.isClosed = true;
    this.timer?.cancel();
    this.timer = null;
    this.abandon();
  }
}

/** One connection, from dialling it to its end. */
class Attempt implements AnswerReceiver {
  readonly address: PeerAddress;
  exchange: Exchange | null = null;
  isAnswered = false;
  isListening = false;
  /** When something last happened on it. */
  lastMs: number;
  readonly sinceMs: number;
  private readonly reader: StreamReader;
  private readonly decoder: FrameDecoder;
  private status = 0;
  private refusal = '';
  private failure = '';
  private isOver = false;

  constructor(reader: StreamReader, address: PeerAddress) {
    this.reader = reader;
    this.address = address;
    this.decoder = reader.newDecoder();
    this.lastMs = reader.peer.world.clock.nowMs();
    this.sinceMs = this.lastMs;
  }

  answered(status: number, headers: AnswerHeaders): void {
    if (this.isOver) return;
    this.isAnswered = true;
    this.lastMs = this.reader.peer.world.clock.nowMs();
    this.status = status;
    if (versionOrder(headerText(headers, 'x-server-version')) < STREAMS_SINCE) {
      this.giveUp('unsupported stream type');
    } else if (status === 200) {
      this.isListening = true;
      this.reader.connected();
    } else if (status === GONE) {
      // Nothing behind the head could say more; a connection that breaks before its end must not hide it.
      this.reader.peer.removedByPeer();
      this.giveUp('the member has been permanently removed from the cluster');
    }
  }

  data(bytes: Buffer): void {
    if (this.isOver) return;
    const { peer } = this.reader;
    this.lastMs = peer.world.clock.nowMs();
    if (!this.isListening) {
      if (this.refusal.length < REFUSAL_BYTES_MAX) this.refusal += bytes.toString('latin1');
      return;
    }
    peer.counters.receivedBytes += bytes.length;
    try {
      this.decoder.push(bytes);
    } catch (error) {
      // What raft itself throws is no fault of the bytes, and must not pass for one.
      if (!(error instanceof FrameError || error instanceof ProtoError)) throw error;
      this.giveUp(`malformed frame: ${error.message}`);
    }
  }

  drained(): void {}

  closed(error: Error | null): void {
    this.finish(error?.message ?? (this.isListening ? 'EOF' : this.explainRefusal()));
  }

  private explainRefusal(): string {
    const text = this.refusal.trim();
    if (this.status === 412 && (text === INCOMPATIBLE_VERSION || text === CLUSTER_MISMATCH)) return text;
    return `unexpected http status ${this.status}: ${text}`;
  }

  giveUp(reason: string): void {
    this.failure = reason;
    this.exchange?.destroy();
    this.finish(reason);
  }

  private finish(reason: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.reader.ended(this, this.failure === '' ? reason : this.failure);
  }
}
