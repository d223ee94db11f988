/**
 * Writes packages/proto/src/gen from packages/proto/schema: one TypeScript file per schema file, with one class per
 * message and one constant object per enumeration. `protobufjs` only parses; what is generated stands on wire.ts alone.
 *
 *   node scripts/gen-proto.ts [--check]
 *
 * `--check` writes nothing and fails if what is committed differs.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import descriptor from 'protobufjs/google/protobuf/descriptor.json' with { type: 'json' };

const root = join(import.meta.dirname, '..', 'packages', 'proto');
const schemaDirectory = join(root, 'schema');
const targetDirectory = join(root, 'src', 'gen');

type Scalar = 'int' | 'uint' | 'u64' | 'uint32' | 'int32' | 'bool' | 'string' | 'bytes' | 'enum';
type Presence = 'implicit' | 'always' | 'explicit';

/** A field with everything decided that the writer of code needs. */
interface FieldPlan {
  /** In TypeScript. */
  name: string;
  schemaName: string;
  number: number;
  kind: Scalar | 'message';
  /** Class of a message, constants of an enumeration. */
  type: string;
  repeated: boolean;
  packed: boolean;
  presence: Presence;
  /** Fields of the same oneof, without this one. */
  rivals: string[];
  comment: string | null;
}

const SCALARS: Record<string, Scalar> = {
  int64: 'int',
  uint64: 'uint',
  uint32: 'uint32',
  int32: 'int32',
  bool: 'bool',
  string: 'string',
  bytes: 'bytes',
};

const TYPES: Record<Scalar, string> = {
  int: 'number',
  uint: 'number',
  u64: 'U64',
  uint32: 'number',
  int32: 'number',
  bool: 'boolean',
  string: 'string',
  bytes: 'Buffer',
  enum: 'number',
};

const DEFAULTS: Record<Scalar, string> = {
  int: '0',
  uint: '0',
  u64: 'U64_ZERO',
  uint32: '0',
  int32: '0',
  bool: 'false',
  string: "''",
  bytes: 'EMPTY',
  enum: '0',
};

const READS: Record<Scalar, string> = {
  int: 'int()',
  uint: 'uint()',
  u64: 'u64()',
  uint32: 'uint32()',
  int32: 'int32()',
  bool: 'bool()',
  string: 'string()',
  bytes: 'bytesField()',
  enum: 'int32()',
};

/** The size of a value without its tag. */
function sizeOf(kind: Scalar, value: string): string {
  switch (kind) {
    case 'int':
    case 'int32':
    case 'enum':
      return `intSize(${value})`;
    case 'uint':
    case 'uint32':
      return `varintSize(${value})`;
    case 'u64':
      return `u64Size(${value})`;
    case 'bool':
      return '1';
    case 'string':
      return `stringSize(${value})`;
    case 'bytes':
      return `lengthDelimitedSize(${value}.length)`;
  }
}

/** The statement that writes a value without its tag. */
function writeOf(kind: Scalar, value: string): string {
  switch (kind) {
    case 'int':
    case 'int32':
    case 'enum':
      return `at = writeInt(target, at, ${value});`;
    case 'uint':
    case 'uint32':
      return `at = writeVarint(target, at, ${value});`;
    case 'u64':
      return `at = writeU64(target, at, ${value});`;
    case 'bool':
      return `target[at++] = ${value} ? 1 : 0;`;
    case 'string':
      return `at = writeString(target, at, ${value});`;
    case 'bytes':
      return `at = writeBytes(target, at, ${value});`;
  }
}

/** The condition under which a value is not zero. */
function present(kind: Scalar, value: string): string {
  if (kind === 'bool') return value;
  if (kind === 'string') return `${value} !== ''`;
  if (kind === 'bytes') return `${value}.length !== 0`;
  if (kind === 'u64') return `${value} !== U64_ZERO`;
  return `${value} !== 0`;
}

