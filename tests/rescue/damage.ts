/**
 * Damages data directories of stopped members, and looks at what becomes of it.
 *
 *     node tests/rescue/damage.ts --runs 500 --seed 7
 *
 * A member is written to, with a client that remembers what was acknowledged, and ended: asked to, or by copying its
 * directory while it runs, which is what a crash leaves. Then bytes are changed or a file is cut, in the log, the store or a
 * snapshot. Allowed is: the member starts and every acknowledged write is there, and nothing else; or it refuses with the
 * file and a position, and the doctor calls the directory damaged, too. Where the doctor knows a repair, what was repaired is
 * held to the same. Where `recover` makes a member of what is left, it serves the history up to some revision and no other,
 * and says that something may be lost if that is not the last. Never allowed: a wrong answer, a lost write, a crash.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { parseArgs } from 'node:util';
import { OperatorError, Prng } from '@etsd/base';
import type { EtcdClient } from '@etsd/client';
import { startMember } from '@etsd/server';
import { run as runProgram } from '../../packages/cli/src/ctl/main.ts';
import { ETSDUTL } from '../../packages/cli/src/utl/program.ts';

/** What became of one damaged directory. */
export type Outcome = 'harmless' | 'repaired' | 'recovered' | 'shortened' | 'refused';

export interface DamageReport {
  readonly outcomes: Record<Outcome, number>;
  readonly byFile: Record<string, number>;
}

interface Write {
  readonly key: string;
  /** Null: deleted. */
  readonly value: string | null;
  readonly revision: number;
}

/** What a client knows: all that was acknowledged, by revision. */
type History = readonly Write[];

function lastOf(history: History): number {
  return (history.at(-1) as Write).revision;
}

/** By key: what a read has to give at a revision. */
function stateAt(history: History, revision: number): Map<string, string> {
  const live = new Map<string, string>();
  for (const { key, value, revision: at } of history) {
    if (at > revision) break;
    if (value === null) live.delete(key);
    else live.set(key, value);
  }
  return live;
}

interface Tried {
  readonly outcome: Outcome;
  readonly name: string;
  /** Which bytes were changed. */
  readonly what: string;
}

interface Template {
  readonly directory: string;
  readonly history: History;
  /** The oldest revision that can be read. */
  readonly oldest: number;
}

const BATCHES = 8;
const BATCH = 30;
/** Other programs share the disk. */
const PATIENT_MS = 120_000;

/** One write, and what it came to; those of a batch are under way together. */
async function write(client: EtcdClient, prng: Prng, round: number): Promise<Write> {
  const key = `key-${prng.below(60)}`;
  if (prng.chance(0.1)) {
    const { header } = await client.kv.delete(key);
    return { key, value: null, revision: header?.revision ?? 0 };
  }
  const zeros = prng.chance(0.15);
  const value = zeros ? Buffer.alloc(1500) : Buffer.alloc(prng.chance(0.05) ? 9000 : 5 + prng.below(300), round + 1);
  value.write(`${round}`, 0);
  const { header } = await client.kv.put(key, value);
  return { key, value: value.toString('latin1'), revision: header?.revision ?? 0 };
}

/** Members that have a past, of several kinds: damage is done to copies of them. */
export async function makeTemplates(root: string, prng: Prng): Promise<Template[]> {
  const templates: Template[] = [];
  for (const kind of ['stopped', 'copied', 'compacted'] as const) {
    const directory = join(root, kind);
    const member = await startMember({ dataDir: join(root, `${kind}-live`) });
    try {
      const client = member.client({ timeoutMs: PATIENT_MS });
      const history: Write[] = [];
      let oldest = 2;
      for (let batch = 0; batch < BATCHES; batch++) {
        const writes = Array.from({ length: BATCH }, (_, at) => write(client, prng, batch * BATCH + at));
        history.push(...(await Promise.all(writes)).sort((one, other) => one.revision - other.revision));
        if (kind !== 'compacted' || batch !== 5) continue;
        oldest = lastOf(history) - 20;
        await client.kv.compact(oldest, { physical: true });
      }
      if (kind === 'copied') copyOf(join(root, `${kind}-live`), directory);
      templates.push({ directory, history, oldest });
    } finally {
      await member.close();
    }
    if (kind !== 'copied') copyOf(join(root, `${kind}-live`), directory);
  }
  return templates;
}

