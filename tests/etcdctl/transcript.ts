import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findPeerProgram } from '@etsd/testkit';
import { Client, type Message, methodOf } from '../support/client.ts';
import { type Product, startServer, type TestServer } from '../support/server.ts';
import type { Step } from './steps.ts';

/** What one command printed and how it ended, without what belongs to one server or one moment. */
export interface Entry {
  title: string;
  stdout: string;
  stderr: string;
  /** Exit code, or the name of the signal. */
  exit: string;
}

const STEP_MS = 60_000;

/** The tool whose output is recorded. */
export interface Tool {
  /** The beginning of its command line. */
  readonly words: readonly string[];
  /**
   * The same without a process, for commands that end by themselves and start no other: most of the time of a small
   * program goes into its start.
   */
  readonly run?: (args: readonly string[], env: Env, stdin: string) => Promise<Output>;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Runs the commands against one fresh server of the product; the tool is the real etcdctl unless another is given. */
export async function transcript(
  product: Product,
  steps: readonly Step[],
  tool?: Tool,
  dataRoot = tmpdir(),
): Promise<Entry[]> {
  const server = await startServer({ product, dataRoot });
  try {
    const session = new Session(server, tool ?? { words: [findPeerProgram('etcdctl') ?? 'etcdctl'] });
    try {
      return await session.run(steps);
    } finally {
      session.dispose();
    }
  } finally {
    await server.dispose();
  }
}

export interface Output {
  stdout: Buffer;
  stderr: string;
  exit: string;
}

class Session {
  private readonly server: TestServer;
  private readonly leases: string[] = [];
  private readonly members: string[] = [];
  private memberId = 0n;
  private clusterId = 0n;
  /** What commands leave behind goes here: another session runs the same ones at the same time. */
  private readonly directory = mkdtempSync(join(tmpdir(), 'etsd-transcript-'));

  private readonly tool: Tool;

  constructor(server: TestServer, tool: Tool) {
    this.server = server;
    this.tool = tool;
  }

  async run(steps: readonly Step[]): Promise<Entry[]> {
    const client = new Client(this.server.address);
    const header = (await client.expect('Maintenance/Status', {}))['header'] as Message;
    client.close();
    this.memberId = BigInt(header['member_id'] as string);
    this.clusterId = BigInt(header['cluster_id'] as string);
    const entries: Entry[] = [];
    for (const step of steps) {
      const output = await this.execute(step);
      if (step.args.join(' ').includes('lease grant')) this.rememberLease(output.stdout);
      if (step.args.join(' ').includes('member add')) this.rememberMember(output.stdout);
      entries.push({
        title: step.title ?? step.args.join(' '),
        stdout: this.normalise(this.readable(step, output.stdout), step),
        stderr: this.normalise(withoutNoise(output.stderr), step),
        exit: output.exit,
      });
    }
    return entries;
  }

  dispose(): void {
    rmSync(this.directory, { recursive: true });
  }

