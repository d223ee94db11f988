/**
 * How messages lie on etcd's two kinds of streams.
 *
 *   message   │ 8 length │ raftpb.Message │ …
 *   msgappv2  │ 0 │                                                          sign of life
 *             │ 1 │ 8 count │ count × (8 length │ raftpb.Entry) │ 8 commit │  goes on where the last append ended
 *             │ 2 │ 8 length │ raftpb.Message │                              an append with everything
 *
 * Numbers are big-endian. Frames go out as chunks of HTTP/1.1 (RFC 9112 §7.1), head and tail in the same buffer, so that
 * one buffer is one write; they come in as what Node's parser leaves of chunks.
 */
import { assert, type U64, U64_ZERO } from '@etsd/base';
import { Entry, Message, MessageType } from '@etsd/proto';
import { ByteFeed } from './byte-feed.ts';
import { FRAME_BYTES_MAX, FRAME_ENTRIES_MAX } from './limits.ts';

/** The kinds of streams, as they are named in paths. */
export const MESSAGE_STREAM = 'message';
export const APPEND_STREAM = 'msgapp';
export type StreamKind = typeof MESSAGE_STREAM | typeof APPEND_STREAM;

/** What etcd's log calls them. */
export const STREAM_NAMES = { [MESSAGE_STREAM]: 'stream Message', [APPEND_STREAM]: 'stream MsgApp v2' } as const;

const SIGN_OF_LIFE = 0;
const CONTINUED_APPEND = 1;
const WHOLE_APPEND = 2;

const TWO_32 = 0x1_0000_0000;

/** The bytes are not what the protocol allows; the stream they came on is of no further use. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

function writeUint64(target: Buffer, offset: number, value: number): number {
  target.writeUInt32BE(Math.floor(value / TWO_32), offset);
  return target.writeUInt32BE(value % TWO_32, offset + 4);
}

function readUint64(bytes: Buffer, offset: number): number {
  return bytes.readUInt32BE(offset) * TWO_32 + bytes.readUInt32BE(offset + 4);
}

// -- going out --------------------------------------------------------------------------------------------------------

/** Where the content begins in the chunk last begun. */
let contentStart = 0;

/** A chunk with room for `length` bytes of content at `contentStart`. */
function beginChunk(length: number): Buffer {
  const head = length.toString(16);
  contentStart = head.length + 2;
  const chunk = Buffer.allocUnsafe(contentStart + length + 2);
  chunk.write(head, 0, 'latin1');
  chunk[contentStart - 2] = 0x0d;
  chunk[contentStart - 1] = 0x0a;
  chunk[chunk.length - 2] = 0x0d;
  chunk[chunk.length - 1] = 0x0a;
  return chunk;
}

/** Encodes what one stream carries; `null` where the message cannot travel on it. */
export interface FrameEncoder {
  encode(message: Message): Buffer;
  /** The frame that says nothing but that we are alive. */
  readonly signOfLife: Buffer;
}

function framedMessage(message: Message): Buffer {
  const size = Message.size(message);
  const chunk = beginChunk(8 + size);
  const end = Message.write(message, chunk, writeUint64(chunk, contentStart, size));
  assert(end === chunk.length - 2, 'peers: a message has another size than it said');
  return chunk;
}

const HEARTBEAT_FRAME = framedMessage(Message.create({ type: MessageType.MsgHeartbeat }));

/** Any message with its length before it. */
export class MessageEncoder implements FrameEncoder {
  readonly signOfLife = HEARTBEAT_FRAME;

  encode(message: Message): Buffer {
    return framedMessage(message);
  }
}

const APPEND_SIGN_OF_LIFE = Buffer.from('1\r\n\0\r\n', 'latin1');

/**
 * The frame of the last append that went on where the one before ended. It names neither sender nor receiver, so
 * followers that are equally far are sent the same bytes: they are made once.
 */
export class AppendCache {
  private first: Entry | null = null;
  private last: Entry | null = null;
  private count = 0;
  private commit = 0;
  private frame: Buffer | null = null;

