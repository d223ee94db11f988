import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@etsd/testkit';
import { eventually } from '../support/conditions.ts';
import { type Product, TestServer } from '../support/server.ts';
import { connect, countAll } from './client.ts';
import type { ProbeReading } from './probe.ts';

const MIB = 1024 * 1024;

/** Resident memory in MiB: all of it, what is the program's own, and what is pages of mapped files. */
export interface Resident {
  readonly total: number;
  readonly own: number;
  readonly mapped: number;
}

/** A member whose memory and event loop are looked at. */
export class MeasuredServer {
  readonly server: TestServer;
  private readonly probeFile: string;

  private constructor(server: TestServer, probeFile: string) {
    this.server = server;
    this.probeFile = probeFile;
  }

  /** In a data directory of its own, or the one that is given, which is kept. */
  static async start(product: Product, flags: string[] = [], dataDir = ''): Promise<MeasuredServer> {
    const port = await freePort();
    const probeFile = join(tmpdir(), `etsd-probe-${process.pid}-${port}.json`);
    const env = { NODE_OPTIONS: `--import ${join(import.meta.dirname, 'probe.ts')}`, ETSD_PROBE_FILE: probeFile };
    const server = new TestServer(
      {
        product,
        readyMs: 120_000,
        ...(dataDir === '' ? {} : { dataDir }),
        flags: ['--quota-backend-bytes', String(8 * 1024 * MIB), '--log-level', 'warn', ...flags],
        env: product === 'etsd' ? env : {},
      },
      port,
      await freePort(),
    );
    const measured = new MeasuredServer(server, probeFile);
    await measured.launch();
    return measured;
  }

  get address(): string {
    return this.server.address;
  }

  /** Starts the process; milliseconds until the first linearizable read was answered. */
  async launch(): Promise<number> {
    const startedMs = performance.now();
    this.server.launch();
    await eventually(
      120_000,
      'first answer',
      async () => {
        if (!this.server.isRunning)
          throw new Error(
            `the server ended (${this.server.exitCode ?? this.server.exitSignal}):\n${this.server.tail(20)}`,
          );
        const channel = connect(this.address);
        try {
          return await countAll(channel);
        } catch {
          return null;
        } finally {
          channel.close();
        }
      },
      5,
    );
    return performance.now() - startedMs;
  }

  resident(): Resident {
    const status = readFileSync(`/proc/${this.server.pid}/status`, 'latin1');
    const field = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024;
    return { total: field('VmRSS'), own: field('RssAnon'), mapped: field('RssFile') };
  }

  /** What the probe inside etsd saw since the last reading; null for etcd. */
  async probe(): Promise<ProbeReading | null> {
    if (this.server.product === 'etcd') return null;
    rmSync(this.probeFile, { force: true });
    process.kill(this.server.pid, 'SIGUSR2');
    return eventually(30_000, 'the probe', () => {
      try {
        return JSON.parse(readFileSync(this.probeFile, 'utf8')) as ProbeReading;
      } catch {
        return null;
      }
    });
  }

  async stop(): Promise<void> {
    await this.server.stop(60_000);
  }

  async dispose(): Promise<void> {
    rmSync(this.probeFile, { force: true });
    await this.server.dispose();
  }
}
