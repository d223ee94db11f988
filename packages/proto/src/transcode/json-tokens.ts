/**
 * Tokens of a JSON text held in a buffer. What it refuses, it refuses in the words of Go's protojson, which etcd's
 * gateway passes on to its clients. Nothing is made of a value that nobody asks for.
 */
import { ProtoError } from '../wire.ts';
import { isHexDigit, isSpace, JsonScanner, ScanStep, SIMPLE_ESCAPES } from './json-scanner.ts';

/** The text is no JSON, or not of the shape of the message. */
export class JsonError extends ProtoError {}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const STRUCTURE: readonly number[] = [...'{}[],:'].map((letter) => letter.charCodeAt(0));
const DELIMITER_TEXT = /^(?:[-+._a-zA-Z0-9]{1,32}|.)/su;
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/;

export class JsonTokens {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** Before the next token. */
  at: number;
  /** The token read last: a string with its quotes, a number, a literal. */
  tokenStart = 0;
  tokenEnd = 0;
  private hasEscapes = false;
  private isAscii = true;
  private values = 0;
  private readonly valuesMax: number;

  /** `start` is where the value begins, spaces before it passed over: positions in error texts count from there. */
  constructor(bytes: Buffer, start: number, end: number, valuesMax: number) {
    this.valuesMax = valuesMax;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.at = start;
  }

  /** The next byte that is not space, not taken yet; −1 at the end. */
  peek(): number {
    while (this.at < this.end) {
      const byte = this.bytes[this.at] as number;
      if (!isSpace(byte)) return byte;
      this.at++;
    }
    return -1;
  }

  /** Takes the brace or bracket that a container begins with. */
  open(): void {
    this.at++;
    this.count();
  }

  private count(): void {
    if (++this.values > this.valuesMax) throw new JsonError('too many values');
  }

  /** Takes the punctuation that comes next. */
  expect(byte: number): void {
    if (this.peek() !== byte) this.unexpected();
    this.at++;
  }

  /** Takes a comma between members or elements: false where `close` comes instead, which is taken. */
  another(close: number): boolean {
    const byte = this.peek();
    this.at++;
    if (byte === 0x2c) return true;
    if (byte === close) return false;
    this.at--;
    return this.unexpected();
  }

  /** Takes a value that is no container: fills `tokenStart` and `tokenEnd` and returns its first byte. */
  scalar(): number {
    const first = this.peek();
    this.count();
    this.tokenStart = this.at;
    if (first === QUOTE) this.string();
    else if (first === 0x2d || (first >= 0x30 && first <= 0x39)) this.number();
    else if (first === 0x74) this.literal('true');
    else if (first === 0x66) this.literal('false');
    else if (first === 0x6e) this.literal('null');
    else this.unexpected();
    this.tokenEnd = this.at;
    return first;
  }

  /** Takes a value of any kind without making anything of it. */
  skip(): void {
    const scanner = new JsonScanner(this.valuesMax);
    const end = scanner.scan(this.bytes, this.at, this.end);
    if (scanner.outcome !== ScanStep.END && scanner.outcome !== ScanStep.END_BEFORE) this.unexpected();
    // The grammar holds; what is left to see is what the strings say.
    while (this.at < end) {
      const byte = this.peek();
      if (this.at >= end) break;
      if (STRUCTURE.includes(byte)) this.at++;
      else this.scalar();
    }
  }

  /** The last token as it was written. */
  get raw(): string {
    return this.bytes.toString('utf8', this.tokenStart, this.tokenEnd);
  }

  /** The contents of the last token, a string. */
  get text(): string {
    const from = this.tokenStart + 1;
    const to = this.tokenEnd - 1;
    if (this.hasEscapes) return JSON.parse(this.raw) as string;
    return this.isAscii ? this.bytes.toString('latin1', from, to) : this.bytes.toString('utf8', from, to);
  }

  private string(): void {
    const { bytes, end } = this;
    let at = this.at + 1;
    let escapes = false;
    let bits = 0;
    for (; ; at++) {
      if (at >= end) this.truncated();
      const byte = bytes[at] as number;
      if (byte === QUOTE) break;
      bits |= byte;
      if (byte === BACKSLASH) {
        escapes = true;
        at = this.escape(at);
      } else if (byte < 0x20)
        this.syntaxError(`invalid character ${JSON.stringify(String.fromCharCode(byte))} in string`);
    }
    this.hasEscapes = escapes;
    this.isAscii = bits < 0x80;
    if (!this.isAscii && !isUtf8(bytes.subarray(this.at, at))) this.syntaxError('invalid UTF-8 in string');
    this.at = at + 1;
  }

