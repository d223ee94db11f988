/**
 * A strict reader of JSON's grammar (RFC 8259), byte by byte, that remembers where it is: it finds the end of a value
 * whose bytes come in pieces, and says what is wrong with one that is malformed in the words that Go's encoding/json
 * uses, since those reach the clients of etcd's gateway.
 */

/** What a byte did. */
export const ScanStep = {
  /** It belongs to a value that is not complete, or is space around one. */
  CONTINUE: 0,
  /** With it the value is complete. */
  END: 1,
  /** The value, a number, ended before it. */
  END_BEFORE: 2,
  /** It does not fit: see `error`. */
  ERROR: 3,
} as const;
export type ScanStep = (typeof ScanStep)[keyof typeof ScanStep];

/** Nesting beyond which a value is refused. */
export const JSON_DEPTH_MAX = 10_000;
/**
 * Values and names in one text, unless the caller says otherwise: each costs a while, and a text of a megabyte can have
 * half a million of them, where no message has more than some hundreds.
 */
export const JSON_VALUES_MAX = 100_000;
const TOO_MANY = 'too many values';

const State = {
  BEGIN_VALUE: 0,
  BEGIN_VALUE_OR_CLOSE: 1,
  BEGIN_NAME_OR_CLOSE: 2,
  BEGIN_NAME: 3,
  AFTER_NAME: 4,
  AFTER_MEMBER: 5,
  AFTER_ELEMENT: 6,
  STRING: 7,
  ESCAPE: 8,
  HEX: 9,
  MINUS: 10,
  ZERO: 11,
  DIGITS: 12,
  POINT: 13,
  FRACTION: 14,
  EXPONENT: 15,
  EXPONENT_SIGN: 16,
  EXPONENT_DIGITS: 17,
  LITERAL: 18,
} as const;

/** Where the bytes of a container stand, one byte per level. */
const OBJECT = 1;
const ARRAY = 2;

export class JsonScanner {
  /** What is wrong, after `ERROR`. */
  error = '';
  /** Bytes other than space have come. */
  hasBegun = false;
  private state: number = State.BEGIN_VALUE;
  private readonly levels: number[] = [];
  private isName = false;
  private hexDigits = 0;
  private literal = '';
  private literalAt = 0;
  private values = 0;
  private readonly valuesMax: number;

  constructor(valuesMax = JSON_VALUES_MAX) {
    this.valuesMax = valuesMax;
  }

  /** Ready for the next value. */
  reset(): void {
    this.error = '';
    this.hasBegun = false;
    this.state = State.BEGIN_VALUE;
    this.levels.length = 0;
    this.values = 0;
  }

  /**
   * Looks at bytes from `start` on until a value is complete or wrong. Returns the offset behind the value, `end` where
   * the bytes ran out (`ScanStep.CONTINUE` in `outcome`), or the offset of the byte that is wrong.
   */
  scan(bytes: Buffer, start: number, end: number): number {
    for (let at = start; at < end; at++) {
      if (this.state === State.STRING) at = endOfPlain(bytes, at, end);
      if (at === end) break;
      const step = this.step(bytes[at] as number);
      if (step === ScanStep.CONTINUE) continue;
      this.outcome = step;
      return step === ScanStep.END ? at + 1 : at;
    }
    this.outcome = ScanStep.CONTINUE;
    return end;
  }

  /** How the last `scan` ended. */
  outcome: ScanStep = ScanStep.CONTINUE;

  /** Whether the value is complete if no more bytes come: true of a number alone. */
  get isCompleteAtEnd(): boolean {
    return this.hasBegun && this.levels.length === 0 && isWholeNumber(this.state);
  }

  private step(byte: number): ScanStep {
    switch (this.state) {
      case State.STRING:
        return this.inString(byte);
      case State.ESCAPE:
        return this.escape(byte);
      case State.HEX:
        return this.hex(byte);
      case State.LITERAL:
        return this.inLiteral(byte);
      default:
        return this.state >= State.MINUS ? this.inNumber(byte) : this.between(byte);
    }
  }