  frameOf(message: Message): Buffer {
    const { entries, commit } = message;
    const count = entries.length;
    const first = entries[0] ?? null;
    const last = entries[count - 1] ?? null;
    if (
      this.frame !== null &&
      this.commit === commit &&
      this.count === count &&
      this.first === first &&
      this.last === last
    )
      return this.frame;
    this.first = first;
    this.last = last;
    this.count = count;
    this.commit = commit;
    this.frame = continuedAppend(entries, commit);
    return this.frame;
  }

  /** Lets go of what it holds. */
  clear(): void {
    this.first = null;
    this.last = null;
    this.frame = null;
  }
}

function continuedAppend(entries: readonly Entry[], commit: number): Buffer {
  let size = 1 + 8 + 8;
  for (let place = 0; place < entries.length; place++) size += 8 + Entry.size(entries[place] as Entry);
  const chunk = beginChunk(size);
  chunk[contentStart] = CONTINUED_APPEND;
  let at = writeUint64(chunk, contentStart + 1, entries.length);
  for (let place = 0; place < entries.length; place++) {
    const end = Entry.write(entries[place] as Entry, chunk, at + 8);
    writeUint64(chunk, at, end - at - 8);
    at = end;
  }
  at = writeUint64(chunk, at, commit);
  assert(at === chunk.length - 2, 'peers: an append has another size than it said');
  return chunk;
}

/** Appends; one that goes on where the last ended is short. One for each stream, as the two ends keep count together. */
export class AppendEncoder implements FrameEncoder {
  readonly signOfLife = APPEND_SIGN_OF_LIFE;
  private readonly cache: AppendCache;
  private term = 0;
  private index = 0;

  constructor(cache: AppendCache) {
    this.cache = cache;
  }

  encode(message: Message): Buffer {
    assert(message.type === MessageType.MsgApp, 'peers: only appends travel on this stream');
    if (message.term === this.term && message.logTerm === this.term && message.index === this.index) {
      this.index += message.entries.length;
      return this.cache.frameOf(message);
    }
    this.term = message.term;
    this.index = message.index + message.entries.length;
    const size = Message.size(message);
    const chunk = beginChunk(1 + 8 + size);
    chunk[contentStart] = WHOLE_APPEND;
    const end = Message.write(message, chunk, writeUint64(chunk, contentStart + 1, size));
    assert(end === chunk.length - 2, 'peers: an append has another size than it said');
    return chunk;
  }
}

// -- coming in --------------------------------------------------------------------------------------------------------

/** Takes the bytes of a stream and hands out its messages, signs of life excepted. */
export interface FrameDecoder {
  /** `chunk` must not be changed later: what is handed out may be views of it. Throws `FrameError` or `ProtoError`. */
  push(chunk: Buffer): void;
}

function checkLength(length: number): number {
  if (length > FRAME_BYTES_MAX) throw new FrameError(`a message of ${length} bytes is over the limit`);
  return length;
}

export class MessageDecoder implements FrameDecoder {
  private readonly feed = new ByteFeed();
  private readonly receive: (message: Message) => void;
  /** Length of the message being awaited; −1: its length is. */
  private length = -1;

  constructor(receive: (message: Message) => void) {
    this.receive = receive;
  }

  push(chunk: Buffer): void {
    const { feed } = this;
    feed.push(chunk);
    for (;;) {
      if (this.length < 0) {
        if (!feed.take(8)) return;
        this.length = checkLength(readUint64(feed.bytes, feed.start));
      }
      if (!feed.take(this.length)) return;
      const message = Message.decode(feed.bytes, feed.start, feed.start + this.length);
      this.length = -1;
      if (!isSignOfLife(message)) this.receive(message);
    }
  }
}

function isSignOfLife(message: Message): boolean {
  return message.type === MessageType.MsgHeartbeat && message.from === U64_ZERO && message.to === U64_ZERO;
}

