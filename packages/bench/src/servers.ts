/** Starts servers with fresh directories, knows when they are ready, and reads what they cost from /proc (Linux). */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { RangeRequest, StatusRequest, StatusResponse } from '@etsd/proto';
import { findPeerProgram, freePort } from '@etsd/testkit';
import { callOnce } from './call-once.ts';
import type { Dial } from './channel.ts';

const READY_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 10_000;
const RETRY_MS = 10;

export type ServerName = 'etsd' | 'etcd';

/** The checkout this file is part of. */
const OWN_TREE = join(import.meta.dirname, '..', '..', '..');

function commandOf(name: ServerName, tree: string, nodeFlags: readonly string[], core: number): string[] {
  if (core >= 0) return ['taskset', '-c', String(core), ...commandOf(name, tree, nodeFlags, -1)];
  if (name === 'etsd') return [process.execPath, ...nodeFlags, join(tree, 'packages', 'cli', 'bin', 'etsd.ts')];
  const etcd = findPeerProgram('etcd');
  if (etcd === null) throw new Error('no etcd found: set PEER_ETCD_BIN to its folder or put it in PATH');
  return [etcd];
}

/** One process. */
class MemberProcess {
  private readonly command: readonly string[];
  private child: ChildProcess;
  /** The end of what it wrote, for the case that it dies. */
  output = '';
  exited = false;

  constructor(command: readonly string[]) {
    this.command = command;
    this.child = this.start();
  }

