import { RingQueue } from '@etsd/base';
import { Message } from '@etsd/proto';
import { CLUSTER_MISMATCH, INCOMPATIBLE_VERSION, identityHeaders, REMOVED_SENDER } from './headers.ts';
import type { RequestOptions } from './http-client.ts';
import { PIPELINE_POSTS_MAX, PIPELINE_QUEUE_BYTES_MAX, PIPELINE_QUEUE_MAX, POST_TIMEOUT_MS } from './limits.ts';
import type { PeerLink } from './peer-link.ts';

/** What an answer to a posted message means; '' is success. */
export function postFailure(status: number, body: Buffer): string {
  if (status === 204) return '';
  const text = body.toString('latin1', 0, 1024).trim();
  if (status === 412 && (text === INCOMPATIBLE_VERSION || text === CLUSTER_MISMATCH)) return text;
  return `unexpected http status ${status}: ${text}`;
}

/** Whether an answer says that this member was removed. */
export function saysRemoved(status: number, body: Buffer): boolean {
  return status === 403 && body.toString('latin1', 0, 1024).includes(REMOVED_SENDER);
}

/**
 * Messages to a peer with which there is no stream: each is a post of its own, a few at a time. What finds the queue
 * full is dropped. Messages may overtake each other; raft copes.
 */
export class Pipeline {
  private readonly link: PeerLink;
  private readonly queue: RingQueue<Buffer> = new RingQueue();
  private queuedBytes = 0;
  private posts = 0;
  private isClosed = false;

  constructor(link: PeerLink) {
    this.link = link;
  }

  /** Takes a message; false: too much is waiting already, and it is dropped. */
  send(message: Message): boolean {
    if (this.queue.length >= PIPELINE_QUEUE_MAX || this.queuedBytes >= PIPELINE_QUEUE_BYTES_MAX) return false;
    const body = Message.encode(message);
    this.queue.push(body);
    this.queuedBytes += body.length;
    this.pump();
    return true;
  }

  private pump(): void {
    while (!this.isClosed && this.posts < PIPELINE_POSTS_MAX) {
      const body = this.queue.take();
      if (body === undefined) return;
      this.queuedBytes -= body.length;
      this.post(body);
    }
  }

  private post(body: Buffer): void {
    const { link } = this;
    const address = link.urls.pick();
    if (address === null) {
      this.failed();
      return;
    }
    this.posts++;
    const options: RequestOptions = {
      method: 'POST',
      path: '/raft',
      headers: { ...identityHeaders(link.identity), 'Content-Type': 'application/protobuf' },
      body,
      isStreaming: false,
      isAlone: false,
    };
    link.client.call(address, options, POST_TIMEOUT_MS, (error, status, _headers, answer) => {
      this.posts--;
      if (this.isClosed) return;
      if (error !== null) {
        link.urls.unreachable(address);
        link.say('failed to post a message to a remote peer', error.message);
        this.failed();
      } else if (saysRemoved(status, answer)) {
        link.removedByPeer();
      } else {
        const failure = postFailure(status, answer);
        if (failure === '') {
          link.counters.sentBytes += body.length;
        } else {
          link.say('a remote peer refused a message', failure);
          this.failed();
        }
      }
      this.pump();
    });
  }

  private failed(): void {
    this.link.counters.sentFailures++;
    this.link.reportUnreachable();
  }

  close(): void {
    this.isClosed = true;
    this.queue.clear();
  }
}
