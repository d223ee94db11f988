import { CLASSES, DESCRIPTORS } from './gen/descriptors.ts';
import type { MessageClass } from './methods.ts';

/** One field of a message as data. */
export interface FieldDescriptor {
  /** The property of the generated class. */
  readonly name: string;
  /** The name in the schema, which etcd's JSON uses. */
  readonly schemaName: string;
  readonly number: number;
  /** `int` and `uint` are 64-bit numbers, `u64` is an id as text. */
  readonly kind: 'int' | 'uint' | 'u64' | 'uint32' | 'int32' | 'bool' | 'string' | 'bytes' | 'enum' | 'message';
  /** Whether the number on the wire is signed: an id that is a lease is, one that is a member is not. */
  readonly signed: boolean;
  readonly repeated: boolean;
  /** The oneof it belongs to. */
  readonly oneof: string | null;
  /** Full name of the sub-message, for `describe`. */
  readonly message: string | null;
  /** The enumeration's names and numbers. */
  readonly values: Readonly<Record<string, number>> | null;
}

/** The fields of the message with this full name (`typeName` of its class), by ascending number. */
export function describe(typeName: string): readonly FieldDescriptor[] {
  const fields = DESCRIPTORS[typeName];
  if (fields === undefined) throw new RangeError(`no message ${typeName}`);
  return fields;
}

/** The class of the message with this full name. */
export function messageClass(typeName: string): MessageClass<object> {
  const found = CLASSES[typeName];
  if (found === undefined) throw new RangeError(`no message ${typeName}`);
  return found;
}
