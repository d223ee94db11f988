/**
 * Messages as Go's encoding/json prints etcd's structs, which is not protobuf's JSON: numbers are numbers to the last
 * digit, enumerations are numbers too, and the member of a oneof lies in an object named after the oneof.
 */
import { type U64, u64ToDecimal, u64ToSignedDecimal } from '@etsd/base';
import { describe, type FieldDescriptor, messageClass } from '@etsd/proto';

/** A string as Go quotes it in JSON: what could end a script element is escaped. */
export function jsonText(text: string): string {
  return JSON.stringify(text).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** `{"name":value,…}` of what is not null. */
export function jsonObject(members: Readonly<Record<string, string | null>>): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(members)) if (value !== null) parts.push(`"${name}":${value}`);
  return `{${parts.join(',')}}`;
}

export function jsonArray(values: readonly string[]): string {
  return `[${values.join(',')}]`;
}

type Typed = { readonly typeName: string };

/** A message by the schema of its class. */
export function jsonMessage(type: Typed, message: object): string {
  return jsonObject(members(type.typeName, message));
}

/** The members of a message, for structs that hold those of another one too. */
export function members(typeName: string, message: object): Record<string, string> {
  const out: Record<string, string> = {};
  for (const field of describe(typeName)) {
    const value = (message as Record<string, unknown>)[field.name];
    if (value === null || value === undefined) continue;
    if (field.oneof !== null) out[camel(field.oneof)] = `{"${field.schemaName}":${one(field, value)}}`;
    else if (field.repeated) {
      const list = value as unknown[];
      if (list.length > 0) out[field.schemaName] = jsonArray(list.map((each) => one(field, each)));
    } else if (!isZero(field, value)) out[field.schemaName] = one(field, value);
  }
  return out;
}

/** `response` is `Response` in Go. */
function camel(name: string): string {
  return name.replace(/(?:^|_)([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}

function isZero(field: FieldDescriptor, value: unknown): boolean {
  if (field.kind === 'bytes') return (value as Buffer).length === 0;
  if (field.kind === 'u64') return /^0+$/.test(value as U64);
  return value === 0 || value === false || value === '';
}

function one(field: FieldDescriptor, value: unknown): string {
  switch (field.kind) {
    case 'message':
      return jsonMessage(messageClass(field.message as string), value as object);
    case 'bytes':
      return `"${(value as Buffer).toString('base64')}"`;
    case 'string':
      return jsonText(value as string);
    case 'u64':
      return field.signed ? u64ToSignedDecimal(value as U64) : u64ToDecimal(value as U64);
    default:
      return String(value);
  }
}