  /** Checks the escape that begins at `at` and returns its last byte. Surrogates must come in pairs. */
  private escape(at: number): number {
    const letter = this.bytes[at + 1];
    if (letter === undefined || at + 1 >= this.end) this.truncated();
    if (letter !== 0x75) {
      if (!SIMPLE_ESCAPES.includes(letter)) {
        this.syntaxError(`invalid escape code ${goQuoted(this.bytes.subarray(at, at + 2))} in string`);
      }
      return at + 1;
    }
    const unit = this.unit(at);
    if (unit < 0xd800 || unit > 0xdfff) return at + 5;
    const next = at + 6;
    if (next + 6 > this.end) this.truncated();
    const isPair = this.bytes[next] === BACKSLASH && this.bytes[next + 1] === 0x75 && this.isHex(next + 2);
    const low = isPair ? this.unit(next) : 0;
    if (unit >= 0xdc00 || low < 0xdc00 || low > 0xdfff) {
      this.syntaxError(`invalid escape code ${goQuoted(this.bytes.subarray(next, next + 6))} in string`);
    }
    return next + 5;
  }

  private unit(at: number): number {
    if (at + 6 > this.end) this.truncated();
    if (!this.isHex(at + 2)) {
      this.syntaxError(`invalid escape code ${goQuoted(this.bytes.subarray(at, at + 6))} in string`);
    }
    let unit = 0;
    for (let index = at + 2; index < at + 6; index++) {
      const byte = this.bytes[index] as number;
      unit = (unit << 4) | (byte < 0x3a ? byte - 0x30 : (byte & 0xdf) - 0x37);
    }
    return unit;
  }

  private isHex(at: number): boolean {
    for (let index = at; index < at + 4; index++) if (!isHexDigit(this.bytes[index] ?? 0)) return false;
    return true;
  }

  private number(): void {
    const { bytes } = this;
    let at = this.at + 1;
    while (at < this.end && isNumberByte(bytes[at] as number)) at++;
    const text = bytes.toString('latin1', this.at, at);
    const match = NUMBER.exec(text);
    if (match === null || match[0].length !== text.length || isWordByte(bytes[at] ?? 0)) this.invalid('number');
    this.at = at;
  }

  private literal(word: string): void {
    const to = this.at + word.length;
    const isWord = to <= this.end && this.bytes.toString('latin1', this.at, to) === word;
    if (!isWord || (to < this.end && isWordByte(this.bytes[to] as number))) this.invalid('value');
    this.at = to;
  }

  // ── what is wrong ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Throws over a token that is well-formed but stands where another was wanted. */
  unexpectedToken(): never {
    const first = this.peek();
    this.tokenStart = this.at;
    if (first === 0x7b || first === 0x5b || first === 0x7d || first === 0x5d) this.tokenEnd = this.at + 1;
    else this.scalar();
    return this.failAt(this.tokenStart, 'syntax error (', `unexpected token ${this.raw}`);
  }

  /** Throws over a value that does not fit its field; `at` is where the value, or the name, begins. */
  refuse(at: number, message: string): never {
    return this.failAt(at, '(', message);
  }

  private unexpected(): never {
    if (this.peek() === -1) this.truncated();
    return this.invalid('value');
  }

  private invalid(what: string): never {
    const rest = this.bytes.toString('utf8', this.at, Math.min(this.end, this.at + 40));
    return this.syntaxError(`invalid ${what} ${DELIMITER_TEXT.exec(rest)?.[0] ?? ''}`);
  }

  private syntaxError(message: string): never {
    return this.failAt(this.at, 'syntax error (', message);
  }

  private failAt(at: number, opening: string, message: string): never {
    let line = 1;
    let column = 1;
    for (let index = this.start; index < at; index++) {
      const byte = this.bytes[index] as number;
      if (byte === 0x0a) {
        line++;
        column = 1;
      } else if ((byte & 0xc0) !== 0x80) column++;
    }
    throw new JsonError(`${PREFIX}${opening}line ${line}:${column}): ${message}`);
  }

  private truncated(): never {
    throw new JsonError(`${PREFIX}unexpected EOF`);
  }
}

/** etcd's library sets a no-break space behind its name, or a plain one, by a coin thrown when it was built. */
export const PREFIX = 'proto:\u00a0';

function isNumberByte(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) || byte === 0x2e || byte === 0x2b || byte === 0x2d || byte === 0x65 || byte === 0x45
  );
}

/** Bytes that can not follow a number or a literal. */
function isWordByte(byte: number): boolean {
  return isNumberByte(byte) || byte === 0x5f || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}

function isUtf8(bytes: Buffer): boolean {
  // A byte that is not UTF-8 becomes three others.
  return Buffer.from(bytes.toString('utf8', 0, bytes.length), 'utf8').equals(bytes);
}

/** As Go's `%q` prints bytes. */
function goQuoted(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('utf8'));
}
