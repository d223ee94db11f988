/**
 * JSON in the bytes that Go's encoder produces, since these texts are hashed and compared between members of both kinds.
 * It differs from `JSON.stringify` in what it escapes inside strings.
 */
import { type U64, u64FromDecimal } from '@etsd/base';

const ESCAPES: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};

/** What stands in a literal as it is: ASCII without controls, quotes, backslashes and what Go escapes besides. */
const PLAIN = /^[ !#-%'-;=?-[\]-~]*$/;

/** A string literal. */
export function goString(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  return JSON.stringify(text.toWellFormed()).replace(/[<>&\u2028\u2029]/g, (c) => ESCAPES[c] as string);
}

/** An array of string literals. */
export function goStrings(texts: readonly string[]): string {
  return `[${texts.map(goString).join(',')}]`;
}

type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;

/** A 64-bit id read from a JSON number without loss. */
export class JsonId {
  readonly id: U64;

  constructor(id: U64) {
    this.id = id;
  }
}

/**
 * Parses an object whose integer fields may be 64-bit ids: every integer that a double can not hold, and every field
 * called `id`, arrives as `JsonId`. Undefined for anything that is no JSON object.
 */
export function parseJsonObject(text: string): Record<string, unknown> | undefined {
  const parsed = parseWithIds(text);
  return isObject(parsed) ? parsed : undefined;
}

/** The same for an array of such objects. */
export function parseJsonObjects(text: string): Record<string, unknown>[] | undefined {
  const parsed = parseWithIds(text);
  return Array.isArray(parsed) && parsed.every(isObject) ? parsed : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseWithIds(text: string): unknown {
  const reviver: Reviver = (key, value, context) => {
    if (typeof value !== 'number' || context.source === undefined) return value;
    if (key !== 'id' && Number.isSafeInteger(value)) return value;
    const id = u64FromDecimal(context.source);
    return id === undefined ? value : new JsonId(id);
  };
  try {
    return (JSON.parse as (text: string, reviver: Reviver) => unknown)(text, reviver);
  } catch {
    return undefined;
  }
}

/** The strings of a JSON array; none for anything else. */
export function stringsOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((item): item is string => typeof item === 'string');
}
