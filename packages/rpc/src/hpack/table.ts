import { assert } from '@etsd/base';

/**
 * Which of the names that HTTP/2 and gRPC care about a field has, as a small number to switch on. `OTHER` is everything
 * else. The values index `NAME_KINDS`.
 */
export const FieldKind = {
  OTHER: 0,
  AUTHORITY: 1,
  METHOD: 2,
  PATH: 3,
  SCHEME: 4,
  STATUS: 5,
  /** A name with a colon in front that is none of the five. */
  UNKNOWN_PSEUDO: 6,
  CONTENT_TYPE: 7,
  CONTENT_LENGTH: 8,
  TE: 9,
  /** Fields that only make sense in HTTP/1.1; their presence makes the request malformed (RFC 9113 §8.2.2). */
  CONNECTION_SPECIFIC: 10,
  GRPC_TIMEOUT: 11,
  GRPC_ENCODING: 12,
  GRPC_ACCEPT_ENCODING: 13,
  GRPC_STATUS: 14,
  GRPC_MESSAGE: 15,
  HOST: 16,
  /** A name that no HTTP/2 message may carry: empty, upper case, or with bytes outside a token (RFC 9113 §8.2.1). */
  MALFORMED: 17,
} as const;
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind];

const KNOWN: ReadonlyMap<string, FieldKind> = new Map<string, FieldKind>([
  [':authority', FieldKind.AUTHORITY],
  [':method', FieldKind.METHOD],
  [':path', FieldKind.PATH],
  [':scheme', FieldKind.SCHEME],
  [':status', FieldKind.STATUS],
  ['content-type', FieldKind.CONTENT_TYPE],
  ['content-length', FieldKind.CONTENT_LENGTH],
  ['te', FieldKind.TE],
  ['connection', FieldKind.CONNECTION_SPECIFIC],
  ['proxy-connection', FieldKind.CONNECTION_SPECIFIC],
  ['keep-alive', FieldKind.CONNECTION_SPECIFIC],
  ['transfer-encoding', FieldKind.CONNECTION_SPECIFIC],
  ['upgrade', FieldKind.CONNECTION_SPECIFIC],
  ['grpc-timeout', FieldKind.GRPC_TIMEOUT],
  ['grpc-encoding', FieldKind.GRPC_ENCODING],
  ['grpc-accept-encoding', FieldKind.GRPC_ACCEPT_ENCODING],
  ['grpc-status', FieldKind.GRPC_STATUS],
  ['grpc-message', FieldKind.GRPC_MESSAGE],
  ['host', FieldKind.HOST],
]);

/** tchar of RFC 9110 §5.6.2 without upper case. */
const NAME_PATTERN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const BAD_VALUE_PATTERN = /[\0\r\n]/;
const PADDED_VALUE_PATTERN = /^[ \t]|[ \t]$/;

function kindOf(name: string): FieldKind {
  const known = KNOWN.get(name);
  if (known !== undefined) return known;
  if (name.charCodeAt(0) === 0x3a) return FieldKind.UNKNOWN_PSEUDO;
  return NAME_PATTERN.test(name) ? FieldKind.OTHER : FieldKind.MALFORMED;
}

/** One header field, checked when made, so that a field in a table is classified once however often it is used. */
export class Field {
  readonly name: string;
  readonly value: string;
  readonly kind: FieldKind;
  /**
   * The value begins or ends with white space, which RFC 9113 §8.2.1 forbids. Apart from `kind`, because grpc-go's own
   * servers send such values.
   */
  readonly padded: boolean;
  /** RFC 7541 §4.1: octets of both plus 32. */
  readonly size: number;

  constructor(name: string, value: string) {
    this.name = name;
    this.value = value;
    const kind = kindOf(name);
    this.kind = BAD_VALUE_PATTERN.test(value) ? FieldKind.MALFORMED : kind;
    this.padded = PADDED_VALUE_PATTERN.test(value);
    this.size = name.length + value.length + 32;
  }
}

