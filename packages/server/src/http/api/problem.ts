/** What goes wrong, as the API tells it: problem details (RFC 9457) with a name that programs can compare. */
import { EtcdError, GrpcCode } from '@etsd/proto';
import { headerText, httpStatusOf } from '../gateway/statuses.ts';
import type { WebExchange } from '../web-exchange.ts';

export class Problem extends Error {
  override readonly name = 'Problem';
  readonly status: number;
  /** The same for the same reason, whatever the text says. */
  readonly code: string;
  /** Further headers of the answer, names and values in turn. */
  readonly headers: readonly string[];

  constructor(status: number, code: string, message: string, headers: readonly string[] = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

export function badRequest(message: string): Problem {
  return new Problem(400, 'bad_request', message);
}

const NAMES = new Map<number, string>(
  Object.entries(GrpcCode).map(([name, code]) => [code, name.replace(/(?!^)[A-Z]/g, '_$&').toLowerCase()]),
);

const COMPACTED = 'required revision has been compacted';

/** What an outcome of a call says to the client; null of what is none, and so a bug of ours. */
export function problemOf(error: unknown): Problem | null {
  if (error instanceof Problem) return error;
  if (!(error instanceof EtcdError)) return null;
  if (error.message.includes(COMPACTED)) return new Problem(410, 'compacted', error.message);
  const isLogin = error.code === GrpcCode.InvalidArgument && /user name is empty|auth/.test(error.message);
  if (isLogin || error.code === GrpcCode.Unauthenticated) {
    return new Problem(401, 'unauthenticated', error.message, CHALLENGE);
  }
  return new Problem(httpStatusOf(error.code), NAMES.get(error.code) ?? 'unknown', error.message);
}

const CHALLENGE = ['WWW-Authenticate', 'Bearer, Basic realm="etsd"'];

/** `more`: further members of the document, which RFC 9457 allows for. */
export function respondProblem(
  exchange: WebExchange,
  common: readonly string[],
  problem: Problem,
  more: Readonly<Record<string, unknown>> = {},
): void {
  const { status, code, message } = problem;
  const headers = [...common, ...problem.headers.map(headerText), 'Content-Type', 'application/problem+json'];
  exchange.respond(status, headers, `${JSON.stringify({ status, code, detail: message, ...more })}\n`);
}
