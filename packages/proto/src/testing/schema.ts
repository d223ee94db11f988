/** For tests: the schema as protobufjs sees it, and random messages of any class by it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Prng, u64FromHalves, u64ToDecimal, u64ToSignedDecimal } from '@etsd/base';
import protobuf from 'protobufjs';
import descriptor from 'protobufjs/google/protobuf/descriptor.json' with { type: 'json' };
import * as gen from '../gen/index.ts';
import type { MessageClass } from '../methods.ts';

const directory = join(import.meta.dirname, '..', '..', 'schema');

export function loadSchema(): protobuf.Root {
  protobuf.common('descriptor', descriptor.nested.google.nested.protobuf.nested);
  const tree = new protobuf.Root();
  tree.resolvePath = (_origin, target) =>
    target.startsWith('google/') ? target : join(directory, target.replace(/^.*\//, ''));
  const files = readdirSync(directory).filter((name) => name.endsWith('.proto'));
  tree.loadSync(
    files.map((name) => join(directory, name)),
    { keepCase: true },
  );
  tree.resolveAll();
  return tree;
}

const schema = loadSchema();

export function isMessageClass(value: unknown): value is MessageClass<object> {
  return typeof value === 'function' && 'typeName' in value;
}

export function classNameOf(type: protobuf.Type): string {
  return (type.options?.['(etsd.class)'] as string | undefined) ?? type.name;
}

function classOf(type: protobuf.Type): MessageClass<object> {
  return (gen as unknown as Record<string, MessageClass<object>>)[classNameOf(type)] as MessageClass<object>;
}

function propertyOf(name: string): string {
  return name.replace(/_([A-Za-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Integers of all sizes, most of them small, none of them rounded. */
export function randomInteger(random: Prng, signed: boolean): number {
  const magnitude = Math.floor(2 ** (random.float() * 52)) - 1 + random.below(2);
  return signed && random.chance(0.2) ? -magnitude - 1 : magnitude;
}

export function randomBytes(random: Prng): Buffer {
  return random.bytes(random.chance(0.1) ? random.below(300) : random.below(12));
}

function randomText(random: Prng): string {
  let text = '';
  const length = random.below(10);
  for (let index = 0; index < length; index++) {
    text += random.pick(['a', 'Z', '/', '0', 'é', '漢', '🙂', '"', '\0']);
  }
  return text;
}

function isId(field: protobuf.Field): boolean {
  return field.options?.['jstype'] === 'JS_STRING';
}

function isAlways(field: protobuf.Field): boolean {
  return field.options?.['(etsd.write)'] === 'ALWAYS';
}

function randomValue(field: protobuf.Field, random: Prng, depth: number): unknown {
  const resolved = field.resolvedType;
  if (resolved instanceof protobuf.Type) return randomMessage(classOf(resolved), random, depth + 1);
  if (resolved instanceof protobuf.Enum) return random.pick(Object.values(resolved.values));
  if (isId(field)) return u64FromHalves(random.chance(0.3) ? 0 : random.u32(), random.u32());
  switch (field.type) {
    case 'bytes':
      return randomBytes(random);
    case 'string':
      return randomText(random);
    case 'bool':
      return random.chance(0.5);
    case 'uint32':
      return random.u32();
    default:
      return randomInteger(random, field.type.startsWith('int'));
  }
}

/** A message with about half of its fields set, whose every part survives encoding (no empty snapshot, say). */
export function randomMessage<T extends object>(type: MessageClass<T>, random: Prng, depth = 0): T {
  const reflected = schema.lookupType(type.typeName);
  const message = new type() as Record<string, unknown>;
  for (const field of reflected.fieldsArray) {
    const inner = field.resolvedType instanceof protobuf.Type;
    const always = isAlways(field) && inner && field.type !== 'Snapshot';
    if (!always && !random.chance(depth > 2 && inner ? 0.1 : 0.5)) continue;
    if (inner && depth > 6) continue;
    if (field.partOf !== null) {
      for (const rival of field.partOf.oneof) message[propertyOf(rival)] = null;
    }
    const property = propertyOf(field.name);
    if (field.repeated) {
      const values: unknown[] = [];
      for (let count = random.below(4); count > 0; count--) values.push(randomValue(field, random, depth));
      message[property] = values;
    } else {
      message[property] = randomValue(field, random, depth);
    }
  }
  if (message instanceof gen.RaftSnapshot && message.data.length === 0) message.data = Buffer.from('x');
  return message as T;
}

/** The same message as a plain object for protobufjs. */
export function toReference(type: protobuf.Type, message: object): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    let value = (message as Record<string, unknown>)[propertyOf(field.name)];
    if (value === null && field.resolvedType instanceof protobuf.Type && isAlways(field)) {
      value = new (classOf(field.resolvedType))();
    }
    if (value === null || value === undefined) continue;
    const convert = (each: unknown): unknown => {
      if (field.resolvedType instanceof protobuf.Type) return toReference(field.resolvedType, each as object);
      if (isId(field)) {
        return field.type === 'int64' ? u64ToSignedDecimal(each as string) : u64ToDecimal(each as string);
      }
      return typeof each === 'number' && field.type.endsWith('64') ? String(each) : each;
    };
    out[field.name] = field.repeated ? (value as unknown[]).map(convert) : convert(value);
  }
  return out;
}