function wireType(kind: FieldPlan['kind']): number {
  return kind === 'message' || kind === 'string' || kind === 'bytes' ? 2 : 0;
}

function tagOf(field: FieldPlan, type = wireType(field.kind)): number {
  return field.number * 8 + type;
}

/** The bytes of a tag as varint. */
function tagBytes(tag: number): number[] {
  const bytes: number[] = [];
  let rest = tag;
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}

function writeTag(tag: number): string {
  return tagBytes(tag)
    .map((byte) => `target[at++] = ${byte};`)
    .join(' ');
}

/** `range_end` → `rangeEnd`; names without underscores stay as they are. */
function camelCase(name: string): string {
  return name.replace(/_([A-Za-z])/g, (_, letter: string) => letter.toUpperCase());
}

function className(type: protobuf.Type): string {
  return (type.options?.['(etsd.class)'] as string | undefined) ?? type.name;
}

function constantsName(type: protobuf.Enum): string {
  return (type.options?.['(etsd.constants)'] as string | undefined) ?? type.name;
}

function presenceOf(field: protobuf.Field, proto3: boolean): Presence {
  if (field.partOf !== null) return 'explicit';
  const write = field.options?.['(etsd.write)'];
  if (write === 'ALWAYS') return 'always';
  if (write === 'UNLESS_ZERO' || proto3) return 'implicit';
  return 'explicit';
}

function planField(field: protobuf.Field, proto3: boolean): FieldPlan {
  field.resolve();
  const resolved = field.resolvedType;
  let kind: FieldPlan['kind'];
  let type = '';
  if (resolved instanceof protobuf.Type) {
    kind = 'message';
    type = className(resolved);
  } else if (resolved instanceof protobuf.Enum) {
    kind = 'enum';
    type = constantsName(resolved);
  } else {
    const scalar = SCALARS[field.type];
    if (scalar === undefined) throw new Error(`${field.fullName}: no support for ${field.type}`);
    kind = field.options?.['jstype'] === 'JS_STRING' ? 'u64' : scalar;
  }
  return {
    name: camelCase(field.name),
    schemaName: field.name,
    number: field.id,
    kind,
    type,
    repeated: field.repeated,
    packed: field.repeated && wireType(kind) === 0 && proto3,
    presence: presenceOf(field, proto3),
    rivals: field.partOf === null ? [] : field.partOf.oneof.filter((name) => name !== field.name).map(camelCase),
    comment: field.comment,
  };
}

function typeOf(field: FieldPlan): string {
  const single = field.kind === 'message' ? field.type : TYPES[field.kind];
  if (field.repeated) return `${single}[]`;
  if (field.kind === 'message' || field.presence === 'explicit') return `${single} | null`;
  return single;
}

function defaultOf(field: FieldPlan): string {
  if (field.repeated) return '[]';
  if (field.kind === 'message' || field.presence === 'explicit') return 'null';
  return DEFAULTS[field.kind];
}