/** Copies a directory with the holes in its files: a log has 64 MB that nobody wrote yet. */
function copyOf(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  if (spawnSync('cp', ['-r', '--sparse=always', from, to]).status !== 0) cpSync(from, to, { recursive: true });
}

function filesOf(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true }) as string[];
  return names.filter((name) => /\.(wal|mdb|snap)$/.test(name) && statSync(join(directory, name)).isFile()).sort();
}

/** The part of a file that holds something: behind it there are zeros up to its length. */
function usedBytes(path: string): number {
  const { size } = statSync(path);
  const piece = Buffer.alloc(1 << 20);
  const file = openSync(path, 'r');
  try {
    for (let end = size; end > 0; end -= piece.length) {
      const start = Math.max(0, end - piece.length);
      const length = readSync(file, piece, 0, Math.min(piece.length, end - start), start);
      for (let at = length - 1; at >= 0; at--) if (piece[at] !== 0) return start + at + 1;
    }
    return 0;
  } finally {
    closeSync(file);
  }
}

/** Changes a file of the directory; says what it did. */
export function damage(directory: string, prng: Prng): { name: string; what: string } {
  const name = prng.pick(filesOf(directory));
  const path = join(directory, name);
  const used = usedBytes(path);
  if (prng.chance(0.25)) {
    const length = prng.chance(0.2) ? prng.below(statSync(path).size) : prng.below(used + 1);
    truncateSync(path, length);
    return { name, what: `cut to ${length} bytes` };
  }
  const file = openSync(path, 'r+');
  try {
    const flips: string[] = [];
    for (let left = prng.chance(0.6) ? 1 : 1 + prng.below(8); left > 0; left--) {
      const at = prng.below(used);
      const byte = Buffer.alloc(1);
      readSync(file, byte, 0, 1, at);
      const before = byte[0] as number;
      byte[0] = prng.chance(0.7) ? before ^ (1 << prng.below(8)) : prng.below(256);
      writeSync(file, byte, 0, 1, at);
      flips.push(`byte ${at} from ${before} to ${byte[0]}`);
    }
    return { name, what: flips.join(', ') };
  } finally {
    closeSync(file);
  }
}

async function utl(...words: string[]): Promise<{ exit: number | null; text: string }> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const exit = await runProgram(ETSDUTL, words, { env: {}, stdin: stdin as never, stdout, stderr });
  return { exit, text: `${String(stdout.read() ?? '')}${String(stderr.read() ?? '')}` };
}

/** The first few keys that differ, without their values: these are large. */
function difference(found: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>): string {
  const keys = new Set([...found.keys(), ...expected.keys()]);
  return [...keys]
    .filter((key) => found.get(key) !== expected.get(key))
    .sort()
    .slice(0, 5)
    .join(' ');
}

/**
 * Starts the member and compares what it serves with what was acknowledged, now and at some earlier revisions. Gives the
 * revision at which it is, or the reason why it refuses.
 */
async function serve(directory: string, { history, oldest }: Template, how: string): Promise<number | OperatorError> {
  const failures: Error[] = [];
  let member: Awaited<ReturnType<typeof startMember>>;
  try {
    member = await startMember({ dataDir: directory, onFailure: (error) => failures.push(error) });
  } catch (error) {
    if (error instanceof OperatorError) return error;
    throw error;
  }
  try {
    const client = member.client({ timeoutMs: PATIENT_MS });
    const { header } = await client.kv.range({ key: Buffer.from('any') });
    const newest = header?.revision ?? 0;
    for (let revision = newest; revision >= oldest; revision -= 31) {
      const { kvs } = await client.kv.range({ key: Buffer.from([0]), rangeEnd: Buffer.from([0]), revision });
      const found = new Map(kvs.map(({ key, value }) => [key.toString(), value.toString('latin1')]));
      assert.equal(difference(found, stateAt(history, revision)), '', `${how}: revision ${revision} of ${newest}`);
    }
    assert.deepEqual(failures, []);
    return newest;
  } finally {
    await member.close();
  }
}

