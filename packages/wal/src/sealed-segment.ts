/**
 * Encrypted segments. Behind the head of the file (`Sealing`) stand frames, one for each batch, which is what is written
 * at once:
 *
 *     ┌─ 8 bytes ───────────────────┬─ 12 ──┬─ length bytes ──────┬─ pad ─┬─ 16 ─┐
 *     │ length u32 │ CRC-32C of head │ nonce │ the batch, by GCM   │ zeros │ tag  │   a multiple of 8 in all
 *     └────────────────────────────┴───────┴─────────────────────┴───────┴──────┘
 *
 * Bound into the tag are the frame's head, its position and the 16 bytes before it, the tag of the frame before. So no
 * frame can stand elsewhere, in another file, or behind another one than it was written behind. A head lies within one
 * sector and is there wholly or not at all; its checksum is over its position too. As in plain segments a head of zeros is
 * the end, and a frame is *torn* if one of its sectors was never written; but here no sector that was written can be taken
 * for one that was not, since what is encrypted is never a sector of zeros.
 */
import { assert, CorruptionError, crc32c } from '@etsd/base';
import {
  type FileCipher,
  NONCE_BYTES,
  SEAL_HEAD_BYTES,
  type SealedHead,
  type Sealing,
  SealKind,
  TAG_BYTES,
} from '@etsd/runtime';
import { ADVICE_DAMAGED } from './advice.ts';
import { BATCH_BYTES_KEPT } from './limits.ts';
import { BatchBuffer, FRAME_HEAD_BYTES } from './record.ts';
import { isZero, sectorEnd, unwrittenSector } from './torn.ts';
import { FileWindow, HeldPiece, type SegmentWindow } from './window.ts';

const OVERHEAD_BYTES = FRAME_HEAD_BYTES + NONCE_BYTES + TAG_BYTES;
/** Head, position, the tag before. */
const BOUND_BYTES = FRAME_HEAD_BYTES + 8 + TAG_BYTES;
/** Read at once by who looks for frames. */
const SEARCH_BYTES = 1024 * 1024;
/** What a reader asks for behind the end, at most: the rest of a sector. */
const ZEROS = Buffer.alloc(1024);
const NOTHING = Buffer.alloc(0);
const SEARCHED_ZEROS = Buffer.alloc(64 * 1024);

/** What a frame with this much content takes of the file. */
export function sealedBytes(length: number): number {
  return OVERHEAD_BYTES + length + paddingOf(length);
}

function paddingOf(length: number): number {
  return -(length + OVERHEAD_BYTES) & 7;
}

/** What the heads of a file's frames are checked with, and the tags of its frames made. One at a time. */
class FrameParts {
  readonly cipher: FileCipher;
  private readonly seed: number;
  private readonly place = Buffer.alloc(12);
  private readonly bound = Buffer.alloc(BOUND_BYTES);

  constructor({ cipher, bytes }: SealedHead) {
    this.cipher = cipher;
    this.seed = crc32c(bytes);
  }

  checksum(length: number, position: number): number {
    this.place.writeUInt32LE(length, 0);
    this.place.writeUInt32LE(position % 0x1_0000_0000, 4);
    this.place.writeUInt32LE(Math.floor(position / 0x1_0000_0000), 8);
    return crc32c(this.place, 0, 12, this.seed);
  }

  /** `before` holds the tag that the frame stands behind, from `beforeAt` on. */
  boundTo(frame: Buffer, at: number, position: number, before: Buffer, beforeAt: number): Buffer {
    frame.copy(this.bound, 0, at, at + FRAME_HEAD_BYTES);
    this.bound.writeUInt32LE(position % 0x1_0000_0000, FRAME_HEAD_BYTES);
    this.bound.writeUInt32LE(Math.floor(position / 0x1_0000_0000), FRAME_HEAD_BYTES + 4);
    before.copy(this.bound, FRAME_HEAD_BYTES + 8, beforeAt, beforeAt + TAG_BYTES);
    return this.bound;
  }

  /** The content of the frame at `bytes[at]`, which is whole, or `null`; `bytes[at - 16, at)` is what stands before it. */
  open(bytes: Buffer, at: number, length: number, position: number): Buffer | null {
    const end = at + sealedBytes(length);
    const bound = this.boundTo(bytes, at, position, bytes, at - TAG_BYTES);
    const contentEnd = at + FRAME_HEAD_BYTES + NONCE_BYTES + length;
    if (!isZero(bytes.subarray(contentEnd, end - TAG_BYTES))) return null;
    return this.cipher.open(bytes, at + FRAME_HEAD_BYTES, length, end - TAG_BYTES, bound);
  }
}

