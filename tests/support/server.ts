import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdtempSync, rmSync, type WriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findPeer34, findPeerProgram, freePort } from '@etsd/testkit';
import { NODE, ROOT } from './binaries.ts';
import { Client } from './client.ts';
import { Signal } from './conditions.ts';

/** Which store a test runs against: real etcd, the one before it, or ours. */
export type Product = 'etcd' | 'etcd-3.4' | 'etsd';

export interface ServerOptions {
  product: Product;
  /** Kept when given; otherwise a fresh temporary one that `dispose` removes. */
  dataDir?: string;
  /** Parent of the temporary data directory; default the system's. */
  dataRoot?: string;
  clientPort?: number;
  peerPort?: number;
  /** Further flags, the same for both products. */
  flags?: string[];
  /** The cluster it belongs to; without it the member is alone. */
  membership?: Membership;
  /** What to run with Node.js in the place of etsd's own program. */
  script?: string;
  env?: Record<string, string>;
  readyMs?: number;
}

export interface Membership {
  name: string;
  /** Where the others reach it, if not on the peer port itself. */
  advertisePeerUrl: string;
  /** `NAME=URL,…` of all members; empty where they are to be discovered. */
  initialCluster: string;
  state: 'new' | 'existing';
  token: string;
}

/** Servers running now: none of them may outlive the tests, however these end. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const READY_TEXT = 'ready to serve client requests';
const LOG_LINES_KEPT = 2000;

/** For data directories of members that are asked for anything but how they get on with a disk: in memory, where there is one. */
export const MEMORY_ROOT = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/**
 * One member of either product as a child process. The object outlives the process: `kill` or `stop`, then `start`
 * again, run a member on the same ports and the same data.
 */
export class TestServer {
  readonly product: Product;
  readonly dataDir: string;
  readonly clientPort: number;
  readonly peerPort: number;
  /** The last lines of stdout and stderr of all runs, oldest first. */
  logs: string[] = [];
  /** Lines printed by the current run. */
  lineCount = 0;
  exitCode: number | null = null;
  exitSignal: string | null = null;
  /** How often the process was started or ended; an answer belongs to the process of one such number. */
  run = 0;
  /** Called when the process has ended, whoever ended it. */
  onEnd: ((code: number | null, signal: string | null) => void) | null = null;
  membership: Membership;
  /** Flags that take effect with the next start. */
  readonly extraFlags: string[] = [];
  private readonly flags: string[];
  private readonly script: string;
  private readonly env: Record<string, string>;
  private readonly readyMs: number;
  private readonly ownsDataDir: boolean;
  private child: ChildProcess | null = null;
  /** Whether the process said that it serves. */
  isReady = false;
  private partial = '';
  private logFile: WriteStream | null = null;
  private readonly changed = new Signal();

  constructor(options: ServerOptions, clientPort: number, peerPort: number) {
    this.product = options.product;
    this.clientPort = clientPort;
    this.peerPort = peerPort;
    this.flags = options.flags ?? [];
    this.script = options.script ?? join(ROOT, 'packages/cli/bin/etsd.ts');
    this.membership = options.membership ?? {
      name: 'infra1',
      advertisePeerUrl: `http://127.0.0.1:${peerPort}`,
      initialCluster: `infra1=http://127.0.0.1:${peerPort}`,
      state: 'new',
      token: 'conformance',
    };
    this.env = options.env ?? {};
    this.readyMs = options.readyMs ?? 30_000;
    this.ownsDataDir = options.dataDir === undefined;
    this.dataDir = options.dataDir ?? mkdtempSync(join(options.dataRoot ?? tmpdir(), `${options.product}-test-`));
  }

  /** `127.0.0.1:PORT` of the client listener. */
  get address(): string {
    return `127.0.0.1:${this.clientPort}`;
  }

