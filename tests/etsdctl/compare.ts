/** The same commands by the real etcdctl and by ours, each against a fresh server of its own. */
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { run } from '../../packages/cli/src/ctl/main.ts';
import { ETSDCTL } from '../../packages/cli/src/ctl/program.ts';
import type { Step } from '../etcdctl/steps.ts';
import { differences, type Entry, type Tool, transcript } from '../etcdctl/transcript.ts';
import { NODE, ROOT } from '../support/binaries.ts';
import type { Product } from '../support/server.ts';

const OURS: Tool = {
  words: [NODE, join(ROOT, 'packages/cli/bin/etsdctl.ts')],
  async run(args, env, input) {
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    stdin.end(input);
    const printed = Promise.all([bytesOf(stdout), bytesOf(stderr)]);
    const code = await run(ETSDCTL, args, { env, stdin: stdin as never, stdout, stderr });
    stdout.end();
    stderr.end();
    const [out, errors] = await printed;
    return { stdout: out, stderr: errors.toString(), exit: String(code) };
  },
};

async function bytesOf(stream: PassThrough): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks);
}

export interface Comparison {
  /** Commands whose output and exit code were compared. */
  compared: number;
  /** Commands left out, since etcdctl crashes on them. */
  crashes: number;
  difference: string | null;
}

export async function compare(product: Product, steps: readonly Step[]): Promise<Comparison> {
  const [theirs, ours] = await Promise.all([transcript(product, steps), transcript(product, steps, OURS)]);
  const crashed = theirs.map((entry) => entry.stderr.includes('panic: '));
  const left = theirs.filter((_entry, index) => !crashed[index]).map(comparable);
  const right = ours.filter((_entry, index) => !crashed[index]).map(comparable);
  return {
    compared: left.length,
    crashes: theirs.length - left.length,
    difference: differences(left, right),
  };
}

/**
 * What scripts go by. Help is not: ours is another text on purpose, and after a mistake it is not printed at all. Nor is
 * what etcdctl's client library logs; where that is all that is said, ours says it as an error.
 */
function comparable(entry: Entry): Entry {
  const stdout = entry.stdout
    .replace(/^NAME:\n[\s\S]*/, '')
    .replace(/^[^\n]*\.\n[\s\S]*\nUse "etsdctl options" for [^\n]*\n$/, '')
    .replace(/^(etcdctl|etsdctl) version: \S+/, 'version: #');
  const errors = entry.stderr
    .split('\n')
    .filter(
      (line) => /^(Error|Failed|watch was canceled|command \[)/.test(line) && !line.includes('conflicting environment'),
    )
    .map((line) => line.replaceAll('etsdctl', 'etcdctl'));
  return { ...entry, stdout, stderr: [...new Set(errors)].join('\n') };
}
