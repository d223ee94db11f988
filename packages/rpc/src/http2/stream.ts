import type { HeaderBlock } from '../hpack/decoder.ts';
import type { Connection } from './connection.ts';
import { ErrorCode } from './errors.ts';

/** RFC 9113 §5.1. The reserved states do not occur: neither side of ours pushes or lets itself be pushed to. */
export const StreamState = {
  IDLE: 0,
  OPEN: 1,
  HALF_CLOSED_LOCAL: 2,
  HALF_CLOSED_REMOTE: 3,
  CLOSED: 4,
} as const;
export type StreamState = (typeof StreamState)[keyof typeof StreamState];

/** What can happen to a stream, as seen from here. */
export const StreamEvent = {
  RECEIVE_HEADERS: 0,
  RECEIVE_DATA: 1,
  RECEIVE_END: 2,
  RECEIVE_RESET: 3,
  RECEIVE_WINDOW_UPDATE: 4,
  SEND_HEADERS: 5,
  SEND_END: 6,
  SEND_RESET: 7,
} as const;
export type StreamEvent = (typeof StreamEvent)[keyof typeof StreamEvent];

/** Who ended a stream before its time. */
export const AbortCause = {
  /** RST_STREAM came. */
  PEER: 0,
  /** We sent RST_STREAM because of what the other side did. */
  OURS: 1,
  /** The connection is gone, or is going. */
  CONNECTION: 2,
} as const;
export type AbortCause = (typeof AbortCause)[keyof typeof AbortCause];

/** Entries above this are the error code of a frame that is not allowed in that state. */
const ERROR = 16;
const PROTOCOL = ERROR + ErrorCode.PROTOCOL_ERROR;
const STREAM_CLOSED = ERROR + ErrorCode.STREAM_CLOSED;
/** We never do this; reaching it is a bug of ours. */
const BUG = ERROR + ErrorCode.INTERNAL_ERROR;
const { OPEN, HALF_CLOSED_LOCAL: LOCAL, HALF_CLOSED_REMOTE: REMOTE, CLOSED } = StreamState;

/** Next state by state (row) and event (column, in the order of `StreamEvent`). */
const TRANSITIONS: readonly (readonly number[])[] = [
  /* IDLE   */ [OPEN, PROTOCOL, BUG, PROTOCOL, PROTOCOL, OPEN, BUG, CLOSED],
  /* OPEN   */ [OPEN, OPEN, REMOTE, CLOSED, OPEN, OPEN, LOCAL, CLOSED],
  /* LOCAL  */ [LOCAL, LOCAL, CLOSED, CLOSED, LOCAL, BUG, BUG, CLOSED],
  /* REMOTE */ [STREAM_CLOSED, STREAM_CLOSED, STREAM_CLOSED, CLOSED, REMOTE, REMOTE, CLOSED, CLOSED],
  /* CLOSED */ [STREAM_CLOSED, STREAM_CLOSED, STREAM_CLOSED, CLOSED, CLOSED, BUG, BUG, CLOSED],
];
assertShape();
const TABLE = new Uint8Array(TRANSITIONS.flat());
const EVENTS = 8;

function assertShape(): void {
  for (const row of TRANSITIONS) if (row.length !== 8) throw new Error('the table has a column for every event');
}

/** The state after the event, or −(error code) where the event is not allowed. */
export function nextState(state: StreamState, event: StreamEvent): StreamState | number {
  const next = TABLE[state * EVENTS + event] as number;
  return next >= ERROR ? ERROR - next : next;
}

/**
 * One stream, as the connection needs it: state, windows, and the bytes that wait to be framed. What the bytes mean is
 * the business of the subclasses (a gRPC call of a server or a client, a plain HTTP exchange).
 */
export abstract class Stream {
  connection: Connection;
  id: number;
  state: StreamState = OPEN;
  /** Send window relative to the other side's initial window, so that changing that is one assignment for all streams. */
  sendCredit = 0;
  /** Bytes the other side may still send. */
  receiveWindow: number;