/** Makes frames out of batches, one behind the other. */
export class SegmentSealer {
  readonly keyId: string;
  private readonly parts: FrameParts;
  /** Still to be written before the first frame. */
  private head: Buffer | null;
  private readonly tag = Buffer.alloc(TAG_BYTES);
  private readonly target = new BatchBuffer(0, BATCH_BYTES_KEPT);

  private constructor(head: SealedHead, isNew: boolean, tag: Buffer) {
    this.keyId = head.keyId;
    this.parts = new FrameParts(head);
    this.head = isNew ? head.bytes : null;
    tag.copy(this.tag);
  }

  /** For a new segment, under the newest key. */
  static begin(sealing: Sealing, name: string): SegmentSealer {
    const head = sealing.begin(SealKind.segment, name);
    return new SegmentSealer(head, true, head.bytes.subarray(SEAL_HEAD_BYTES - TAG_BYTES));
  }

  /** Goes on behind the frame with this tag. */
  static resume(head: SealedHead, tag: Buffer): SegmentSealer {
    return new SegmentSealer(head, false, tag);
  }

  /** What is to be written at `position` for this batch; valid until the next call. */
  seal(batch: BatchBuffer, position: number): BatchBuffer {
    const { target, head } = this;
    target.reset();
    assert(batch.length > 0 && (head !== null) === (position === 0), 'a segment begins with its head');
    target.reserve(SEAL_HEAD_BYTES + sealedBytes(batch.length));
    let at = 0;
    if (head !== null) at = head.copy(target.bytes);
    this.head = null;
    const { bytes } = target;
    const end = at + sealedBytes(batch.length);
    bytes.writeUInt32LE(batch.length, at);
    bytes.writeUInt32LE(this.parts.checksum(batch.length, position + at), at + 4);
    bytes.fill(0, end - TAG_BYTES - paddingOf(batch.length), end - TAG_BYTES);
    const bound = this.parts.boundTo(bytes, at, position + at, this.tag, 0);
    this.parts.cipher.seal(batch.bytes, batch.length, bound, bytes, at + FRAME_HEAD_BYTES, end - TAG_BYTES);
    bytes.copy(this.tag, 0, end - TAG_BYTES, end);
    target.length = end;
    return target;
  }
}

/** A frame that is what was written. */
export interface FoundFrame {
  readonly position: number;
  /** Bytes of content, which may be left undecrypted. */
  readonly length: number;
  readonly content: Buffer;
  /** Where the next one is. */
  readonly next: number;
}

/** The plain content of an encrypted segment, from its beginning on, as if it stood in the file alone, with zeros behind. */
export class SealedWindow extends HeldPiece implements SegmentWindow {
  readonly size = Number.POSITIVE_INFINITY;
  readonly head: SealedHead;
  torn: string | null = null;
  isBeyondFile = false;
  /** Behind the last frame read, in bytes of the file. */
  position = SEAL_HEAD_BYTES;
  /** Of the last frame read; of the head before the first. */
  readonly tag = Buffer.alloc(TAG_BYTES);
  private readonly path: string;
  private readonly raw: FileWindow;
  private readonly parts: FrameParts;
  private isEnded = false;
  /** Where in the content the frames in memory begin, and where they stand. */
  private places: { content: number; position: number }[] = [];

  constructor(raw: FileWindow, head: SealedHead) {
    super();
    this.path = raw.file.path;
    this.raw = raw;
    this.head = head;
    this.parts = new FrameParts(head);
    head.bytes.copy(this.tag, 0, SEAL_HEAD_BYTES - TAG_BYTES);
  }

  /** Length of the file. */
  get fileBytes(): number {
    return this.raw.size;
  }

  /** Where the frame stands that holds this byte of the content. */
  place(content: number): number {
    let place = SEAL_HEAD_BYTES;
    for (const each of this.places) if (each.content <= content) place = each.position;
    return place;
  }

  async load(position: number, length: number): Promise<void> {
    const left = this.view(position, Math.max(0, this.start + this.bytes.length - position));
    const pieces = [left];
    let bytes = left.length;
    this.places = this.places.slice(-1);
    while (bytes < length && !this.isEnded) {
      const frame = await this.next();
      if (frame === null) break;
      this.places.push({ content: position + bytes, position: frame.position });
      pieces.push(frame.content);
      bytes += frame.content.length;
    }
    if (bytes < length) {
      if (length - bytes > ZEROS.length)
        throw this.damage(this.place(position), 'a record that its frame does not hold');
      pieces.push(ZEROS.subarray(0, length - bytes));
    }
    this.bytes = pieces.length === 2 && left.length === 0 ? (pieces[1] as Buffer) : Buffer.concat(pieces);
    this.start = position;
  }

