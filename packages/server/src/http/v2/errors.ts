import { ErrNoSpace, type EtcdError, GrpcCode } from '@etsd/proto';
import { goString, type V2Failure } from '@etsd/state';
import type { WebExchange } from '../web-exchange.ts';

const TABLE: Readonly<Record<number, readonly [message: string, status: number]>> = {
  100: ['Key not found', 404],
  101: ['Compare failed', 412],
  102: ['Not a file', 403],
  104: ['Not a directory', 400],
  105: ['Key already exists', 412],
  107: ['Root is read only', 400],
  108: ['Directory not empty', 403],
  110: ['The request requires user authentication', 401],
  201: ['PrevValue is Required in POST form', 400],
  202: ['The given TTL in POST form is not a number', 400],
  203: ['The given index in POST form is not a number', 400],
  209: ['Invalid field', 400],
  210: ['Invalid POST form', 400],
  211: ['Value provided on refresh', 400],
  212: ['A TTL must be provided on refresh', 400],
  300: ['Raft Internal Error', 500],
  301: ['During Leader Election', 500],
  400: ['watcher is cleared due to etcd recovery', 400],
  401: ['The event in requested index is outdated and cleared', 400],
};

/** An error of etcd 2, on its way to the client. */
export class V2Error extends Error {
  readonly code: number;
  override readonly cause: string;
  readonly index: number;

  constructor(code: number, cause: string, index = 0) {
    super(TABLE[code]?.[0] ?? '');
    this.code = code;
    this.cause = cause;
    this.index = index;
  }

  static of({ code, cause, index }: V2Failure): V2Error {
    return new V2Error(code, cause, index);
  }
}

/** As which outcome of a call it counts, for those who look at all calls alike. */
export function outcomeOf(code: number): number {
  switch (code) {
    case 100:
      return GrpcCode.NotFound;
    case 101:
    case 105:
    case 108:
      return GrpcCode.FailedPrecondition;
    case 110:
      return GrpcCode.Unauthenticated;
    case 300:
    case 301:
      return GrpcCode.Unavailable;
    default:
      return code >= 400 ? GrpcCode.OutOfRange : GrpcCode.InvalidArgument;
  }
}

/** Who asks too much is told so in the status, where etcd 2 knew no such answer. */
const TOO_MANY = 429;

/** Answers a call that was refused, or that the log refused. */
export function respondRefusal(exchange: WebExchange, headers: readonly string[], error: EtcdError): void {
  const status = error.code === GrpcCode.ResourceExhausted && error !== ErrNoSpace ? TOO_MANY : undefined;
  respondV2Error(exchange, headers, new V2Error(300, error.message), status);
}

/** Answers with it. `headers`: what every answer has. */
export function respondV2Error(
  exchange: WebExchange,
  headers: readonly string[],
  { code, message, cause, index }: V2Error,
  status = TABLE[code]?.[1] ?? 400,
): void {
  const why = cause === '' ? '' : `,"cause":${goString(cause)}`;
  const json = `{"errorCode":${code},"message":${goString(message)}${why},"index":${index}}\n`;
  exchange.respond(status, [...headers, ...JSON_TYPE, 'X-Etcd-Index', String(index)], json);
}

export const JSON_TYPE = ['Content-Type', 'application/json'] as const;
