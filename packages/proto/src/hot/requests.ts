/**
 * Views of the hottest requests: reusable objects that say where in a buffer the parts of a request are. A parse that
 * throws `ProtoError` leaves the view with whatever it had found so far.
 */
import { type Key, keyFromBytes, type U64, U64_ZERO } from '@etsd/base';
import { sharedReader } from './reader.ts';

/** An `etcdserverpb.PutRequest`. Offsets are positions in the buffer given to `parse`. */
export class PutRequestView {
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  lease: U64 = U64_ZERO;
  prevKv = false;
  ignoreValue = false;
  ignoreLease = false;

  parse(bytes: Buffer, start: number, end: number): void {
    const reader = sharedReader;
    reader.reset(bytes, start, end);
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = start;
    this.lease = U64_ZERO;
    this.prevKv = this.ignoreValue = this.ignoreLease = false;
    while (reader.at < end) {
      const tag = reader.tag();
      switch (tag) {
        case 0x0a:
          this.keyEnd = reader.span();
          this.keyStart = reader.spanStart;
          break;
        case 0x12:
          this.valueEnd = reader.span();
          this.valueStart = reader.spanStart;
          break;
        case 0x18:
          this.lease = reader.u64();
          break;
        case 0x20:
          this.prevKv = reader.bool();
          break;
        case 0x28:
          this.ignoreValue = reader.bool();
          break;
        case 0x30:
          this.ignoreLease = reader.bool();
          break;
        default:
          reader.skip(tag);
      }
    }
  }

  /** The key, taken from the buffer that was parsed. */
  key(bytes: Buffer): Key {
    return keyFromBytes(bytes, this.keyStart, this.keyEnd);
  }
}

/** An `etcdserverpb.RangeRequest`. */
export class RangeRequestView {
  keyStart = 0;
  keyEnd = 0;
  rangeEndStart = 0;
  rangeEndEnd = 0;
  limit = 0;
  revision = 0;
  sortOrder = 0;
  sortTarget = 0;
  serializable = false;
  keysOnly = false;
  countOnly = false;
  minModRevision = 0;
  maxModRevision = 0;
  minCreateRevision = 0;
  maxCreateRevision = 0;

  parse(bytes: Buffer, start: number, end: number): void {
    const reader = sharedReader;
    reader.reset(bytes, start, end);
    this.clear(start);
    while (reader.at < end) {
      const tag = reader.tag();
      switch (tag) {
        case 0x0a:
          this.keyEnd = reader.span();
          this.keyStart = reader.spanStart;
          break;
        case 0x12:
          this.rangeEndEnd = reader.span();
          this.rangeEndStart = reader.spanStart;
          break;
        case 0x18:
          this.limit = reader.int();
          break;
        case 0x20:
          this.revision = reader.int();
          break;
        case 0x28:
          this.sortOrder = reader.int32();
          break;
        case 0x30:
          this.sortTarget = reader.int32();
          break;
        case 0x38:
          this.serializable = reader.bool();
          break;
        case 0x40:
          this.keysOnly = reader.bool();
          break;
        case 0x48:
          this.countOnly = reader.bool();
          break;
        default:
          this.parseFilter(tag);
      }
    }
  }

  private clear(start: number): void {
    this.keyStart = this.keyEnd = this.rangeEndStart = this.rangeEndEnd = start;
    this.limit = this.revision = this.sortOrder = this.sortTarget = 0;
    this.serializable = this.keysOnly = this.countOnly = false;
    this.minModRevision = this.maxModRevision = this.minCreateRevision = this.maxCreateRevision = 0;
  }

  private parseFilter(tag: number): void {
    const reader = sharedReader;
    switch (tag) {
      case 0x50:
        this.minModRevision = reader.int();
        break;
      case 0x58:
        this.maxModRevision = reader.int();
        break;
      case 0x60:
        this.minCreateRevision = reader.int();
        break;
      case 0x68:
        this.maxCreateRevision = reader.int();
        break;
      default:
        reader.skip(tag);
    }
  }

  key(bytes: Buffer): Key {
    return keyFromBytes(bytes, this.keyStart, this.keyEnd);
  }

  rangeEnd(bytes: Buffer): Key {
    return this.rangeEndEnd === this.rangeEndStart ? '' : keyFromBytes(bytes, this.rangeEndStart, this.rangeEndEnd);
  }
}

/** An `etcdserverpb.DeleteRangeRequest`. */
export class DeleteRangeRequestView {
  keyStart = 0;
  keyEnd = 0;
  rangeEndStart = 0;
  rangeEndEnd = 0;
  prevKv = false;

  parse(bytes: Buffer, start: number, end: number): void {
    const reader = sharedReader;
    reader.reset(bytes, start, end);
    this.keyStart = this.keyEnd = this.rangeEndStart = this.rangeEndEnd = start;
    this.prevKv = false;
    while (reader.at < end) {
      const tag = reader.tag();
      switch (tag) {
        case 0x0a:
          this.keyEnd = reader.span();
          this.keyStart = reader.spanStart;
          break;
        case 0x12:
          this.rangeEndEnd = reader.span();
          this.rangeEndStart = reader.spanStart;
          break;
        case 0x18:
          this.prevKv = reader.bool();
          break;
        default:
          reader.skip(tag);
      }
    }
  }

  key(bytes: Buffer): Key {
    return keyFromBytes(bytes, this.keyStart, this.keyEnd);
  }

  rangeEnd(bytes: Buffer): Key {
    return this.rangeEndEnd === this.rangeEndStart ? '' : keyFromBytes(bytes, this.rangeEndStart, this.rangeEndEnd);
  }
}
