/**
 * Browsers and edge runtimes have no `Buffer`, which the packages below use for all bytes. This puts a small one in its
 * place where there is none: a `Uint8Array` with what those packages and users of the client call. It has to be imported
 * first.
 */

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder('utf-8', { ignoreBOM: true });
/** Most arguments `String.fromCharCode` is given at a time. */
const CHUNK = 8192;

type Encoding = 'utf8' | 'utf-8' | 'latin1' | 'binary' | 'ascii' | 'hex' | 'base64' | 'base64url';

/** The constructor alone: the static `from` of typed arrays is another than ours. */
const Base = Uint8Array as unknown as new (
  source: number | ArrayBufferLike | ArrayLike<number>,
  offset?: number,
  length?: number,
) => Uint8Array;

/** As much of Node's `Buffer` as is needed. */
export class SmallBuffer extends Base {
  static alloc(size: number, fill = 0): SmallBuffer {
    const made = new SmallBuffer(size);
    if (fill !== 0) made.fill(fill);
    return made;
  }

  static allocUnsafe(size: number): SmallBuffer {
    return new SmallBuffer(size);
  }

  static from(
    source: string | ArrayLike<number> | ArrayBufferLike,
    encodingOrOffset: Encoding | number = 'utf8',
    length?: number,
  ): SmallBuffer {
    if (typeof source === 'string') return fromText(source, encodingOrOffset as Encoding);
    if (source instanceof ArrayBuffer) return new SmallBuffer(source, Number(encodingOrOffset) || 0, length);
    return new SmallBuffer(source as ArrayLike<number>);
  }

  static concat(parts: readonly Uint8Array[]): SmallBuffer {
    const whole = new SmallBuffer(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  static isBuffer(value: unknown): boolean {
    return value instanceof SmallBuffer;
  }

  static byteLength(text: string): number {
    return ENCODER.encode(text).length;
  }

  static compare(left: Uint8Array, right: Uint8Array): number {
    const shared = Math.min(left.length, right.length);
    for (let i = 0; i < shared; i++) {
      const difference = (left[i] as number) - (right[i] as number);
      if (difference !== 0) return Math.sign(difference);
    }
    return Math.sign(left.length - right.length);
  }

  override toString(encoding: Encoding = 'utf8', start = 0, end = this.length): string {
    const bytes = this.subarray(start, end);
    switch (encoding) {
      case 'utf8':
      case 'utf-8':
        return DECODER.decode(bytes);
      case 'hex':
        return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
      case 'base64':
        return btoa(oneByteText(bytes));
      case 'base64url':
        return btoa(oneByteText(bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
      default:
        return oneByteText(bytes);
    }
  }

  equals(other: Uint8Array): boolean {
    return SmallBuffer.compare(this, other) === 0;
  }

  compare(other: Uint8Array): number {
    return SmallBuffer.compare(this, other);
  }

  copy(target: Uint8Array, targetStart = 0, start = 0, end = this.length): number {
    const part = this.subarray(start, Math.min(end, start + target.length - targetStart));
    target.set(part, targetStart);
    return part.length;
  }

  toJSON(): { type: 'Buffer'; data: number[] } {
    return { type: 'Buffer', data: Array.from(this) };
  }
}

function oneByteText(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return text;
}

function fromText(text: string, encoding: Encoding): SmallBuffer {
  switch (encoding) {
    case 'utf8':
    case 'utf-8':
      return new SmallBuffer(ENCODER.encode(text));
    case 'hex':
      return new SmallBuffer((text.match(/[0-9a-fA-F]{2}/g) ?? []).map((pair) => Number.parseInt(pair, 16)));
    case 'base64':
    case 'base64url':
      return fromOneByteText(atob(text.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '')));
    default:
      return fromOneByteText(text);
  }
}

function fromOneByteText(text: string): SmallBuffer {
  const bytes = new SmallBuffer(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

if ((globalThis as { Buffer?: unknown }).Buffer === undefined) {
  Object.defineProperty(globalThis, 'Buffer', { value: SmallBuffer, writable: true, configurable: true });
}
