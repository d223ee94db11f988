/** A member in this process with a small log, so that it has many segments, and an archive. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LmdbBackend } from '@etsd/backend/lmdb';
import type { LogFields, Logger, LogLevel } from '@etsd/base';
import { EtcdClient } from '@etsd/client';
import type { World } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { buildConfig, type CommandRunner, type Member, runMember } from '@etsd/server';
import { eventually } from '../support/conditions.ts';

export interface ArchivedOptions {
  /** Further flags of the member, without dashes. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Of the log; small ones make many segments. */
  readonly segmentBytes?: number;
  /** The machine as the member sees it. */
  readonly world?: (machine: World) => World;
  readonly startCommands?: () => CommandRunner;
}

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

const WAIT_MS = 300_000;

export class ArchivedMember {
  readonly place = mkdtempSync(join(tmpdir(), 'archived-'));
  readonly archive = join(this.place, 'archive');
  readonly lines: LogLine[] = [];
  private readonly options: ArchivedOptions;
  private machine: World | null = null;
  private member: Member | null = null;
  private standing: EtcdClient | null = null;
  private runs = 0;

  constructor(options: ArchivedOptions = {}) {
    this.options = options;
  }

  get client(): EtcdClient {
    if (this.standing === null) throw new Error('the member does not run');
    return this.standing;
  }

  get dataDir(): string {
    return join(this.place, 'data');
  }

  async start(): Promise<this> {
    const machine = nodeWorld();
    this.machine = machine;
    const urls = `unix://${join(this.place, `clients-${++this.runs}`)}`;
    const raw = new Map([
      ['data-dir', this.dataDir],
      ['listen-peer-urls', `unix://${join(this.place, `peers-${this.runs}`)}`],
      ['listen-client-urls', urls],
      ['advertise-client-urls', urls],
      ['archive-dir', this.archive],
      ['archive-interval', '200ms'],
      ['initial-cluster-token', this.place],
      ...Object.entries(this.options.flags ?? {}),
    ]);
    const logger: Logger = {
      enabled: () => true,
      log: (level, message, fields = {}) => {
        this.lines.push({ level, message, fields });
      },
    };
    const { startCommands } = this.options;
    this.member = await runMember({
      world: this.options.world?.(machine) ?? machine,
      config: buildConfig(raw),
      logger,
      openBackend: (path, onFailure, onOutOfSpace) => new LmdbBackend(path, onFailure, onOutOfSpace),
      loopDelay: { read: () => ({ median: 0, p99: 0, max: 0 }) },
      drainMs: 0,
      wal: { segmentBytes: this.options.segmentBytes ?? 64 * 1024, fillAheadBytes: 0 },
      fail: (error) => {
        throw error;
      },
      ...(startCommands === undefined ? {} : { startCommands }),
    });
    this.standing = new EtcdClient({ endpoints: urls, timeoutMs: 300_000 });
    return this;
  }

  /** The first line of the log with these words, once there is one. */
  said(words: string, from = 0): Promise<LogLine> {
    return eventually(
      WAIT_MS,
      words,
      () => this.lines.slice(from).find(({ message }) => message.includes(words)) ?? null,
    );
  }

  async stop(): Promise<void> {
    const { member, machine } = this;
    this.member = null;
    await this.standing?.close();
    this.standing = null;
    await member?.stop();
    await machine?.workers.close();
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.place, { recursive: true, force: true });
  }
}