const AT_TYPE = 0;
const AT_COUNT = 1;
const AT_ENTRY_LENGTH = 2;
const AT_ENTRY = 3;
const AT_COMMIT = 4;
const AT_MESSAGE_LENGTH = 5;
const AT_MESSAGE = 6;

/** What must be there before each step goes on; 0: as many bytes as were announced. */
const STEP_BYTES = [1, 8, 8, 0, 8, 8, 0];

export class AppendDecoder implements FrameDecoder {
  private readonly feed = new ByteFeed();
  private readonly receive: (message: Message) => void;
  private readonly local: U64;
  private readonly remote: U64;
  private state = AT_TYPE;
  private length = 0;
  /** Entries still to come, and their bytes so far. */
  private left = 0;
  private bytes = 0;
  private entries: Entry[] = [];
  private term = 0;
  private index = 0;

  /** `local` and `remote` are the two ends: short appends do not name them. */
  constructor(local: U64, remote: U64, receive: (message: Message) => void) {
    this.local = local;
    this.remote = remote;
    this.receive = receive;
  }

  push(chunk: Buffer): void {
    const { feed } = this;
    feed.push(chunk);
    while (feed.take(STEP_BYTES[this.state] || this.length)) this.step(feed.bytes, feed.start);
  }

  private step(bytes: Buffer, at: number): void {
    switch (this.state) {
      case AT_TYPE:
        this.begin(bytes[at] as number);
        return;
      case AT_COUNT:
        this.left = readUint64(bytes, at);
        if (this.left > FRAME_ENTRIES_MAX) throw new FrameError(`an append of ${this.left} entries is over the limit`);
        this.bytes = 0;
        this.entries = [];
        this.state = this.left > 0 ? AT_ENTRY_LENGTH : AT_COMMIT;
        return;
      case AT_ENTRY_LENGTH:
        this.beginEntry(readUint64(bytes, at));
        return;
      case AT_ENTRY:
        this.takeEntry(Entry.decode(bytes, at, at + this.length));
        return;
      case AT_COMMIT:
        this.finishContinued(readUint64(bytes, at));
        return;
      case AT_MESSAGE_LENGTH:
        this.length = checkLength(readUint64(bytes, at));
        if (this.length === 0) throw new FrameError('an append of no bytes');
        this.state = AT_MESSAGE;
        return;
      default:
        this.finishWhole(Message.decode(bytes, at, at + this.length));
    }
  }

  private begin(type: number): void {
    if (type === CONTINUED_APPEND) this.state = AT_COUNT;
    else if (type === WHOLE_APPEND) this.state = AT_MESSAGE_LENGTH;
    else if (type !== SIGN_OF_LIFE) throw new FrameError(`a frame of unknown type ${type}`);
  }

  private beginEntry(length: number): void {
    this.bytes += checkLength(length);
    checkLength(this.bytes);
    if (length === 0) {
      this.takeEntry(new Entry());
      return;
    }
    this.length = length;
    this.state = AT_ENTRY;
  }

  private takeEntry(entry: Entry): void {
    this.entries.push(entry);
    this.left--;
    this.state = this.left > 0 ? AT_ENTRY_LENGTH : AT_COMMIT;
  }

  private finishContinued(commit: number): void {
    const message = new Message();
    message.type = MessageType.MsgApp;
    message.from = this.remote;
    message.to = this.local;
    message.term = this.term;
    message.logTerm = this.term;
    message.index = this.index;
    message.entries = this.entries;
    message.commit = commit;
    this.index += this.entries.length;
    this.entries = [];
    this.state = AT_TYPE;
    this.receive(message);
  }

  private finishWhole(message: Message): void {
    if (message.type !== MessageType.MsgApp) throw new FrameError(`a message of type ${message.type} as an append`);
    const last = message.entries[message.entries.length - 1];
    this.term = message.term;
    this.index = last === undefined ? message.index : last.index;
    this.state = AT_TYPE;
    this.receive(message);
  }
}
