/** Starts a server with a fresh directory, knows when it is ready, and reads what it costs from /proc (Linux). */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { RangeRequest } from '@etsd/proto';
import { callOnce } from './call-once.ts';
import type { Dial } from './channel.ts';

/** Clock ticks a second in /proc/<pid>/stat: 100 on every Linux that runs Node. */
const TICKS_PER_SECOND = 100;
const READY_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;

export type ServerName = 'etsd' | 'etcd';

/** The real etcd: `PEER_ETCD_BIN` (the program or its directory), then `PATH`; null if there is none. */
export function findEtcd(): string | null {
  const given = process.env['PEER_ETCD_BIN'];
  const places = given === undefined ? [] : [given, join(given, 'etcd')];
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) places.push(join(directory, 'etcd'));
  for (const place of places) {
    try {
      accessSync(place, constants.X_OK);
      if (statSync(place).isFile()) return place;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    }
  }
  return null;
}

function commandOf(name: ServerName): string[] {
  if (name === 'etsd') {
    return [process.execPath, join(import.meta.dirname, '..', '..', 'cli', 'bin', 'etsd.ts')];
  }
  const etcd = findEtcd();
  if (etcd === null) throw new Error('no etcd found: set PEER_ETCD_BIN to the program or put it in PATH');
  return [etcd];
}

/** A port nobody listens on now. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

export class RunningServer {
  readonly name: ServerName;
  readonly endpoint: string;
  private readonly child: ChildProcess;
  private readonly directory: string;
  /** The end of what it wrote, for the case that it dies. */
  private output = '';
  private exited = false;

  constructor(name: ServerName, endpoint: string, directory: string, command: readonly string[]) {
    this.name = name;
    this.endpoint = endpoint;
    this.directory = directory;
    this.child = spawn(command[0] as string, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (chunk: Buffer): void => {
      this.output = (this.output + chunk.toString()).slice(-4000);
    };
    this.child.stdout?.on('data', keep);
    this.child.stderr?.on('data', keep);
    this.child.on('exit', () => {
      this.exited = true;
    });
    this.child.on('error', (error) => {
      this.exited = true;
      this.output += error.message;
    });
  }

  /** Connects again and again until a linearizable read is answered. */
  async ready(dial: Dial): Promise<void> {
    const giveUpMs = performance.now() + READY_TIMEOUT_MS;
    const request = RangeRequest.encode(RangeRequest.create({ key: Buffer.from('ready') }));
    for (;;) {
      if (this.exited) throw new Error(`${this.name} did not start:\n${this.output}`);
      try {
        const channel = await dial(this.endpoint);
        try {
          await callOnce(channel, '/etcdserverpb.KV/Range', request);
          return;
        } finally {
          channel.close();
        }
      } catch (error) {
        if (performance.now() > giveUpMs) {
          throw new Error(`${this.name} is not ready: ${(error as Error).message}\n${this.output}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** Processor time spent so far by all threads, in seconds. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'latin1');
    // The name stands in parentheses and may hold anything; the fields behind it are numbered from 3 (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  residentBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'latin1');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  }

  /** Asks it to end, insists after a while, and removes its directory. */
  async stop(): Promise<void> {
    if (!this.exited) {
      await new Promise<void>((resolve) => {
        const force = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
        this.child.once('exit', () => {
          clearTimeout(force);
          resolve();
        });
        this.child.kill('SIGTERM');
      });
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Starts one member with a directory of its own under `workDirectory`, and waits until it answers. */
export async function startServer(
  name: ServerName,
  workDirectory: string,
  flags: readonly string[],
  dial: Dial,
): Promise<RunningServer> {
  const directory = mkdtempSync(join(workDirectory, `bench-${name}-`));
  const client = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const server = new RunningServer(name, client.slice('http://'.length), directory, [
    ...commandOf(name),
    '--name=bench',
    `--data-dir=${join(directory, 'data')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=bench=${peer}`,
    '--log-level=warn',
    ...flags,
  ]);
  try {
    await server.ready(dial);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}
