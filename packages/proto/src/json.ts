/**
 * Messages as JSON by protobuf's mapping (https://protobuf.dev/programming-guides/json) with the names of the schema,
 * as etcd's gateway has it: 64-bit integers are decimal strings, bytes are base64, enumerations go by name, and what has
 * its default value is left out. Input is taken in every form the mapping allows; unknown names are passed over.
 */
import { type U64, u64FromDecimal, u64ToDecimal, u64ToSignedDecimal } from '@etsd/base';
import { describe, type FieldDescriptor, messageClass } from './descriptor.ts';
import type { MessageClass } from './methods.ts';
import { DEPTH_MAX, ProtoError } from './wire.ts';

type JsonObject = Record<string, unknown>;

/** A plain object ready for `JSON.stringify`. */
export function messageToJson(type: { readonly typeName: string }, message: object): JsonObject {
  return toObject(type.typeName, message);
}

function toObject(typeName: string, message: object): JsonObject {
  const out: JsonObject = {};
  for (const field of describe(typeName)) {
    const value = (message as JsonObject)[field.name];
    if (isAbsent(field, value)) continue;
    out[field.schemaName] = field.repeated
      ? (value as unknown[]).map((each) => toValue(field, each))
      : toValue(field, value);
  }
  return out;
}

function isAbsent(field: FieldDescriptor, value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (field.repeated) return (value as unknown[]).length === 0;
  if (field.oneof !== null || field.kind === 'message') return false;
  if (field.kind === 'bytes') return (value as Buffer).length === 0;
  if (field.kind === 'u64') return /^0+$/.test(value as U64);
  return value === 0 || value === false || value === '';
}

function toValue(field: FieldDescriptor, value: unknown): unknown {
  switch (field.kind) {
    case 'int':
    case 'uint':
      return integerText(value as number);
    case 'u64':
      return field.signed ? u64ToSignedDecimal(value as U64) : u64ToDecimal(value as U64);
    case 'bytes':
      return (value as Buffer).toString('base64');
    case 'enum':
      return nameOf(field, value as number) ?? value;
    case 'message':
      return toObject(field.message as string, value as object);
    default:
      return value;
  }
}

/** All digits, also where a number would print an exponent. */
function integerText(value: number): string {
  return Math.abs(value) < 1e21 ? String(value) : value.toLocaleString('en', { useGrouping: false });
}

function nameOf(field: FieldDescriptor, number: number): string | undefined {
  return Object.entries(field.values ?? {}).find(([, each]) => each === number)?.[0];
}

// -- reading ----------------------------------------------------------------------------------------------------------

/** Numbers that a double cannot hold exactly stay text, so that ids given as plain numbers survive. */
function parseExactly(text: string): unknown {
  const reviver = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? '')
      ? context?.source
      : value;
  try {
    return JSON.parse(text, reviver);
  } catch (error) {
    throw new ProtoError((error as Error).message);
  }
}

/** Reads a message from JSON text. Throws `ProtoError` that names the field and shows the value. */
export function jsonToMessage<T>(type: MessageClass<T>, text: string): T {
  const parsed = parseExactly(text);
  return fromObject(type as unknown as MessageClass<object>, parsed, 0) as T;
}

function fromObject(type: MessageClass<object>, json: unknown, depth: number): object {
  if (depth > DEPTH_MAX) throw new ProtoError('message nested too deep');
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ProtoError(`unexpected token ${JSON.stringify(json)}`);
  }
  const message = new type() as JsonObject;
  const taken = new Map<string, string>();
  for (const field of describe(type.typeName)) {
    const value = memberOf(field, json as JsonObject);
    if (value === undefined || value === null) continue;
    if (field.oneof !== null) {
      const rival = taken.get(field.oneof);
      if (rival !== undefined) {
        throw new ProtoError(
          `error parsing "${field.schemaName}", oneof ${type.typeName}.${field.oneof} is already set`,
        );
      }
      taken.set(field.oneof, field.name);
    }
    message[field.name] = field.repeated ? fromArray(field, value, depth) : fromValue(field, value, depth);
  }
  return message;
}

/** By the schema's name, or by its camelCase form. */
function memberOf(field: FieldDescriptor, json: JsonObject): unknown {
  if (Object.hasOwn(json, field.schemaName)) return json[field.schemaName];
  const camel = field.schemaName.replace(/_([A-Za-z])/g, (_, letter: string) => letter.toUpperCase());
  return Object.hasOwn(json, camel) ? json[camel] : undefined;
}

function refuse(field: FieldDescriptor, value: unknown): never {
  const kind = field.kind === 'u64' || field.kind === 'int' || field.kind === 'uint' ? integerKind(field) : field.kind;
  throw new ProtoError(`invalid value for ${kind} field ${field.schemaName}: ${JSON.stringify(value)}`);
}

function integerKind(field: FieldDescriptor): string {
  return field.signed ? 'int64' : 'uint64';
}

function fromArray(field: FieldDescriptor, value: unknown, depth: number): unknown[] {
  if (!Array.isArray(value)) throw new ProtoError(`unexpected token ${JSON.stringify(value)}`);
  return value.map((each) => fromValue(field, each, depth));
}

function fromValue(field: FieldDescriptor, value: unknown, depth: number): unknown {
  switch (field.kind) {
    case 'message':
      return fromObject(messageClass(field.message as string), value, depth + 1);
    case 'bool':
      return typeof value === 'boolean' ? value : refuse(field, value);
    case 'string':
      return typeof value === 'string' ? value : refuse(field, value);
    case 'bytes':
      return fromBase64(field, value);
    case 'enum':
      return fromEnum(field, value);
    case 'u64':
      return u64FromDecimal(integerFrom(field, value)) ?? refuse(field, value);
    default:
      return bounded(field, Number(integerFrom(field, value)), value);
  }
}

/** An integer's decimal digits, from a number or from text. */
function integerFrom(field: FieldDescriptor, value: unknown): string {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) return value;
  return refuse(field, value);
}

function bounded(field: FieldDescriptor, number: number, value: unknown): number {
  const bits = field.kind === 'int' || field.kind === 'uint' ? 64 : 32;
  const high = 2 ** (field.signed ? bits - 1 : bits);
  const low = field.signed ? -high : 0;
  // At 64 bits the bound itself is what the largest integers round to.
  if (number < low || number > high || (bits === 32 && number === high)) refuse(field, value);
  return number;
}

function fromBase64(field: FieldDescriptor, value: unknown): Buffer {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) refuse(field, value);
  if (value.replace(/=+$/, '').length % 4 === 1) refuse(field, value);
  return Buffer.from(value, 'base64');
}

function fromEnum(field: FieldDescriptor, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value | 0;
  const values = field.values ?? {};
  if (typeof value === 'string' && Object.hasOwn(values, value)) return values[value] as number;
  return refuse(field, value);
}