  /**
   * The next frame; null at the end of what was written, once it is clear that it is. A frame with no more than `skipped`
   * bytes is not decrypted.
   */
  async next(skipped = 0): Promise<FoundFrame | null> {
    const { raw, position } = this;
    if (position + FRAME_HEAD_BYTES > raw.size) {
      const isBeyond = position < raw.size;
      return this.end(isBeyond ? 'a frame head beyond the end of the file' : null, isBeyond);
    }
    const before = position - TAG_BYTES;
    if (!raw.holds(before, TAG_BYTES + FRAME_HEAD_BYTES)) await raw.load(before, TAG_BYTES + FRAME_HEAD_BYTES);
    const head = raw.view(position, FRAME_HEAD_BYTES);
    const length = head.readUInt32LE(0);
    if (isZero(head)) return this.zeroHead();
    if (length === 0 || head.readUInt32LE(4) !== this.parts.checksum(length, position)) {
      throw this.damage(position, 'a frame head that no writer makes');
    }
    const end = position + sealedBytes(length);
    if (end > raw.size) return this.end(`a frame of ${length} bytes beyond the end of the file`, true);
    if (length <= skipped) {
      this.position = end;
      return { position, length, content: NOTHING, next: end };
    }
    const wanted = Math.min(sectorEnd(end - 1), raw.size) - before;
    if (!raw.holds(before, wanted)) await raw.load(before, wanted);
    const content = this.parts.open(raw.view(before, wanted), TAG_BYTES, length, position);
    if (content === null) return this.bad(raw.view(position, wanted - TAG_BYTES), end);
    raw.view(end - TAG_BYTES, TAG_BYTES).copy(this.tag);
    this.position = end;
    return { position, length, content, next: end };
  }

  private async zeroHead(): Promise<null> {
    const { raw, position } = this;
    const rest = Math.min(sectorEnd(position), raw.size) - position;
    if (!raw.holds(position, rest)) await raw.load(position, rest);
    if (!isZero(raw.view(position, rest))) throw this.damage(position, 'a frame head of zeros that something follows');
    return this.end(null, false);
  }

  private bad(bytes: Buffer, end: number): Promise<null> {
    const problem = 'a frame that is not what was written';
    if (unwrittenSector(bytes, this.position, end) < 0) throw this.damage(this.position, problem);
    return this.end(`${problem}, and a sector of it was never written`, false);
  }

  /** There is one write at a time: where an intact frame stands behind, what is before it was written whole. */
  private async end(torn: string | null, isBeyondFile: boolean): Promise<null> {
    const behind = isBeyondFile ? null : await this.find(this.position + 8);
    if (behind !== null) {
      const problem = `${torn ?? 'zeros in place of a frame'}; an intact one stands further on, at byte ${behind.position}`;
      throw this.damage(this.position, problem);
    }
    this.torn = torn;
    this.isBeyondFile = isBeyondFile;
    this.isEnded = true;
    return null;
  }

  private damage(position: number, problem: string): CorruptionError {
    return new CorruptionError(`wal: ${problem}`, `${this.path} at byte ${position}`, ADVICE_DAMAGED);
  }

  /** The next frame that is what was written, from `from` on, whatever stands before it; null where there is none. */
  async find(from: number): Promise<FoundFrame | null> {
    const { raw, parts } = this;
    for (let start = Math.max(from, SEAL_HEAD_BYTES); start + FRAME_HEAD_BYTES <= raw.size; start += SEARCH_BYTES) {
      const length = Math.min(SEARCH_BYTES, raw.size - start);
      await raw.load(start, length);
      const bytes = raw.view(start, length);
      for (let at = 0; at + FRAME_HEAD_BYTES <= length; at += 8) {
        if (at % SEARCHED_ZEROS.length === 0 && length - at >= SEARCHED_ZEROS.length) {
          const isEmpty = bytes.compare(SEARCHED_ZEROS, 0, SEARCHED_ZEROS.length, at, at + SEARCHED_ZEROS.length) === 0;
          if (isEmpty) at += SEARCHED_ZEROS.length - 8;
          if (isEmpty) continue;
        }
        const size = bytes.readUInt32LE(at);
        const position = start + at;
        if (size === 0 || position + sealedBytes(size) > raw.size) continue;
        if (bytes.readUInt32LE(at + 4) !== parts.checksum(size, position)) continue;
        const frame = new FileWindow(raw.file, raw.size);
        const whole = TAG_BYTES + sealedBytes(size);
        await frame.load(position - TAG_BYTES, whole);
        const content = parts.open(frame.view(position - TAG_BYTES, whole), TAG_BYTES, size, position);
        if (content !== null) return { position, length: size, content, next: position + sealedBytes(size) };
      }
    }
    return null;
  }
}