  private start(): ChildProcess {
    this.exited = false;
    const child = spawn(this.command[0] as string, this.command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (chunk: Buffer): void => {
      this.output = (this.output + chunk.toString()).slice(-4000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('exit', () => {
      this.exited = true;
    });
    child.on('error', (error) => {
      this.exited = true;
      this.output += error.message;
    });
    return child;
  }

  startAgain(): void {
    this.child = this.start();
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Processor time spent so far by the threads that live, in seconds. `stat` would tell it in hundredths only. */
  cpuSeconds(): number {
    const tasks = `/proc/${this.child.pid}/task`;
    let nanoseconds = 0;
    for (const task of readdirSync(tasks)) {
      try {
        nanoseconds += Number(readFileSync(`${tasks}/${task}/schedstat`, 'latin1').split(' ')[0]);
      } catch (error) {
        // The thread ended meanwhile.
        if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      }
    }
    return nanoseconds / 1e9;
  }

  residentBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'latin1');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  }

  /** Asks it to end, and insists after a while. */
  stop(): Promise<void> {
    if (this.exited) return Promise.resolve();
    return new Promise<void>((resolve) => {
      const force = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      this.child.once('exit', () => {
        clearTimeout(force);
        resolve();
      });
      this.child.kill('SIGTERM');
    });
  }
}

/** A cluster of one or more members on this machine. */
export class RunningServer {
  readonly name: ServerName;
  readonly endpoints: string[];
  private readonly members: MemberProcess[];
  private readonly directory: string;

  constructor(name: ServerName, endpoints: string[], directory: string, commands: readonly (readonly string[])[]) {
    this.name = name;
    this.endpoints = endpoints;
    this.directory = directory;
    this.members = commands.map((command) => new MemberProcess(command));
  }

  /** Connects to each member again and again until it answers a linearizable read. */
  async ready(dial: Dial): Promise<void> {
    const giveUpMs = performance.now() + READY_TIMEOUT_MS;
    for (const endpoint of this.endpoints) await this.endpointReady(endpoint, dial, giveUpMs);
  }

  private async endpointReady(endpoint: string, dial: Dial, giveUpMs: number): Promise<void> {
    const request = RangeRequest.encode(RangeRequest.create({ key: Buffer.from('ready') }));
    for (;;) {
      const dead = this.members.find((member) => member.exited);
      if (dead !== undefined) throw new Error(`${this.name} did not start:\n${dead.output}`);
      try {
        const channel = await dial(endpoint);
        try {
          await callOnce(channel, '/etcdserverpb.KV/Range', request);
          return;
        } finally {
          channel.close();
        }
      } catch (error) {
        if (performance.now() > giveUpMs) {
          const output = this.members.map((member) => member.output).join('\n');
          throw new Error(`${this.name} is not ready: ${(error as Error).message}\n${output}`);
        }
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** The endpoint of the member that leads now. */
  async leaderEndpoint(dial: Dial): Promise<string> {
    for (const endpoint of this.endpoints) {
      const channel = await dial(endpoint);
      try {
        const request = StatusRequest.encode(new StatusRequest());
        const status = StatusResponse.decode(await callOnce(channel, '/etcdserverpb.Maintenance/Status', request));
        if (status.header?.memberId === status.leader) return endpoint;
      } finally {
        channel.close();
      }
    }
    throw new Error(`${this.name}: nobody leads`);
  }

  /** Processor time of all members, in seconds. */
  cpuSeconds(): number {
    return this.members.reduce((sum, member) => sum + member.cpuSeconds(), 0);
  }

  signal(signal: NodeJS.Signals): void {
    for (const member of this.members) member.signal(signal);
  }

  residentBytes(): number {
    return this.members.reduce((sum, member) => sum + member.residentBytes(), 0);
  }

  /** Stops and starts all members over what they have on disk; the milliseconds from start to the first answer. */
  async restart(dial: Dial): Promise<number> {
    await Promise.all(this.members.map((member) => member.stop()));
    const startedMs = performance.now();
    for (const member of this.members) member.startAgain();
    await this.ready(dial);
    return performance.now() - startedMs;
  }

  /** Ends it and removes its directory. */
  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface ServerSettings {
  /** Where the directory of the cluster is made. */
  workDirectory: string;
  members: number;
  /** Clients connect over TLS, to a certificate made for the run. */
  tls: boolean;
  /** For all members, behind the flags both servers get anyway. */
  flags: readonly string[];
  /** Another checkout of etsd, whose member is started. */
  tree?: string | undefined;
  /** For the Node.js that runs etsd. */
  nodeFlags?: readonly string[];
  /** The only processor for all threads of a member. */
  core?: number;
}

/** A certificate signed by itself, and the flags that make a server use it. */
function makeCertificate(directory: string): string[] {
  const cert = join(directory, 'server.crt');
  const key = join(directory, 'server.key');
  const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost';
  const names = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
  execFileSync('openssl', [...request.split(' '), ...names, '-keyout', key, '-out', cert], { stdio: 'pipe' });
  return [`--cert-file=${cert}`, `--key-file=${key}`];
}

/** Starts a cluster on a fresh directory and waits until every member answers. */
export async function startServer(name: ServerName, settings: ServerSettings, dial: Dial): Promise<RunningServer> {
  const directory = mkdtempSync(join(settings.workDirectory, `bench-${name}-`));
  const scheme = settings.tls ? 'https' : 'http';
  const members: { name: string; client: string; peer: string }[] = [];
  for (let index = 0; index < settings.members; index++) {
    const client = `${scheme}://127.0.0.1:${await freePort()}`;
    members.push({ name: `bench${index}`, client, peer: `http://127.0.0.1:${await freePort()}` });
  }
  const cluster = members.map((member) => `${member.name}=${member.peer}`).join(',');
  const tlsFlags = settings.tls ? makeCertificate(directory) : [];
  const commands = members.map((member) => [
    ...commandOf(name, settings.tree ?? OWN_TREE, settings.nodeFlags ?? [], settings.core ?? -1),
    `--name=${member.name}`,
    `--data-dir=${join(directory, member.name)}`,
    `--listen-client-urls=${member.client}`,
    `--advertise-client-urls=${member.client}`,
    `--listen-peer-urls=${member.peer}`,
    `--initial-advertise-peer-urls=${member.peer}`,
    `--initial-cluster=${cluster}`,
    '--log-level=warn',
    ...tlsFlags,
    ...settings.flags,
  ]);
  const endpoints = members.map((member) => member.client);
  const server = new RunningServer(name, endpoints, directory, commands);
  try {
    await server.ready(dial);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}
