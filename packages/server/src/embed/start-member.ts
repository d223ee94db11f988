/** A member inside of somebody else's program: in memory or on disk, with a port or without one. */
import { MemoryBackend } from '@etsd/backend';
import { checkLmdb, LmdbBackend, loadEngine } from '@etsd/backend/lmdb';
import { errorFrom, type Logger, silentLogger } from '@etsd/base';
import { type ClientOptions, EtcdClient } from '@etsd/client';
import type { Timers, World } from '@etsd/runtime';
import { inProcessPath, LocalNetwork, type ManualClock, MemoryDisk, OwnedTimers } from '@etsd/runtime/memory';
import { nodeWorld, readSecretFile, runSecretCommand } from '@etsd/runtime/node';
import { buildConfig, type RawConfig } from '../config/config.ts';
import type { Member, MemberParts } from '../member-parts.ts';
import { runMember } from '../run-member.ts';

export interface EmbedOptions {
  /** Where its data rests, to be found again by the next start. Without it everything is in memory and goes with it. */
  readonly dataDir?: string;
  /**
   * Address for clients outside of this process: `127.0.0.1:2379`, or `127.0.0.1:0` for a free port, or a URL with
   * `https` or `unix` as for `--listen-client-urls`. Without it there is no port, and `client()` is the way in.
   */
  readonly listen?: string;
  /** A clock that stands until it is moved. Without it time is that of the machine. */
  readonly clock?: ManualClock;
  /** Any other flag of etsd by its name, such as `{ 'auto-compaction-retention': '1h' }`. */
  readonly flags?: Readonly<Record<string, string | number | boolean>>;
  /** Without it nothing is logged. */
  readonly logger?: Logger;
  /** How long running calls may go on at `close`, in milliseconds. Default 0: they are cut off. */
  readonly drainMs?: number;
  /** Hears why the member cannot go on; requests fail from then on. Without it the error is thrown, uncaught. */
  readonly onFailure?: (error: Error) => void;
}

/** The address inside of the process; every member has a network of its own, so one name does for all. */
const IN_PROCESS_URL = `unix://${inProcessPath('clients')}`;

/**
 * Starts a member of a cluster of its own; resolves when it serves. Rejects with an `OperatorError` on options that
 * cannot be used, an address that is taken, or a data directory that cannot be opened.
 */
export async function startMember(options: EmbedOptions = {}): Promise<EmbeddedMember> {
  const machine = nodeWorld();
  const timers = new OwnedTimers(options.clock?.timers ?? machine.timers);
  const world = worldOf(options, machine, timers);
  const parts: MemberParts = {
    world,
    config: buildConfig(flagsOf(options)),
    logger: options.logger ?? silentLogger,
    ...backendOf(options),
    readKeys: ({ file, command }) => (file === '' ? runSecretCommand(command) : readSecretFile(file)),
    loopDelay: { read: () => ({ median: 0, p99: 0, max: 0 }) },
    drainMs: options.drainMs ?? 0,
    fail: (thrown) => {
      const error = errorFrom(thrown);
      if (options.onFailure !== undefined) return options.onFailure(error);
      timers.soon(() => {
        throw error;
      });
    },
  };
  try {
    return new EmbeddedMember(await runMember(parts), world, timers, options);
  } catch (error) {
    await world.workers.close();
    timers.close();
    throw error;
  }
}

/** A running member. `await using` closes it. */
export class EmbeddedMember implements AsyncDisposable {
  /** What the member sees of the outside: its time, its network. */
  readonly world: World;
  /** Where clients outside of this process connect; empty without `listen`. */
  readonly endpoints: readonly string[];
  private readonly member: Member;
  private readonly timers: OwnedTimers;
  private readonly clients: EtcdClient[] = [];
  private readonly stopWaiting: () => void;
  private closing: Promise<void> | null = null;

  constructor(member: Member, world: World, timers: OwnedTimers, options: EmbedOptions) {
    this.member = member;
    this.world = world;
    this.timers = timers;
    this.endpoints = member.clientUrls.filter((url) => url !== IN_PROCESS_URL);
    const { replication } = member;
    const isBusy = (): boolean => replication.appliedIndex < replication.lastIndex || replication.pendingProposals > 0;
    this.stopWaiting = options.clock?.waitWhile(isBusy) ?? (() => {});
  }

  get isLeader(): boolean {
    return this.closing === null && this.member.replication.isLeader;
  }

  /** The first address for clients outside of this process. Throws where there is none. */
  get endpoint(): string {
    const [first] = this.endpoints;
    if (first === undefined) {
      throw new TypeError("the member has no port; start it with { listen: '127.0.0.1:0' } or use client()");
    }
    return first;
  }

  /** A client inside of this process, on the member's own clock. It is closed with the member. */
  client(options: Omit<ClientOptions, 'endpoints'> = {}): EtcdClient {
    const client = new EtcdClient({ ...options, endpoints: IN_PROCESS_URL }, this.world);
    this.clients.push(client);
    return client;
  }

  /** Ends it. What was acknowledged is on disk, where it has one. May be called any number of times. */
  close(): Promise<void> {
    this.closing ??= this.stop();
    return this.closing;
  }

  private async stop(): Promise<void> {
    this.stopWaiting();
    for (const client of this.clients) await client.close();
    await this.member.stop();
    await this.world.workers.close();
    this.timers.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function worldOf({ clock, dataDir }: EmbedOptions, machine: World, timers: Timers): World {
  return {
    ...machine,
    clock: clock ?? machine.clock,
    timers,
    disk: dataDir === undefined ? new MemoryDisk(timers) : machine.disk,
    network: new LocalNetwork(timers, machine.network),
  };
}

/** The native store is loaded by those only who have a disk, and after whatever forbids to start. */
function backendOf({ dataDir }: EmbedOptions): Pick<MemberParts, 'openBackend' | 'loadBackend' | 'checkStore'> {
  if (dataDir === undefined) return { openBackend: () => new MemoryBackend() };
  return {
    loadBackend: loadEngine,
    openBackend: (path, onFailure, onOutOfSpace) => new LmdbBackend(path, onFailure, onOutOfSpace),
    checkStore: checkLmdb,
  };
}

function flagsOf({ dataDir, listen, flags = {} }: EmbedOptions): RawConfig {
  const clientUrls = listen === undefined ? [] : [listen.includes('://') ? listen : `http://${listen}`];
  const raw = new Map<string, string>([
    ['data-dir', dataDir ?? 'memory'],
    ['listen-peer-urls', `unix://${inProcessPath('peers')}`],
    ['listen-client-urls', [...clientUrls, IN_PROCESS_URL].join(',')],
    ['advertise-client-urls', clientUrls.length > 0 ? clientUrls.join(',') : IN_PROCESS_URL],
  ]);
  for (const [name, value] of Object.entries(flags)) raw.set(name.replace(/^--?/, ''), String(value));
  return raw;
}
