/**
 * Profiles in the form that `go tool pprof` and its relatives read: the message `perftools.profiles.Profile`, field by field.
 * A sample is a stack, the innermost place first, with its values; names and files stand in one table of strings.
 */
import { lengthDelimitedSize, varintSize, WIRE_BYTES, WIRE_VARINT, writeVarint } from '@etsd/proto';
import type { CallFrame, CpuProfile, HeapNode, HeapProfile } from './profiler.ts';

/** Fields of the messages. */
const PROFILE = { sampleType: 1, sample: 2, location: 4, function: 5, strings: 6, time: 9, duration: 10 } as const;
const PROFILE_PERIOD = { type: 11, period: 12 } as const;

/** Not work, but the lack of it. */
const IDLE = '(idle)';

interface Unit {
  readonly type: string;
  readonly unit: string;
}

const CPU: Unit = { type: 'cpu', unit: 'nanoseconds' };
const COUNT: Unit = { type: 'samples', unit: 'count' };
const SPACE: Unit = { type: 'space', unit: 'bytes' };
const LIVE: Unit = { type: 'inuse_space', unit: 'bytes' };

/** Bytes of one message, field by field. */
class Fields {
  private readonly parts: Buffer[] = [];
  private length = 0;

  number(field: number, value: number): this {
    if (value === 0) return this;
    const bytes = Buffer.allocUnsafe(varintSize(field * 8) + varintSize(value));
    writeVarint(bytes, writeVarint(bytes, 0, field * 8 + WIRE_VARINT), value);
    return this.add(bytes);
  }

  bytes(field: number, content: Buffer): this {
    const head = Buffer.allocUnsafe(varintSize(field * 8) + lengthDelimitedSize(content.length) - content.length);
    writeVarint(head, writeVarint(head, 0, field * 8 + WIRE_BYTES), content.length);
    return this.add(head).add(content);
  }

  numbers(field: number, values: readonly number[]): this {
    const content = Buffer.allocUnsafe(values.reduce((size, value) => size + varintSize(value), 0));
    let at = 0;
    for (const value of values) at = writeVarint(content, at, value);
    return this.bytes(field, content);
  }

  private add(bytes: Buffer): this {
    this.parts.push(bytes);
    this.length += bytes.length;
    return this;
  }

  whole(): Buffer {
    return Buffer.concat(this.parts, this.length);
  }
}

/** Gathers stacks, and numbers the places and names in them. */
class Stacks {
  private readonly out = new Fields();
  private readonly strings = new Map<string, number>([['', 0]]);
  private readonly functions = new Map<string, number>();
  private readonly locations = new Map<string, number>();

  units(units: readonly Unit[]): void {
    for (const unit of units) this.out.bytes(PROFILE.sampleType, this.unit(unit));
  }

  /** `place` of the innermost frame first. */
  sample(places: readonly number[], values: readonly number[]): void {
    this.out.bytes(PROFILE.sample, new Fields().numbers(1, places).numbers(2, values).whole());
  }

  /** The number of a frame's place. */
  place({ functionName, lineNumber, url }: CallFrame): number {
    const name = functionName === '' ? '(anonymous)' : functionName;
    const line = lineNumber + 1;
    const key = `${name}\n${url}\n${line}`;
    const known = this.locations.get(key);
    if (known !== undefined) return known;
    const id = this.locations.size + 1;
    this.locations.set(key, id);
    const inFunction = new Fields()
      .number(1, this.functionOf(key, name, url, line))
      .number(2, line)
      .whole();
    this.out.bytes(PROFILE.location, new Fields().number(1, id).bytes(4, inFunction).whole());
    return id;
  }

  private functionOf(key: string, name: string, file: string, line: number): number {
    const id = this.functions.size + 1;
    this.functions.set(key, id);
    const text = this.text(name);
    const fields = new Fields()
      .number(1, id)
      .number(2, text)
      .number(3, text)
      .number(4, this.text(file))
      .number(5, line);
    this.out.bytes(PROFILE.function, fields.whole());
    return id;
  }

  private unit({ type, unit }: Unit): Buffer {
    return new Fields().number(1, this.text(type)).number(2, this.text(unit)).whole();
  }

  private text(text: string): number {
    let place = this.strings.get(text);
    if (place === undefined) {
      place = this.strings.size;
      this.strings.set(text, place);
    }
    return place;
  }

  end(wallMs: number, durationMs: number, period: Unit, periodSize: number): Buffer {
    const periodType = this.unit(period);
    for (const text of this.strings.keys()) this.out.bytes(PROFILE.strings, Buffer.from(text));
    return this.out
      .number(PROFILE.time, Math.round(wallMs * 1e6))
      .number(PROFILE.duration, Math.round(durationMs * 1e6))
      .bytes(PROFILE_PERIOD.type, periodType)
      .number(PROFILE_PERIOD.period, periodSize)
      .whole();
  }
}

/** `wallMs`: when it was begun. Time in which there was nothing to do is left out. */
export function cpuToPprof(profile: CpuProfile, wallMs: number, intervalUs: number): Buffer {
  const stacks = new Stacks();
  stacks.units([COUNT, CPU]);
  const totals = new Map<number, [count: number, nanoseconds: number]>();
  for (const [index, id] of profile.samples.entries()) {
    const total = totals.get(id) ?? [0, 0];
    total[0]++;
    // The time up to the next look is that of what was found running; the clock of the engine may jump back a little.
    total[1] += Math.max(0, profile.timeDeltas[index + 1] ?? intervalUs) * 1000;
    totals.set(id, total);
  }
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  for (const [id, values] of totals) {
    const places: number[] = [];
    let isIdle = false;
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const frame = (nodes.get(at) as { callFrame: CallFrame }).callFrame;
      if (frame.functionName === IDLE) isIdle = true;
      // The root is no place of its own.
      if (parents.has(at)) places.push(stacks.place(frame));
    }
    if (!isIdle && places.length > 0) stacks.sample(places, values);
  }
  return stacks.end(wallMs, (profile.endTime - profile.startTime) / 1000, CPU, intervalUs * 1000);
}

/** Who allocated what is there now. */
export function heapToPprof(profile: HeapProfile, wallMs: number, intervalBytes: number): Buffer {
  const stacks = new Stacks();
  stacks.units([LIVE]);
  const walk = (node: HeapNode, above: readonly number[]): void => {
    for (const child of node.children) {
      const places = [stacks.place(child.callFrame), ...above];
      if (child.selfSize > 0) stacks.sample(places, [child.selfSize]);
      walk(child, places);
    }
  };
  walk(profile.head, []);
  return stacks.end(wallMs, 0, SPACE, intervalBytes);
}