/** A file, and a position in it or what of it differs. */
export const PLACE = /member\/\S+(?: at byte \d+|, page \d+ at byte \d+|, somewhere in its records)/;

/** `recover` about acknowledged writes that are in none of the directories it was given. */
const SAID_LOSS = /which damage in the log cuts off|lost at most/;

/** One damaged copy, to its end. */
async function tryOne(root: string, template: Template, prng: Prng): Promise<Tried> {
  const directory = join(root, 'damaged');
  rmSync(directory, { recursive: true, force: true });
  copyOf(template.directory, directory);
  const done = damage(directory, prng);
  try {
    return { outcome: await outcomeOf(root, directory, template), ...done };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n').slice(0, 8).join('\n') : String(error);
    throw new Error(`${template.directory}: ${done.name} ${done.what}: ${reason}`, { cause: error });
  }
}

async function outcomeOf(root: string, directory: string, template: Template): Promise<Outcome> {
  const newest = lastOf(template.history);
  const told = await utl('doctor', directory);
  const copy = join(root, 'started');
  copyOf(directory, copy);
  const started = await serve(copy, template, 'as it is');
  if (typeof started === 'number') {
    assert.equal(started, newest, 'what starts has everything');
    return 'harmless';
  }
  assert.match(started.message, PLACE, 'a refusal says where');
  assert.equal(told.exit, 1, `the doctor sees it, too: ${started.message}\n${told.text}`);
  if ((await utl('doctor', directory, '--repair')).exit === 0) {
    assert.equal(await serve(directory, template, 'repaired'), newest, 'what was repaired has everything');
    return 'repaired';
  }
  const recovered = `${directory}.recovered`;
  rmSync(recovered, { recursive: true, force: true });
  const rescue = await utl('recover', directory, '--execute', '--force');
  if (rescue.exit !== 0) {
    assert.ok(!existsSync(recovered), 'what recover refuses it leaves alone');
    return 'refused';
  }
  const revision = await serve(recovered, template, 'recovered');
  if (revision === newest) return 'recovered';
  // Without peers the end may be gone, never something in between; and recover has to say so before.
  assert.equal(typeof revision, 'number', `what was recovered starts: ${revision}`);
  assert.match(rescue.text, SAID_LOSS);
  return 'shortened';
}

export async function runDamage(
  seed: number,
  runs: number,
  each: (line: string) => void = () => {},
): Promise<DamageReport> {
  const root = mkdtempSync(join(tmpdir(), 'etsd-damage-'));
  const outcomes: Record<Outcome, number> = { harmless: 0, repaired: 0, recovered: 0, shortened: 0, refused: 0 };
  const byFile: Record<string, number> = {};
  try {
    const templates = await makeTemplates(root, new Prng(seed));
    for (let run = 0; run < runs; run++) {
      const prng = new Prng(seed * 100_000 + run);
      let result: Tried;
      try {
        result = await tryOne(root, prng.pick(templates), prng);
      } catch (error) {
        throw new Error(`seed ${seed}, run ${run}: ${(error as Error).message}`, { cause: error });
      }
      const { outcome, name, what } = result;
      outcomes[outcome]++;
      const kind = `${/\.(\w+)$/.exec(name)?.[1]} ${outcome}`;
      byFile[kind] = (byFile[kind] ?? 0) + 1;
      each(`run ${run}: ${outcome}: ${name} ${what}`);
    }
    return { outcomes, byFile };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      runs: { type: 'string', default: '100' },
      verbose: { type: 'boolean', default: false },
    },
  });
  const report = await runDamage(Number(values.seed), Number(values.runs), values.verbose ? console.log : undefined);
  console.log(
    `seed ${values.seed}, ${values.runs} runs: ${JSON.stringify(report.outcomes)} ${JSON.stringify(report.byFile)}`,
  );
}
