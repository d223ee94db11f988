/** gRPC status codes. */
export const StatusCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type StatusCode = (typeof StatusCode)[keyof typeof StatusCode];

/** The outcome of a call that did not end with OK, as the other side gave it or as it was found here. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const PLAIN = /^[ -$&-~]*$/;

/** `grpc-message`: UTF-8, everything but printable ASCII and the percent sign itself as %XX (gRPC over HTTP/2, "Responses"). */
export function encodeStatusMessage(text: string): string {
  if (PLAIN.test(text)) return text;
  let result = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    if (byte >= 0x20 && byte <= 0x7e && byte !== 0x25) result += String.fromCharCode(byte);
    else result += `%${byte < 16 ? '0' : ''}${byte.toString(16).toUpperCase()}`;
  }
  return result;
}

/** The reverse; what is not a valid escape stays as it is, as the specification asks. */
export function decodeStatusMessage(text: string): string {
  if (!text.includes('%')) return text;
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const hex = text.charCodeAt(i) === 0x25 ? text.slice(i + 1, i + 3) : '';
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else bytes.push(text.charCodeAt(i));
  }
  return Buffer.from(bytes).toString('utf8');
}

/** What a call's end means when the stream was reset instead of finished (gRPC over HTTP/2, "Errors"). */
export function statusOfReset(code: number): StatusCode {
  switch (code) {
    case 0x8:
      return StatusCode.CANCELLED;
    case 0x7:
      return StatusCode.UNAVAILABLE;
    case 0xb:
      return StatusCode.RESOURCE_EXHAUSTED;
    case 0xc:
      return StatusCode.PERMISSION_DENIED;
    default:
      return StatusCode.INTERNAL;
  }
}

/** What a response without `grpc-status` means by its HTTP status (gRPC's http-grpc-status-mapping). */
export function statusOfHttp(status: number): StatusCode {
  switch (status) {
    case 400:
      return StatusCode.INTERNAL;
    case 401:
      return StatusCode.UNAUTHENTICATED;
    case 403:
      return StatusCode.PERMISSION_DENIED;
    case 404:
      return StatusCode.UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return StatusCode.UNAVAILABLE;
    default:
      return StatusCode.UNKNOWN;
  }
}