  /** Bytes that are not part of a scalar. */
  private between(byte: number): ScanStep {
    if (isSpace(byte)) return ScanStep.CONTINUE;
    this.hasBegun = true;
    switch (this.state) {
      case State.BEGIN_VALUE_OR_CLOSE:
        return byte === 0x5d ? this.close() : this.beginValue(byte);
      case State.BEGIN_NAME_OR_CLOSE:
        if (byte === 0x7d) return this.close();
        return this.beginName(byte);
      case State.BEGIN_NAME:
        return this.beginName(byte);
      case State.AFTER_NAME:
        if (byte !== 0x3a) return this.fail(byte, 'after object key');
        this.state = State.BEGIN_VALUE;
        return ScanStep.CONTINUE;
      case State.AFTER_MEMBER:
        if (byte === 0x7d) return this.close();
        if (byte !== 0x2c) return this.fail(byte, 'after object key:value pair');
        this.state = State.BEGIN_NAME;
        return ScanStep.CONTINUE;
      case State.AFTER_ELEMENT:
        if (byte === 0x5d) return this.close();
        if (byte !== 0x2c) return this.fail(byte, 'after array element');
        this.state = State.BEGIN_VALUE;
        return ScanStep.CONTINUE;
      default:
        return this.beginValue(byte);
    }
  }

  private beginName(byte: number): ScanStep {
    if (++this.values > this.valuesMax) return this.tooMany();
    if (byte !== 0x22) return this.fail(byte, 'looking for beginning of object key string');
    this.isName = true;
    this.state = State.STRING;
    return ScanStep.CONTINUE;
  }

  private tooMany(): ScanStep {
    this.error = TOO_MANY;
    return ScanStep.ERROR;
  }

  private beginValue(byte: number): ScanStep {
    if (++this.values > this.valuesMax) return this.tooMany();
    switch (byte) {
      case 0x7b:
        return this.open(OBJECT, State.BEGIN_NAME_OR_CLOSE);
      case 0x5b:
        return this.open(ARRAY, State.BEGIN_VALUE_OR_CLOSE);
      case 0x22:
        this.isName = false;
        this.state = State.STRING;
        return ScanStep.CONTINUE;
      case 0x2d:
        this.state = State.MINUS;
        return ScanStep.CONTINUE;
      case 0x30:
        this.state = State.ZERO;
        return ScanStep.CONTINUE;
      case 0x74:
        return this.beginLiteral('true');
      case 0x66:
        return this.beginLiteral('false');
      case 0x6e:
        return this.beginLiteral('null');
      default:
        if (byte < 0x31 || byte > 0x39) return this.fail(byte, 'looking for beginning of value');
        this.state = State.DIGITS;
        return ScanStep.CONTINUE;
    }
  }

  private open(kind: number, state: number): ScanStep {
    if (this.levels.length === JSON_DEPTH_MAX) {
      this.error = 'exceeded max depth';
      return ScanStep.ERROR;
    }
    this.levels.push(kind);
    this.state = state;
    return ScanStep.CONTINUE;
  }

  private close(): ScanStep {
    this.levels.pop();
    return this.valueEnded();
  }

  private valueEnded(): ScanStep {
    const { length } = this.levels;
    if (length === 0) return ScanStep.END;
    this.state = this.levels[length - 1] === OBJECT ? State.AFTER_MEMBER : State.AFTER_ELEMENT;
    return ScanStep.CONTINUE;
  }

  private inString(byte: number): ScanStep {
    if (byte === 0x22) {
      if (!this.isName) return this.valueEnded();
      this.state = State.AFTER_NAME;
    } else if (byte === 0x5c) this.state = State.ESCAPE;
    else if (byte < 0x20) return this.fail(byte, 'in string literal');
    return ScanStep.CONTINUE;
  }

  private escape(byte: number): ScanStep {
    if (byte === 0x75) {
      this.hexDigits = 0;
      this.state = State.HEX;
    } else if (SIMPLE_ESCAPES.includes(byte)) this.state = State.STRING;
    else return this.fail(byte, 'in string escape code');
    return ScanStep.CONTINUE;
  }

