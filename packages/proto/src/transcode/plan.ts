/** The descriptors of messages, prepared for turning JSON into wire bytes and back without objects in between. */
import { describe, type FieldDescriptor } from '../descriptor.ts';
import { WIRE_BYTES, WIRE_VARINT, writeVarint } from '../wire.ts';

/** One field, with what both directions need of it worked out. */
export class FieldPlan {
  readonly number: number;
  readonly kind: FieldDescriptor['kind'];
  readonly repeated: boolean;
  readonly signed: boolean;
  /** The kind as protobuf names it, for error texts. */
  readonly kindName: string;
  /** The name in lowerCamelCase: accepted, and named in error texts. */
  readonly jsonName: string;
  /** `"range_end":` */
  readonly label: string;
  /** Position among the fields of its message. */
  readonly index: number;
  /** Position of its oneof among the oneofs of the message; −1 where it has none. */
  readonly oneof: number;
  /** Full name of its oneof, for error texts. */
  readonly oneofName: string;
  /** The tag as bytes; of a repeated number, which is written packed, that of the packed form. */
  readonly tag: Buffer;
  /** Names of an enumeration's values, and the other way round. */
  readonly numberOf: ReadonlyMap<string, number>;
  readonly nameOf: ReadonlyMap<number, string>;
  private readonly messageName: string | null;
  private inner: MessagePlan | null = null;

  constructor(descriptor: FieldDescriptor, typeName: string, index: number, oneof: number) {
    this.number = descriptor.number;
    this.kind = descriptor.kind;
    this.repeated = descriptor.repeated;
    this.signed = descriptor.signed;
    this.kindName = kindName(descriptor);
    this.jsonName = lowerCamelCase(descriptor.schemaName);
    this.label = `${JSON.stringify(descriptor.schemaName)}:`;
    this.index = index;
    this.oneof = oneof;
    this.oneofName = descriptor.oneof === null ? '' : `${typeName}.${descriptor.oneof}`;
    const lengthDelimited = isLengthDelimited(descriptor.kind) || descriptor.repeated;
    const tag = Buffer.alloc(5);
    const end = writeVarint(tag, 0, descriptor.number * 8 + (lengthDelimited ? WIRE_BYTES : WIRE_VARINT));
    this.tag = tag.subarray(0, end);
    const values = Object.entries(descriptor.values ?? {});
    this.numberOf = new Map(values);
    this.nameOf = new Map(values.map(([name, number]) => [number, name]).reverse() as [number, string][]);
    this.messageName = descriptor.message;
  }

  /** Whether values are written with their length before them. */
  get isLengthDelimited(): boolean {
    return isLengthDelimited(this.kind);
  }

  /** Of the sub-message. Looked up when first needed, since messages may contain themselves. */
  get message(): MessagePlan {
    this.inner ??= planOf(this.messageName as string);
    return this.inner;
  }
}

/** One message. */
export class MessagePlan {
  readonly typeName: string;
  /** By ascending number. */
  readonly fields: readonly FieldPlan[];
  readonly oneofs: number;
  private readonly names = new Map<string, FieldPlan>();
  private readonly numbers: (FieldPlan | undefined)[] = [];

  constructor(typeName: string) {
    this.typeName = typeName;
    const descriptors = describe(typeName);
    const oneofs = [...new Set(descriptors.map(({ oneof }) => oneof).filter((oneof) => oneof !== null))];
    this.oneofs = oneofs.length;
    this.fields = descriptors.map(
      (descriptor, index) =>
        new FieldPlan(descriptor, typeName, index, descriptor.oneof === null ? -1 : oneofs.indexOf(descriptor.oneof)),
    );
    for (const [index, field] of this.fields.entries()) {
      const { schemaName } = descriptors[index] as FieldDescriptor;
      if (!this.names.has(schemaName)) this.names.set(schemaName, field);
      this.numbers[field.number] = field;
    }
    for (const field of this.fields) this.names.set(field.jsonName, field);
  }

  /** By its name in the schema or in lowerCamelCase. */
  byName(name: string): FieldPlan | undefined {
    return this.names.get(name);
  }

  byNumber(number: number): FieldPlan | undefined {
    return this.numbers[number];
  }
}

const plans = new Map<string, MessagePlan>();

/** The plan of the message with this full name. Made once. */
export function planOf(typeName: string): MessagePlan {
  let plan = plans.get(typeName);
  if (plan === undefined) {
    plan = new MessagePlan(typeName);
    plans.set(typeName, plan);
  }
  return plan;
}

function isLengthDelimited(kind: FieldDescriptor['kind']): boolean {
  return kind === 'message' || kind === 'string' || kind === 'bytes';
}

function kindName({ kind, signed }: FieldDescriptor): string {
  return kind === 'int' || kind === 'uint' || kind === 'u64' ? (signed ? 'int64' : 'uint64') : kind;
}

function lowerCamelCase(name: string): string {
  return name.replace(/_+(.?)/g, (_, letter: string) => letter.toUpperCase());
}
