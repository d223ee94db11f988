import type { WebExchange } from '../web-exchange.ts';
import type { Query } from './address.ts';
import type { Caller } from './local-call.ts';
import { badRequest } from './problem.ts';

/** One request to the API. */
export interface Question {
  readonly exchange: WebExchange;
  readonly query: Query;
  readonly caller: Caller;
  /** Headers of every answer. */
  readonly headers: readonly string[];
  readonly body: Buffer;
  /** Conditions and operations in one transaction and those within it. */
  readonly operationsMax: number;
  readonly after: (ms: number, callback: () => void) => { cancel(): void };
  /** Answers with JSON. */
  readonly json: (status: number, value: unknown, headers?: readonly string[]) => void;
  /** Answers with what went wrong. */
  readonly fail: (error: unknown) => void;
}

/** The body as a JSON object; an empty body is an empty one. */
export function jsonBody({ body }: Question): Record<string, unknown> {
  if (body.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw badRequest(`the body is no JSON: ${(error as Error).message}`);
  }
  return objectOf(value, 'the body');
}

export function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw badRequest(`${what} is not an object`);
}

/** Refuses members that mean nothing: a name written wrong should not go unnoticed. */
export function allowMembers(value: Record<string, unknown>, what: string, ...names: string[]): void {
  for (const name of Object.keys(value)) {
    if (!names.includes(name))
      throw badRequest(`${what} has no member ${JSON.stringify(name)}; known are ${names.join(', ')}`);
  }
}