  private hex(byte: number): ScanStep {
    if (!isHexDigit(byte)) return this.fail(byte, 'in \\u hexadecimal character escape');
    if (++this.hexDigits === 4) this.state = State.STRING;
    return ScanStep.CONTINUE;
  }

  private beginLiteral(literal: string): ScanStep {
    this.literal = literal;
    this.literalAt = 1;
    this.state = State.LITERAL;
    return ScanStep.CONTINUE;
  }

  private inLiteral(byte: number): ScanStep {
    const { literal, literalAt } = this;
    if (byte !== literal.charCodeAt(literalAt)) {
      return this.fail(byte, `in literal ${literal} (expecting '${literal[literalAt]}')`);
    }
    this.literalAt++;
    return this.literalAt === literal.length ? this.valueEnded() : ScanStep.CONTINUE;
  }

  private inNumber(byte: number): ScanStep {
    const digit = byte >= 0x30 && byte <= 0x39;
    switch (this.state) {
      case State.MINUS:
        if (!digit) return this.fail(byte, 'in numeric literal');
        this.state = byte === 0x30 ? State.ZERO : State.DIGITS;
        return ScanStep.CONTINUE;
      case State.POINT:
        if (!digit) return this.fail(byte, 'after decimal point in numeric literal');
        this.state = State.FRACTION;
        return ScanStep.CONTINUE;
      case State.EXPONENT:
        if (byte === 0x2b || byte === 0x2d) {
          this.state = State.EXPONENT_SIGN;
          return ScanStep.CONTINUE;
        }
        break;
      default:
        break;
    }
    if (this.state === State.EXPONENT || this.state === State.EXPONENT_SIGN) {
      if (!digit) return this.fail(byte, 'in exponent of numeric literal');
      this.state = State.EXPONENT_DIGITS;
      return ScanStep.CONTINUE;
    }
    if (digit && this.state !== State.ZERO) return ScanStep.CONTINUE;
    if (byte === 0x2e && (this.state === State.ZERO || this.state === State.DIGITS)) {
      this.state = State.POINT;
      return ScanStep.CONTINUE;
    }
    if ((byte === 0x65 || byte === 0x45) && this.state !== State.EXPONENT_DIGITS) {
      this.state = State.EXPONENT;
      return ScanStep.CONTINUE;
    }
    // The number ended before this byte, which belongs to what is around it.
    if (this.valueEnded() === ScanStep.END) return ScanStep.END_BEFORE;
    return this.between(byte);
  }

  private fail(byte: number, context: string): ScanStep {
    this.error = `invalid character ${quotedByte(byte)} ${context}`;
    return ScanStep.ERROR;
  }
}

/** What may follow a backslash, besides `u`. */
export const SIMPLE_ESCAPES: readonly number[] = [...'"\\/bfnrt'].map((letter) => letter.charCodeAt(0));

/** Where in a string the bytes end that mean nothing but themselves. */
function endOfPlain(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const byte = bytes[at] as number;
    if (byte === 0x22 || byte === 0x5c || byte < 0x20) break;
    at++;
  }
  return at;
}

function isWholeNumber(state: number): boolean {
  return state === State.ZERO || state === State.DIGITS || state === State.FRACTION || state === State.EXPONENT_DIGITS;
}

export function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

export function isHexDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

const NAMED_CONTROLS: Readonly<Record<string, string>> = {
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
  "'": "\\'",
};

/** A byte as a character between single quotes, escaped as Go escapes it. */
function quotedByte(byte: number): string {
  const letter = String.fromCharCode(byte);
  const named = NAMED_CONTROLS[letter];
  if (named !== undefined) return `'${named}'`;
  if (byte < 0x20 || byte === 0x7f) return `'\\x${byte.toString(16).padStart(2, '0')}'`;
  if ((byte >= 0x80 && byte <= 0xa0) || byte === 0xad) return `'\\u00${byte.toString(16)}'`;
  return `'${letter}'`;
}