function docComment(text: string | null, indent: string): string {
  if (text === null || text === '') return '';
  const words = text.replace(/\s+/g, ' ').split(' ');
  const lines: string[] = [];
  let line = '';
  for (const word of words) {
    if (line !== '' && indent.length + line.length + word.length > 112) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  lines.push(line);
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((each) => `${indent} * ${each}\n`).join('')}${indent} */\n`;
}

// -- one field's part of each method ----------------------------------------------------------------------------------

function readCases(field: FieldPlan): string {
  const here = `message.${field.name}`;
  const clear = field.rivals.map((rival) => `          message.${rival} = null;\n`).join('');
  let body: string;
  if (field.kind === 'message') {
    const target = field.repeated ? `new ${field.type}()` : `${here} ?? new ${field.type}()`;
    const assign = field.repeated ? `${here}.push(inner);` : `${here} = inner;`;
    const placeholder = field.type === 'RaftSnapshot' && field.presence === 'always' && !field.repeated;
    body = placeholder ? `          if (reader.skipIfEqual(${field.type}.placeholder)) break;\n` : '';
    body +=
      `          const inner = ${target};\n          const outer = reader.enter();\n` +
      `          ${field.type}.read(inner, reader);\n          reader.leave(outer);\n          ${assign}\n`;
    if (placeholder) body += `          if (${field.type}.isEmpty(inner)) ${here} = null;\n`;
  } else {
    const read = `reader.${READS[field.kind]}`;
    body = field.repeated ? `          ${here}.push(${read});\n` : `          ${here} = ${read};\n`;
  }
  let out = `        case ${tagOf(field)}: {\n${clear}${body}          break;\n        }\n`;
  if (field.repeated && field.kind !== 'message' && wireType(field.kind) === 0) {
    out +=
      `        case ${tagOf(field, 2)}: {\n          const outer = reader.enter();\n` +
      `          while (reader.at < reader.end) ${here}.push(reader.${READS[field.kind]});\n` +
      '          reader.leave(outer);\n          break;\n        }\n';
  }
  return out;
}

function packedSize(field: FieldPlan, here: string): string {
  const kind = field.kind as Scalar;
  return (
    `    if (${here}.length !== 0) {\n      let inner = 0;\n` +
    `      for (let index = 0; index < ${here}.length; index++) {\n` +
    `        inner += ${sizeOf(kind, `${here}[index] as ${TYPES[kind]}`)};\n      }\n`
  );
}

function sizeLines(field: FieldPlan): string {
  const here = `message.${field.name}`;
  const tag = tagBytes(tagOf(field)).length;
  if (field.kind === 'message') {
    if (field.repeated) {
      return (
        `    for (let index = 0; index < ${here}.length; index++) {\n` +
        `      size += ${tag} + lengthDelimitedSize(${field.type}.size(${here}[index] as ${field.type}));\n    }\n`
      );
    }
    const value = field.presence === 'always' ? `${here} ?? ${field.type}.zero` : here;
    const line = `size += ${tag} + lengthDelimitedSize(${field.type}.size(${value}));\n`;
    return field.presence === 'always' ? `    ${line}` : `    if (${here} !== null) ${line}`;
  }
  if (field.packed) return `${packedSize(field, here)}      size += ${tag} + lengthDelimitedSize(inner);\n    }\n`;
  if (field.repeated) {
    const value = `${here}[index] as ${TYPES[field.kind]}`;
    const sized = field.kind === 'bytes' ? `(${value})` : value;
    return (
      `    for (let index = 0; index < ${here}.length; index++) {\n` +
      `      size += ${tag} + ${sizeOf(field.kind, sized)};\n    }\n`
    );
  }
  const line = `size += ${tag} + ${sizeOf(field.kind, here)};\n`;
  if (field.presence === 'always') return `    ${line}`;
  const condition = field.presence === 'explicit' ? `${here} !== null` : present(field.kind, here);
  return `    if (${condition}) ${line}`;
}

function writeLines(field: FieldPlan): string {
  const here = `message.${field.name}`;
  const tag = writeTag(tagOf(field));
  if (field.kind === 'message') {
    const nested = (value: string, indent: string): string =>
      `${indent}${tag}\n${indent}at = writeVarint(target, at, ${field.type}.size(${value}));\n` +
      `${indent}at = ${field.type}.write(${value}, target, at);\n`;
    if (field.repeated) {
      return (
        `    for (let index = 0; index < ${here}.length; index++) {\n` +
        `      const inner = ${here}[index] as ${field.type};\n${nested('inner', '      ')}    }\n`
      );
    }
    if (field.presence === 'always') {
      return `    {\n      const inner = ${here} ?? ${field.type}.zero;\n${nested('inner', '      ')}    }\n`;
    }
    return `    if (${here} !== null) {\n${nested(here, '      ')}    }\n`;
  }
  if (field.packed) {
    const value = `${here}[index] as ${TYPES[field.kind]}`;
    return (
      `${packedSize(field, here)}      ${writeTag(tagOf(field, 2))}\n      at = writeVarint(target, at, inner);\n` +
      `      for (let index = 0; index < ${here}.length; index++) {\n        ${writeOf(field.kind, value)}\n      }\n    }\n`
    );
  }
  if (field.repeated) {
    const value = `${here}[index] as ${TYPES[field.kind]}`;
    return (
      `    for (let index = 0; index < ${here}.length; index++) {\n` +
      `      ${tag}\n      ${writeOf(field.kind, value)}\n    }\n`
    );
  }
  const line = `${tag}\n      ${writeOf(field.kind, here)}\n`;
  if (field.presence === 'always') return `    ${tag}\n    ${writeOf(field.kind, here)}\n`;
  const condition = field.presence === 'explicit' ? `${here} !== null` : present(field.kind, here);
  return `    if (${condition}) {\n      ${line}    }\n`;
}

// -- a message --------------------------------------------------------------------------------------------------------

/** Methods that only one class has. */
function extras(name: string): string {
  if (name !== 'RaftSnapshot') return '';
  return (
    '\n  /** The bytes that messages without a snapshot carry instead. */\n' +
    '  static readonly placeholder = RaftSnapshot.encode(RaftSnapshot.zero);\n' +
    '\n  /** Whether this is the placeholder that messages without a snapshot carry. */\n' +
    '  static isEmpty(message: RaftSnapshot): boolean {\n' +
    '    return message.data.length === 0 && (message.metadata === null || message.metadata.index === 0);\n  }\n'
  );
}

function messageClass(type: protobuf.Type, proto3: boolean): string {
  const name = className(type);
  const fields = type.fieldsArray.map((field) => planField(field, proto3)).sort((a, b) => a.number - b.number);
  const empty = fields.length === 0;
  const used = empty ? '_message' : 'message';
  let out = `${docComment(type.comment, '')}export class ${name} {\n`;
  out += `  static readonly typeName = '${type.fullName.slice(1)}';\n`;
  out += `  /** The message with nothing set. Shared: not to be changed. */\n  static readonly zero = new ${name}();\n\n`;
  for (const field of fields) {
    out += `${docComment(field.comment, '  ')}  ${field.name}: ${typeOf(field)} = ${defaultOf(field)};\n`;
  }
  if (!empty) out += '\n';
  out += `  static create(partial: Partial<${name}> = {}): ${name} {\n    return Object.assign(new ${name}(), partial);\n  }\n\n`;
  out +=
    `  static decode(bytes: Buffer, start = 0, end = bytes.length): ${name} {\n    const message = new ${name}();\n` +
    `    ${name}.read(message, new Reader(bytes, start, end));\n    return message;\n  }\n\n`;
  out +=
    `  static encode(message: ${name}): Buffer {\n    const target = Buffer.allocUnsafe(${name}.size(message));\n` +
    `    ${name}.write(message, target, 0);\n    return target;\n  }\n\n`;
  out +=
    `  static read(${used}: ${name}, reader: Reader): void {\n    while (reader.at < reader.end) {\n` +
    '      const tag = reader.tag();\n';
  out += empty
    ? '      reader.skip(tag);\n'
    : `      switch (tag) {\n${fields.map(readCases).join('')}        default:\n          reader.skip(tag);\n      }\n`;
  out += '    }\n  }\n\n';
  out += empty
    ? `  static size(_message: ${name}): number {\n    return 0;\n  }\n\n`
    : `  static size(message: ${name}): number {\n    let size = 0;\n${fields.map(sizeLines).join('')}    return size;\n  }\n\n`;
  out += empty
    ? `  static write(_message: ${name}, _target: Buffer, offset: number): number {\n    return offset;\n  }\n`
    : `  static write(message: ${name}, target: Buffer, offset: number): number {\n    let at = offset;\n` +
      `${fields.map(writeLines).join('')}    return at;\n  }\n`;
  return `${out}${extras(name)}}\n`;
}

function constants(type: protobuf.Enum): string {
  const values = Object.entries(type.values)
    .map(([key, value]) => `  ${key}: ${value},\n`)
    .join('');
  return `${docComment(type.comment, '')}export const ${constantsName(type)} = {\n${values}} as const;\n`;
}

// -- a file -----------------------------------------------------------------------------------------------------------

interface Declared {
  types: protobuf.Type[];
  enums: protobuf.Enum[];
}

function collect(node: protobuf.NamespaceBase, file: string, found: Declared): void {
  for (const child of node.nestedArray) {
    if (child instanceof protobuf.Enum && child.filename === file) found.enums.push(child);
    if (child instanceof protobuf.Type && child.filename === file) found.types.push(child);
    if (child instanceof protobuf.Namespace) collect(child, file, found);
  }
}

/** Classes referred to by a file's messages, with the file that declares each. */
function imports(types: protobuf.Type[], file: string): Map<string, Set<string>> {
  const needed = new Map<string, Set<string>>();
  for (const type of types) {
    for (const field of type.fieldsArray) {
      const resolved = field.resolve().resolvedType;
      if (!(resolved instanceof protobuf.Type) || resolved.filename === file) continue;
      const from = moduleName(resolved.filename as string);
      const names = needed.get(from) ?? new Set<string>();
      names.add(className(resolved));
      needed.set(from, names);
    }
  }
  return needed;
}

/** `raft_internal.proto` → `raft-internal.ts`. */
function moduleName(file: string): string {
  return `${file
    .replace(/^.*\//, '')
    .replace(/\.proto$/, '')
    .replaceAll('_', '-')}.ts`;
}

const WIRE_NAMES = [
  'intSize',
  'lengthDelimitedSize',
  'Reader',
  'stringSize',
  'u64Size',
  'varintSize',
  'writeBytes',
  'writeInt',
  'writeString',
  'writeU64',
  'writeVarint',
];

function isProto3(file: string): boolean {
  return /syntax = "proto3"/.test(readFileSync(file, 'utf8'));
}

/** The text of one generated file. */
function renderFile(found: Declared, file: string): string {
  const proto3 = isProto3(file);
  const body = [...found.enums.map(constants), ...found.types.map((type) => messageClass(type, proto3))].join('\n');
  let head = `// Generated by scripts/gen-proto.ts from schema/${file.replace(/^.*\//, '')}; \`npm run gen\` writes it again.\n`;
  const base = ['EMPTY', 'U64_ZERO'].filter((name) => new RegExp(`\\b${name}\\b`).test(body));
  const u64 = /\bU64\b/.test(body) ? ['type U64'] : [];
  const fromBase = [...base.filter((name) => name === 'EMPTY'), ...u64, ...base.filter((name) => name !== 'EMPTY')];
  if (fromBase.length > 0) head += `import { ${fromBase.join(', ')} } from '@etsd/base';\n`;
  const wire = WIRE_NAMES.filter((name) => new RegExp(`\\b${name}\\b`).test(body));
  head += `import {\n${wire.map((name) => `  ${name},\n`).join('')}} from '../wire.ts';\n`;
  for (const [from, names] of [...imports(found.types, file)].sort()) {
    head += `import { ${[...names].sort().join(', ')} } from './${from}';\n`;
  }
  return `${head}\n${body}`;
}

/** All files to be written, by name. */
export function generate(): Map<string, string> {
  protobuf.common('descriptor', descriptor.nested.google.nested.protobuf.nested);
  const tree = new protobuf.Root();
  tree.resolvePath = (_origin, target) =>
    target.startsWith('google/') ? target : join(schemaDirectory, target.replace(/^.*\//, ''));
  const files = readdirSync(schemaDirectory)
    .filter((name) => name.endsWith('.proto') && name !== 'etsd.proto')
    .sort()
    .map((name) => join(schemaDirectory, name));
  tree.loadSync(files, { keepCase: true, alternateCommentMode: true });
  tree.resolveAll();
  const out = new Map<string, string>();
  const types: protobuf.Type[] = [];
  for (const file of files) {
    const found: Declared = { types: [], enums: [] };
    collect(tree, file, found);
    types.push(...found.types);
    out.set(moduleName(file), renderFile(found, file));
  }
  const index = [...out.keys()].map((name) => `export * from './${name}';\n`).join('');
  out.set('index.ts', `// Generated by scripts/gen-proto.ts; \`npm run gen\` writes it again.\n${index}`);
  out.set('descriptors.ts', renderDescriptors(types, isProto3));
  return out;
}

/** The shape of every message as data, for those who treat all alike: the JSON gateway, printers, tests. */
function renderDescriptors(types: protobuf.Type[], syntaxOf: (file: string) => boolean): string {
  let out = '// Generated by scripts/gen-proto.ts; `npm run gen` writes it again.\n';
  out += "import type { FieldDescriptor } from '../descriptor.ts';\n";
  out += "import type { MessageClass } from '../methods.ts';\n";
  out += "import * as classes from './index.ts';\n\n";
  out += 'export const DESCRIPTORS: Readonly<Record<string, readonly FieldDescriptor[]>> = {\n';
  for (const type of types) {
    const lines = type.fieldsArray
      .map((field) => ({ field, plan: planField(field, syntaxOf(type.filename as string)) }))
      .sort((a, b) => a.plan.number - b.plan.number)
      .map(({ field, plan }) => descriptorLine(field, plan));
    out += `  '${type.fullName.slice(1)}': [${lines.length === 0 ? '' : `\n${lines.join('')}  `}],\n`;
  }
  out += '};\n\nexport const CLASSES: Readonly<Record<string, MessageClass<object>>> = {\n';
  for (const type of types) {
    out += `  '${type.fullName.slice(1)}': classes.${className(type)} as unknown as MessageClass<object>,\n`;
  }
  return `${out}};\n`;
}

function descriptorLine(field: protobuf.Field, plan: FieldPlan): string {
  const oneof = field.partOf === null ? 'null' : `'${field.partOf.name}'`;
  const message = plan.kind === 'message' ? `'${field.resolvedType?.fullName.slice(1)}'` : 'null';
  const values = plan.kind === 'enum' ? `classes.${plan.type}` : 'null';
  const signed = field.type === 'int64' || field.type === 'int32';
  return (
    `    { name: '${plan.name}', schemaName: '${plan.schemaName}', number: ${plan.number}, kind: '${plan.kind}', ` +
    `signed: ${signed}, repeated: ${plan.repeated}, oneof: ${oneof}, message: ${message}, values: ${values} },\n`
  );
}

/** Names of the files that are not as they would be generated now. */
export function stale(): string[] {
  const wanted = generate();
  const differing: string[] = [];
  for (const [name, text] of wanted) {
    let present = '';
    try {
      present = readFileSync(join(targetDirectory, name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    if (present !== text) differing.push(name);
  }
  for (const name of readdirSync(targetDirectory)) if (!wanted.has(name)) differing.push(name);
  return differing;
}

function main(): void {
  if (process.argv.includes('--check')) {
    const differing = stale();
    if (differing.length > 0) {
      console.error(`not as generated: ${differing.join(', ')}; run npm run gen`);
      process.exitCode = 1;
    }
    return;
  }
  const wanted = generate();
  rmSync(targetDirectory, { recursive: true, force: true });
  mkdirSync(targetDirectory, { recursive: true });
  for (const [name, text] of wanted) writeFileSync(join(targetDirectory, name), text);
  console.log(`${wanted.size} files in ${targetDirectory}`);
}

if (import.meta.main) main();
