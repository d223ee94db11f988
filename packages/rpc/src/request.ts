import { parseTimeout } from './grpc/deadline.ts';
import type { HeaderBlock } from './hpack/decoder.ts';
import { type Field, FieldKind } from './hpack/table.ts';

/** How messages of a call are compressed. */
export const Encoding = { IDENTITY: 0, GZIP: 1, UNKNOWN: 2 } as const;
export type Encoding = (typeof Encoding)[keyof typeof Encoding];

/**
 * A request's header list, checked and sorted into what matters. Made once per distinct header block: the same object
 * serves every call that repeats the block, so nothing in it may change, but for what was looked up once for all of them.
 */
export class Request {
  readonly fields: readonly Field[];
  /** Size of the list, as RFC 9113 §6.5.2 counts. */
  readonly size: number;
  /** RFC 9113 §8.1.1: the stream is reset, nobody is asked. */
  malformed = false;
  tooLarge = false;
  method = '';
  path = '';
  scheme = '';
  authority = '';
  contentType: string | null = null;
  /** −1: not given. */
  contentLength = -1;
  /** −1: none; −2: given but unreadable. */
  timeoutMs = -1;
  timeoutText = '';
  encoding: Encoding = Encoding.IDENTITY;
  encodingName = '';
  acceptsGzip = false;
  isGrpc = false;
  /** A gRPC call that nothing is wrong with, but that there may be no such method. */
  isCall = false;
  /** The method's handler and its figures, once they were looked up; the server's own. */
  route: unknown = null;
  /** The first `-bin` field whose value is not base64, null where all are. */
  badBinary: Field | null = null;
  /** The name that was looked up last and is not there: mostly the next call asks for the same. */
  private absent = '';

  constructor(block: HeaderBlock) {
    this.fields = block.fields;
    this.size = block.size;
    this.tooLarge = block.tooLarge;
    if (block.tooLarge) return;
    this.read();
    this.isGrpc = isGrpcContentType(this.contentType);
    const readable = this.encoding !== Encoding.UNKNOWN && this.badBinary === null;
    const inTime = this.timeoutMs > 0 || this.timeoutMs === -1;
    this.isCall = this.isGrpc && this.method === 'POST' && readable && inTime;
  }

  /** First value of a field by its lower-case name. */
  header(name: string): string | undefined {
    if (name === this.absent) return undefined;
    for (const field of this.fields) if (field.name === name) return field.value;
    this.absent = name;
    return undefined;
  }

  private read(): void {
    let pseudo = 0; // bits of the pseudo fields seen, by kind
    let regular = false;
    for (const field of this.fields) {
      if (field.padded) this.malformed = true;
      if (field.kind >= FieldKind.AUTHORITY && field.kind <= FieldKind.UNKNOWN_PSEUDO) {
        const bit = 1 << field.kind;
        if (regular || (pseudo & bit) !== 0 || !this.pseudo(field)) this.malformed = true;
        pseudo |= bit;
      } else {
        regular = true;
        this.regular(field);
      }
    }
    const needed = (1 << FieldKind.METHOD) | (1 << FieldKind.SCHEME) | (1 << FieldKind.PATH);
    if (this.method === 'CONNECT') {
      if ((pseudo & needed) !== 1 << FieldKind.METHOD || this.authority === '') this.malformed = true;
    } else if ((pseudo & needed) !== needed || !isPath(this.path, this.method)) this.malformed = true;
  }

  private pseudo(field: Field): boolean {
    switch (field.kind) {
      case FieldKind.METHOD:
        this.method = field.value;
        return true;
      case FieldKind.PATH:
        this.path = field.value;
        return true;
      case FieldKind.SCHEME:
        this.scheme = field.value;
        return true;
      case FieldKind.AUTHORITY:
        this.authority = field.value;
        return true;
      default:
        return false; // :status and what nobody defined
    }
  }

  private regular(field: Field): void {
    switch (field.kind) {
      case FieldKind.MALFORMED:
      case FieldKind.CONNECTION_SPECIFIC:
        this.malformed = true;
        break;
      case FieldKind.TE:
        if (field.value !== 'trailers') this.malformed = true;
        break;
      case FieldKind.HOST:
        if (this.authority === '') this.authority = field.value;
        else if (this.authority !== field.value) this.malformed = true;
        break;
      case FieldKind.CONTENT_TYPE:
        this.contentType ??= field.value;
        break;
      case FieldKind.CONTENT_LENGTH:
        this.readContentLength(field.value);
        break;
      case FieldKind.GRPC_TIMEOUT:
        this.timeoutText = field.value;
        this.timeoutMs = parseTimeout(field.value);
        if (this.timeoutMs < 0) this.timeoutMs = -2;
        break;
      case FieldKind.GRPC_ENCODING:
        this.encodingName = field.value;
        this.encoding = encodingOf(field.value);
        break;
      case FieldKind.GRPC_ACCEPT_ENCODING:
        this.acceptsGzip = field.value.split(',').some((name) => name.trim() === 'gzip');
        break;
      default:
        if (field.name.endsWith('-bin') && this.badBinary === null && !isBase64(field.value)) this.badBinary = field;
        break;
    }
  }

  private readContentLength(value: string): void {
    const length = /^[0-9]{1,15}$/.test(value) ? Number(value) : -1;
    if (length < 0 || (this.contentLength >= 0 && this.contentLength !== length)) this.malformed = true;
    this.contentLength = length;
  }
}

/** Anything not starting with a slash could slip past rules about paths (CVE-2026-33186); `*` belongs to OPTIONS. */
function isPath(path: string, method: string): boolean {
  return path.charCodeAt(0) === 0x2f || (path === '*' && method === 'OPTIONS');
}

/** `application/grpc`, alone or with `+proto` and the like or parameters behind it. */
export function isGrpcContentType(contentType: string | null): boolean {
  if (contentType === null) return false;
  const lower = contentType.toLowerCase();
  if (!lower.startsWith('application/grpc')) return false;
  if (lower.length === 16) return true;
  const next = lower[16];
  return next === '+' || next === ';';
}

export function encodingOf(name: string): Encoding {
  if (name === '' || name === 'identity') return Encoding.IDENTITY;
  return name === 'gzip' ? Encoding.GZIP : Encoding.UNKNOWN;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

/** Standard base64, padded or not; several values may stand in one field, separated by commas. */
function isBase64(value: string): boolean {
  for (const part of value.split(',')) if (!BASE64.test(part.trim())) return false;
  return true;
}