  /** Message bytes waiting for window or socket. */
  queuedBytes = 0;
  private queue: Buffer[] = NO_QUEUE;
  private queueHead = 0;
  /** Bytes of the first buffer already framed. */
  private queueOffset = 0;
  /** Nothing will be queued any more; the end of the stream follows the queue. */
  endQueued = false;
  /** Neighbours in the connection's ring of streams with something to frame; null while outside. */
  ringNext: Stream | null = null;
  ringPrevious: Stream | null = null;
  /** Its answer is not made before the other side opens its window: then `queueDrained` is called. */
  awaitsWindow = false;
  /** When the queue began to wait for the other side's window, 0 while it does not. */
  blockedSinceMs = 0;

  /** Bytes of an unfinished message held; kept by `Connection.hold`. */
  heldBytes = 0;
  /** Receive window granted beyond the first for a large message, and bytes of a grant waited for. */
  grantedBytes = 0;
  waitsForGrant = 0;
  /** When the message not yet complete began, 0 without one. */
  inputSinceMs = 0;

  /** What the header list that opened it counts for, as RFC 9113 §6.5.2 counts. */
  headerBytes = 0;
  /** It is no longer among the connection's streams. */
  isRemoved = false;
  /** When it was opened, to within a second. */
  openedMs = 0;

  constructor(connection: Connection, id: number, receiveWindow: number) {
    this.connection = connection;
    this.id = id;
    this.receiveWindow = receiveWindow;
  }

  /** Payload came; padding is taken off. */
  abstract receiveData(bytes: Buffer, start: number, end: number, endStream: boolean): void;
  /** A second header block came; it always ends the stream. */
  abstract receiveTrailers(block: HeaderBlock): void;
  /** The stream ended before its time, once and for all. */
  abstract aborted(code: number, cause: AbortCause): void;
  /** The queue fell under the low-water mark. */
  abstract queueDrained(): void;
  /** The queue is empty and `endQueued`: writes what ends the stream (trailers, or nothing if the last DATA shall). */
  abstract writeEnd(): void;

  /** Whether the empty queue's last DATA frame may carry END_STREAM itself. */
  abstract readonly endsWithData: boolean;

  /** Whether the last payload left a message unfinished. */
  get holdsFragment(): boolean {
    return this.heldBytes > 0;
  }

  enqueue(bytes: Buffer): void {
    if (this.queue === NO_QUEUE) this.queue = [];
    this.queue.push(bytes);
    this.queuedBytes += bytes.length;
    this.queuedMore(bytes.length);
  }

  /** Copies the next `count` queued bytes to `target`; the caller knows that there are as many. */
  dequeue(target: Buffer, offset: number, count: number): void {
    let at = offset;
    let left = count;
    while (left > 0) {
      const first = this.queue[this.queueHead] as Buffer;
      const take = Math.min(left, first.length - this.queueOffset);
      first.copy(target, at, this.queueOffset, this.queueOffset + take);
      at += take;
      left -= take;
      this.queueOffset += take;
      if (this.queueOffset === first.length) this.dropFirst();
    }
    this.queuedBytes -= count;
    this.queuedMore(-count);
  }

  /** The queue grew by so many bytes, or shrank; for those who keep an account of all streams. */
  protected queuedMore(_bytes: number): void {}

  private dropFirst(): void {
    this.queue[this.queueHead] = NO_BYTES;
    this.queueHead++;
    this.queueOffset = 0;
    if (this.queueHead === this.queue.length) {
      this.queue = NO_QUEUE;
      this.queueHead = 0;
    } else if (this.queueHead >= 256) {
      this.queue.splice(0, this.queueHead);
      this.queueHead = 0;
    }
  }

  clearQueue(): void {
    this.queue = NO_QUEUE;
    this.queueHead = 0;
    this.queueOffset = 0;
    if (this.queuedBytes > 0) this.queuedMore(-this.queuedBytes);
    this.queuedBytes = 0;
    this.endQueued = false;
  }
}

const NO_QUEUE: Buffer[] = [];
const NO_BYTES = Buffer.alloc(0);