  private execute(step: Step): Promise<Output> {
    const args = step.args.map((arg) =>
      arg
        .replace(/\{L(\d+)\}/g, (_match, index: string) => this.leases[Number(index) - 1] ?? 'no-such-lease')
        .replace(/\{M(\d+)\}/g, (_match, index: string) => this.members[Number(index) - 1] ?? 'no-such-member')
        .replace('{MEMBER}', this.memberId.toString(16))
        .replace('{DIRECTORY}', this.directory),
    );
    const env = { ...process.env, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: this.server.address, ...step.env };
    const { run, words } = this.tool;
    const needsProcess = step.stopAfterLines !== undefined || step.meanwhile !== undefined || args.includes('--');
    if (run !== undefined && !needsProcess && !/\b(lock|elect|watch)\b/.test(args.join(' '))) {
      return run(args, env, step.stdin ?? '');
    }
    return new Promise((resolve, reject) => {
      const child = spawn(words[0] as string, [...words.slice(1), ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
      const stdout: Buffer[] = [];
      const stderr: Buffer[] = [];
      let lines = 0;
      const timer = setTimeout(() => child.kill('SIGKILL'), step.args[0] === 'check' ? 4 * STEP_MS : STEP_MS);
      child.stdout.on('data', (chunk: Buffer) => {
        stdout.push(chunk);
        for (const byte of chunk) if (byte === 10) lines++;
        if (step.stopAfterLines !== undefined && lines >= step.stopAfterLines) child.kill('SIGINT');
      });
      child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
      child.on('error', reject);
      child.on('close', (code, signal) => {
        clearTimeout(timer);
        resolve({
          stdout: firstLines(Buffer.concat(stdout), step.stopAfterLines),
          stderr: Buffer.concat(stderr).toString('utf8'),
          exit: signal ?? String(code),
        });
      });
      child.stdin.on('error', () => {});
      child.stdin.end(step.stdin ?? '');
      if (step.meanwhile !== undefined) {
        void (async () => {
          for (const command of step.meanwhile ?? []) await this.execute({ args: command });
        })();
      }
    });
  }

  /** The id is in the simple, json and fields formats as hex or decimal; the others do not show it. */
  private rememberLease(stdout: Buffer): void {
    const text = stdout.toString('latin1');
    const hex = /^lease ([0-9a-f]{16}) granted/.exec(text)?.[1];
    const decimal = /"ID" ?: ?(\d+)/.exec(text)?.[1];
    if (hex !== undefined) this.leases.push(hex);
    else if (decimal !== undefined) this.leases.push(BigInt(decimal).toString(16).padStart(16, '0'));
  }

  private rememberMember(stdout: Buffer): void {
    const text = stdout.toString('latin1');
    const hex = /^Member +([0-9a-f]+) added/.exec(text)?.[1];
    const decimal = /"member":\{"ID":(\d+)/.exec(text)?.[1];
    if (hex !== undefined) this.members.push(hex);
    else if (decimal !== undefined) this.members.push(BigInt(decimal).toString(16));
  }

  private readable(step: Step, stdout: Buffer): string {
    if (step.message === undefined || step.message === '-' || stdout.length === 0) return stdout.toString('utf8');
    // For leases etcdctl prints only the header, without what would make it a message of its own.
    const isHeader = step.message.startsWith('Lease/') && stdout[0] === 0x08;
    const bytes = isHeader ? Buffer.concat([Buffer.from([0x0a, stdout.length]), stdout]) : stdout;
    return JSON.stringify(methodOf(step.message).responseDeserialize(bytes), null, 1);
  }

  private normalise(text: string, step: Step): string {
    let out = text;
    const ids: [bigint, string][] = [
      [this.memberId, 'MEMBER'],
      [this.clusterId, 'CLUSTER'],
      ...this.leases.map((hex, index): [bigint, string] => [BigInt(`0x${hex}`), `L${index + 1}`]),
      ...this.members.map((hex, index): [bigint, string] => [BigInt(`0x${hex}`), `M${index + 1}`]),
    ];
    for (const [id, name] of ids) {
      out = out.replaceAll(String(id), `<${name}>`).replaceAll(id.toString(16).padStart(16, '0'), `<${name}>`);
      out = out.replaceAll(id.toString(16), `<${name}>`);
    }
    out = out
      .replaceAll(this.directory, 'DIRECTORY')
      .replaceAll(String(this.server.clientPort), 'PORT')
      .replaceAll(String(this.server.peerPort), 'PEER-PORT');
    out = out.replace(/\b\d+(\.\d+)?(µs|ms)\b|\b\d+\.\d+s\b/g, '<DURATION>').replace(/\b[0-9.]+ [kMG]?B\b/g, '<SIZE>');
    for (const pattern of [...(step.mask ?? []), ...MOMENTARY]) out = out.replace(pattern, maskNumbers);
    // Columns are as wide as the ids and times in them.
    out = out.replace(/[─-]{3,}/g, '──').replace(/ {2,}/g, ' ');
    return out;
  }
}

function maskNumbers(match: string): string {
  // In the order of the ids, which are random.
  if (match.startsWith('ETCD_INITIAL_CLUSTER="')) return match.split(/[",]/).sort().join();
  if (match.startsWith('"members":['))
    return match
      .slice(11, -1)
      .split(/(?<=\}),/)
      .sort()
      .join();
  // A checksum in hexadecimal, in a line or in a table.
  if (/^(│ +)?[0-9a-f]{5,8}( │|,)$/.test(match)) return '#';
  // A key in base64 that holds an id.
  if (match.startsWith('"key":"')) return '"key":"#"';
  // Ids in decimal have up to 20 digits, how many is chance.
  return match.replace(/\d{17,20}|[0-9a-f]{13,16}|[\d.]+/g, '#');
}

/** Figures that depend on the moment, the machine, the program's version, or on how many internal entries a log holds. */
const MOMENTARY = [
  /\b3\.\d+\.\d+\b/g,
  /"(raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse)": ?"?\d+/g,
  /"(RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse)" : \d+/g,
  // The last columns of `endpoint status`: term, index, applied index.
  /(true|false), \d+, \d+, \d+, /g,
  /(true|false) *│ *\d+ *│ *\d+ *│ *\d+ *│/g,
];

/** The logs of etcdctl's own client library, of which only the message and the error are of interest. */
function withoutNoise(stderr: string): string {
  const lines: string[] = [];
  for (const line of stderr.split('\n')) {
    if (line.startsWith('goroutine ')) break;
    if (!line.startsWith('{')) {
      lines.push(line);
      continue;
    }
    const fields = JSON.parse(line) as Record<string, unknown>;
    lines.push(`${fields['level']} ${fields['msg']} ${fields['error'] ?? ''}`);
  }
  return lines.join('\n');
}

/** The first entries in which two transcripts differ, as text; null when they are the same. */
export function differences(
  left: Entry[],
  right: Entry[],
  parts: readonly ('exit' | 'stdout' | 'stderr')[] = ['exit', 'stdout', 'stderr'],
): string | null {
  const out: string[] = [];
  for (const [index, one] of left.entries()) {
    const other = right[index];
    for (const part of parts) {
      if (one[part] === other?.[part]) continue;
      out.push(
        `$ etcdctl ${one.title}\n  ${part}, left:\n${indent(one[part])}\n  ${part}, right:\n${indent(other?.[part] ?? '')}`,
      );
    }
  }
  return out.length === 0 ? null : out.join('\n');
}

function indent(text: string): string {
  return text.replace(/^/gm, '    | ');
}

/** What a command that is stopped prints behind the line that stops it is a matter of luck. */
function firstLines(output: Buffer, count: number | undefined): Buffer {
  if (count === undefined) return output;
  let end = 0;
  for (let line = 0; line < count && end >= 0; line++) end = output.indexOf(10, end) + 1 || -1;
  return end < 0 ? output : output.subarray(0, end);
}