/** RFC 7541 appendix A, as name and value in turn; a single space stands for "no value". */
const STATIC_TEXT = [
  ':authority= ',
  ':method=GET',
  ':method=POST',
  ':path=/',
  ':path=/index.html',
  ':scheme=http',
  ':scheme=https',
  ':status=200',
  ':status=204',
  ':status=206',
  ':status=304',
  ':status=400',
  ':status=404',
  ':status=500',
  'accept-charset= ',
  'accept-encoding=gzip, deflate',
  'accept-language= ',
  'accept-ranges= ',
  'accept= ',
  'access-control-allow-origin= ',
  'age= ',
  'allow= ',
  'authorization= ',
  'cache-control= ',
  'content-disposition= ',
  'content-encoding= ',
  'content-language= ',
  'content-length= ',
  'content-location= ',
  'content-range= ',
  'content-type= ',
  'cookie= ',
  'date= ',
  'etag= ',
  'expect= ',
  'expires= ',
  'from= ',
  'host= ',
  'if-match= ',
  'if-modified-since= ',
  'if-none-match= ',
  'if-range= ',
  'if-unmodified-since= ',
  'last-modified= ',
  'link= ',
  'location= ',
  'max-forwards= ',
  'proxy-authenticate= ',
  'proxy-authorization= ',
  'range= ',
  'referer= ',
  'refresh= ',
  'retry-after= ',
  'server= ',
  'set-cookie= ',
  'strict-transport-security= ',
  'transfer-encoding= ',
  'user-agent= ',
  'vary= ',
  'via= ',
  'www-authenticate= ',
];

/** Entry 0 is no entry: HPACK counts from 1. */
export const STATIC_TABLE: readonly Field[] = [new Field('', ''), ...STATIC_TEXT.map(staticField)];
export const STATIC_COUNT = 61;

function staticField(text: string): Field {
  const split = text.indexOf('=');
  const value = text.slice(split + 1);
  return new Field(text.slice(0, split), value === ' ' ? '' : value);
}

/** The smallest static index with this name, 0 where there is none. */
export function staticNameIndex(name: string): number {
  return STATIC_NAMES.get(name) ?? 0;
}

/** The static index of name and value together, 0 where there is none. */
export function staticFieldIndex(name: string, value: string): number {
  for (let index = staticNameIndex(name); index !== 0 && index <= STATIC_COUNT; index++) {
    const field = STATIC_TABLE[index] as Field;
    if (field.name !== name) return 0;
    if (field.value === value) return index;
  }
  return 0;
}

const STATIC_NAMES: ReadonlyMap<string, number> = new Map(
  STATIC_TABLE.map((field, index): [string, number] => [field.name, index])
    .slice(1)
    .reverse(),
);

/** The dynamic table (RFC 7541 §2.3.2): newest entry first, oldest evicted when the size runs over. */
export class DynamicTable {
  /** Ring; its length is a power of two. */
  private ring: (Field | null)[] = new Array<Field | null>(16).fill(null);
  /** Place of the newest entry. */
  private newest = 0;
  count = 0;
  size = 0;
  maxSize: number;
  /** Grows with every change, so that whatever was derived from the table can tell whether it still holds. */
  generation = 0;

  constructor(maxSize: number) {
    this.maxSize = maxSize;
  }

  /** The field at HPACK index 62 + `position`, or null where the table is shorter. */
  at(position: number): Field | null {
    if (position >= this.count) return null;
    return this.ring[(this.newest - position) & (this.ring.length - 1)] as Field;
  }

  /** Inserts, evicting what no longer fits; a field larger than the table empties it (§4.4). */
  insert(field: Field): void {
    this.generation++;
    this.evictTo(this.maxSize - field.size);
    if (field.size > this.maxSize) return;
    if (this.count === this.ring.length) this.grow();
    this.newest = (this.newest + 1) & (this.ring.length - 1);
    this.ring[this.newest] = field;
    this.count++;
    this.size += field.size;
  }

  resize(maxSize: number): void {
    this.generation++;
    this.maxSize = maxSize;
    this.evictTo(maxSize);
  }

  private evictTo(size: number): void {
    while (this.count > 0 && this.size > size) {
      const place = (this.newest - this.count + 1) & (this.ring.length - 1);
      const oldest = this.ring[place] as Field;
      this.ring[place] = null;
      this.count--;
      this.size -= oldest.size;
    }
    assert(this.size >= 0, 'the table size counts what is held');
  }

  private grow(): void {
    const bigger = new Array<Field | null>(this.ring.length * 2).fill(null);
    for (let i = 0; i < this.count; i++) bigger[this.count - 1 - i] = this.at(i);
    this.ring = bigger;
    this.newest = this.count - 1;
  }
}