  /** A client of its own connection. */
  connect(): Client {
    return new Client(this.address);
  }

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.child !== null;
  }

  /** Program and arguments of one member, with the same flags for both products. */
  commandLine(): string[] {
    const clientUrl = `http://127.0.0.1:${this.clientPort}`;
    const peerUrl = `http://127.0.0.1:${this.peerPort}`;
    const { name, advertisePeerUrl, initialCluster, state, token } = this.membership;
    return [
      ...this.program(),
      ...['--name', name, '--data-dir', join(this.dataDir, 'member.etcd')],
      ...['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', advertisePeerUrl],
      ...(initialCluster === '' ? [] : ['--initial-cluster', initialCluster]),
      ...['--initial-cluster-token', token],
      ...(state === 'existing' ? ['--initial-cluster-state', 'existing'] : []),
      ...this.flags,
      ...this.extraFlags,
    ];
  }

  private program(): string[] {
    if (this.product === 'etsd') return [NODE, this.script];
    return [(this.product === 'etcd' ? findPeerProgram('etcd') : findPeer34()) ?? this.product];
  }

  /** Starts the process without waiting for anything. */
  launch(): void {
    if (this.child !== null) throw new Error('the server is running already');
    const [program, ...args] = this.commandLine();
    const child = spawn(program as string, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ETCDCTL_API: '3', ...this.env },
    });
    this.child = child;
    this.run++;
    running.add(child);
    this.isReady = false;
    this.lineCount = 0;
    this.exitCode = null;
    this.exitSignal = null;
    if (process.env['ETSD_TEST_LOGS'] !== undefined) {
      this.logFile = createWriteStream(join(process.env['ETSD_TEST_LOGS'], `${this.product}-${child.pid}.log`));
    }
    child.stdout?.on('data', (chunk: Buffer) => this.gather(chunk));
    child.stderr?.on('data', (chunk: Buffer) => this.gather(chunk));
    child.on('close', (code, signal) => {
      running.delete(child);
      if (this.child !== child) return;
      this.child = null;
      this.run++;
      this.exitCode = code;
      this.exitSignal = signal;
      this.logFile?.end();
      this.logFile = null;
      this.onEnd?.(code, signal);
      this.changed.signal();
    });
  }

  /** Starts the process and waits until it serves clients. */
  async start(): Promise<this> {
    this.launch();
    await this.ready();
    return this;
  }

  /** Resolves when the running process serves clients; rejects, with its last words, when it ends before that. */
  async ready(): Promise<void> {
    await this.changed.wait(this.readyMs, `${this.product} ready`, () => this.isReady || this.child === null);
    if (!this.isReady) throw new Error(`${this.product} ended before it was ready:\n${this.tail(20)}`);
  }

  /** Resolves when the process has printed so many lines, or is gone. */
  async printed(lines: number): Promise<void> {
    await this.changed.wait(this.readyMs, 'log lines', () => this.lineCount >= lines || this.child === null);
  }

  /** The process is gone at once, as in a crash of the program; what the kernel holds for the disk survives. */
  async kill(): Promise<void> {
    if (this.child === null) return;
    this.child.kill('SIGKILL');
    await this.ended(10_000);
  }

  /** Holds the process where it is, as a machine that hangs would; `resume` lets it go on. */
  pause(): void {
    this.child?.kill('SIGSTOP');
  }

  resume(): void {
    this.child?.kill('SIGCONT');
  }

  /** Asks the process to end and waits; a process that does not listen is killed, and that is an error. */
  async stop(ms = 10_000): Promise<void> {
    if (this.child === null) return;
    this.child.kill('SIGTERM');
    try {
      await this.ended(ms);
    } catch (error) {
      this.child?.kill('SIGKILL');
      await this.ended(10_000);
      throw error;
    }
  }

  async ended(ms: number): Promise<void> {
    await this.changed.wait(ms, `${this.product} ended`, () => this.child === null);
  }

  /** Ends the process however it can and removes the data directory if it was a temporary one. */
  async dispose(): Promise<void> {
    await this.kill();
    if (this.ownsDataDir) rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** All it printed that is kept: what is asked for is not always among the last lines of a process that ends. */
  get log(): string {
    return this.logs.join('\n');
  }

  /** The last lines it printed, for a failure report. */
  tail(lines = 10): string {
    return this.logs.slice(-lines).join('\n');
  }

  private gather(chunk: Buffer): void {
    this.logFile?.write(chunk);
    const text = this.partial + chunk.toString('utf8');
    const lines = text.split('\n');
    this.partial = lines.pop() ?? '';
    for (const line of lines) {
      this.logs.push(line);
      this.lineCount++;
      if (line.includes(READY_TEXT)) this.isReady = true;
    }
    if (this.logs.length > LOG_LINES_KEPT) this.logs = this.logs.slice(-LOG_LINES_KEPT / 2);
    this.changed.signal();
  }
}

/** A member that serves clients. Whoever starts it disposes of it. */
export async function startServer(options: ServerOptions): Promise<TestServer> {
  const server = await prepareServer(options);
  try {
    return await server.start();
  } catch (error) {
    await server.dispose();
    throw error;
  }
}

/** A member that was not started yet. */
export async function prepareServer(options: ServerOptions): Promise<TestServer> {
  return new TestServer(options, options.clientPort ?? (await freePort()), options.peerPort ?? (await freePort()));
}
