/** A member's API over the real store and state, with a log that applies each entry when the test says so. */
import { MemoryBackend } from '@etsd/backend';
import { silentLogger } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { type EtcdError, HeaderTemplate } from '@etsd/proto';
import { Lessor, State } from '@etsd/state';
import { Access, GuardedServer } from '../access.ts';
import type { ApiWaiter, MemberContext } from '../context.ts';
import { type LimitOptions, type Limits, makeLimits } from '../limits.ts';
import { Quota } from '../quota.ts';
import { SimpleTokens } from '../tokens.ts';
import { registerKv } from './kv.ts';
import { SliceRunner } from './slice-runner.ts';
import { FakeCall, FakeReplication, FakeServer, FakeWorld } from './surroundings.fixture.ts';

/** Applies what was proposed, and holds readers back where told to. */
export class AppliedLog extends FakeReplication {
  state: State | null = null;
  index = 0;
  /** Entries are applied as they are proposed. */
  automatic = true;
  holdsReaders = false;
  readonly readers: ApiWaiter[] = [];

  override propose(data: Buffer, waiter: ApiWaiter): void {
    super.propose(data, waiter);
    if (this.automatic) this.applyAll();
  }

  override readBarrier(waiter: ApiWaiter): void {
    if (this.holdsReaders) this.readers.push(waiter);
    else waiter.done(null);
  }

  applyAll(): void {
    for (const { data, waiter } of this.proposals.splice(0)) this.state?.apply(++this.index, 2, data, waiter);
  }
}

export const CLUSTER_ID = '00000000000000cc';
export const MEMBER_ID = '00000000000000aa';

export interface MemberOptions extends LimitOptions {
  readonly limits?: Partial<Limits>;
}

/** How the client of a call reads. */
interface Client {
  readonly isCongested?: boolean;
  readonly isShut?: boolean;
}

export class TestMember {
  readonly world = new FakeWorld();
  readonly server = new FakeServer();
  readonly log = new AppliedLog();
  readonly backend = new MemoryBackend();
  readonly store = new Store(this.backend);
  readonly state: State;
  readonly context: MemberContext;
  readonly runner: SliceRunner;
  readonly quota: Quota;
  /** What the quota is told of the file. */
  fileBytes = 0;
  /** What of it is in use; all where this is below zero. */
  inUseBytes = -1;
  defragmentations = 0;
  readonly quarantine: { refusal: EtcdError | null; isAlarmed: boolean } = { refusal: null, isAlarmed: false };
  /** Of the certificate that calls come with. */
  peerCommonName = '';
  readonly purged: (() => void)[] = [];

  constructor(options: MemberOptions = {}) {
    this.store.open();
    const lessor = new Lessor({ store: this.store, backend: this.backend, ttlMinSeconds: 2 });
    this.state = new State({ backend: this.backend, store: this.store, lessor });
    this.log.state = this.state;
    const access = new Access({
      world: this.world,
      auth: this.state.auth,
      tokens: new SimpleTokens({ ...this.world, ttlMs: 300_000 }),
      lessor,
      clientCertAuth: true,
      appliedIndex: () => this.state.appliedIndex,
      waitMs: 7000,
    });
    this.state.auth.listener = access.listener;
    this.context = {
      world: this.world,
      logger: silentLogger,
      config: {
        name: 'test',
        electionTimeoutMs: 1000,
        heartbeatIntervalMs: 100,
        strictReconfigCheck: true,
        autoPromoteLearners: false,
      },
      limits: { ...makeLimits(options), ...options.limits },
      clusterId: CLUSTER_ID,
      memberId: MEMBER_ID,
      header: new HeaderTemplate(CLUSTER_ID, MEMBER_ID),
      replication: this.log,
      store: this.store,
      backend: {
        isOutOfSpace: false,
        pendingBytes: 0,
        sizeBytes: () => this.fileBytes,
        inUseBytes: () => (this.inUseBytes < 0 ? this.fileBytes : this.inUseBytes),
        defragment: () => {
          this.defragmentations++;
          return Promise.resolve();
        },
      },
      state: this.state,
      rpc: new GuardedServer(this.server, access),
      access,
      quarantine: this.quarantine,
      tracer: null,
    };
    this.runner = new SliceRunner(this.world, this.context.limits.sliceMs);
    this.quota = new Quota(this.context);
  }

  registerKv(): this {
    const compactions = { whenPurged: (_revision: number, done: () => void) => this.purged.push(done) };
    registerKv({ context: this.context, quota: this.quota, compactions, runner: this.runner });
    return this;
  }

  /** A call of the method, its request delivered. */
  call(path: string, request: Buffer, headers: Record<string, string> = {}, client: Client = {}): FakeCall {
    const call = new FakeCall(this.server.handler(path), headers, this.peerCommonName);
    call.isCongested = client.isCongested ?? false;
    call.isShut = client.isShut ?? false;
    call.receive(request);
    return call;
  }

  /** The answer to a call that is over, or the error as `code message`. */
  ask(path: string, request: Buffer, headers: Record<string, string> = {}): Buffer | string {
    const call = this.call(path, request, headers);
    this.world.endTurns();
    if (call.status === null) throw new Error(`${path} was not answered`);
    const { code, message } = call.status;
    return code === 0 ? Buffer.concat(call.messages) : `${code} ${message}`;
  }

  put(key: string, value: string | Buffer): void {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    this.store.begin();
    this.store.put(key, bytes, 0, bytes.length, '0000000000000000');
    this.store.end();
  }
}
