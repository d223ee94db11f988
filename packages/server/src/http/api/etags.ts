/** Revisions as entity tags (RFC 9110 §8.8.3, §13.1): a key's tag is the revision of its last change. */
import type { WebExchange } from '../web-exchange.ts';
import { badRequest } from './problem.ts';

/** What a request demands of the key: a revision, that it is there, that it is not; null for nothing. */
export type Precondition =
  | { readonly kind: 'revision'; readonly revision: number }
  | { readonly kind: 'present' }
  | { readonly kind: 'absent' };

export function tagOf(revision: number): string {
  return `"${revision}"`;
}

/** The condition under which a change is to be made. */
export function preconditionOf(exchange: WebExchange): Precondition | null {
  const match = exchange.header('if-match');
  const noneMatch = exchange.header('if-none-match');
  if (match !== undefined && noneMatch !== undefined) throw badRequest('If-Match and If-None-Match exclude each other');
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*') throw badRequest('If-None-Match of a change is *: the key must not be there');
    return { kind: 'absent' };
  }
  if (match === undefined) return null;
  return match.trim() === '*' ? { kind: 'present' } : { kind: 'revision', revision: revisionOf(match.trim()) };
}

/** Whether what a reader has is what is there. */
export function isKnownTo(exchange: WebExchange, revision: number): boolean {
  const known = exchange.header('if-none-match');
  if (known === undefined) return false;
  if (known.trim() === '*') return true;
  return known.split(',').some((tag) => tag.trim().replace(/^W\//, '') === tagOf(revision));
}

function revisionOf(tag: string): number {
  const match = /^"(\d{1,15})"$/.exec(tag);
  if (match === null) throw badRequest(`${tag} is no tag of a key: these are revisions between quotes`);
  return Number(match[1]);
}
