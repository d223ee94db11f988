import type { Prng } from '@etsd/base';
import type { CompactOperation, KeyRecord, KvOperation, LeaseOperation, Step } from '@etsd/simulator/checkers';
import { Client, type Message, type Outcome } from '../support/client.ts';
import { RECONNECT_SOON, type TestCluster } from '../support/cluster.ts';
import { within } from '../support/conditions.ts';
import type { TestServer } from '../support/server.ts';
import type { Identity } from './identity.ts';
import { callKv, now, outcomeOf, ownAnswer, type Wish } from './kv-calls.ts';

export type Note = (record: KvOperation | LeaseOperation | CompactOperation) => void;

export interface WorkOptions {
  cluster: TestCluster;
  prng: Prng;
  note: Note;
  /** How many keys are fought over. */
  keys: number;
  /** Mean pause of a worker between two operations. */
  pauseMs: number;
  deadlineMs: number;
  identity: Identity;
}

/** What all workers of a run share: numbers that nobody else uses, and the newest revision anybody was told. */
export class Shared {
  private counter = 0;
  revision = 1;
  /** Answered writes since the last reset, to see that the cluster serves. */
  writes = 0;

  unique(): number {
    return ++this.counter;
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One client: one operation after the other at one member, and at another one when that does not answer. */
abstract class Worker {
  protected readonly options: WorkOptions;
  protected readonly shared: Shared;
  protected readonly number: number;
  protected isOver = false;
  protected server: TestServer;
  protected client: Client;

  constructor(number: number, options: WorkOptions, shared: Shared) {
    this.number = number;
    this.options = options;
    this.shared = shared;
    const { members } = options.cluster;
    this.server = members[number % members.length] as TestServer;
    this.client = new Client(this.server.address, RECONNECT_SOON);
  }

  async run(): Promise<void> {
    while (!this.isOver) {
      const isFine = await this.step();
      if (!isFine && this.options.prng.chance(0.7)) this.move();
      // A client that is refused at once does not hammer.
      await sleep(this.options.prng.float() * 2 * Math.max(this.options.pauseMs, isFine ? 0 : 50));
    }
    this.client.close();
  }

  stop(): void {
    this.isOver = true;
  }

  /** Does one thing; false when the member was of no help. */
  protected abstract step(): Promise<boolean>;

  private move(): void {
    this.client.close();
    this.server = this.options.prng.pick(this.options.cluster.members);
    this.client = new Client(this.server.address, RECONNECT_SOON);
  }

  protected async kv(wish: Partial<Wish> & { success: Step[] }): Promise<KvOperation> {
    const whole = { serializable: false, compares: [], failure: [], ...wish };
    const operation = await callKv(this.client, this.server, this.number, whole, this.options);
    this.options.note(operation);
    if (operation.outcome === 'ok' && !operation.serializable) {
      this.shared.revision = Math.max(this.shared.revision, operation.revision);
      if (whole.success[0]?.do === 'put') this.shared.writes++;
    }
    return operation;
  }

  protected async ask(method: string, request: Message, deadlineMs: number): Promise<Outcome> {
    const { isReady } = this.server;
    const answer = await this.client.call(method, request, deadlineMs);
    return ownAnswer(answer, this.server, isReady, this.options.identity);
  }

  protected put(key: string, lease = '0'): Step {
    return { do: 'put', key, value: `v${this.shared.unique()}`, lease };
  }
}

const range = (key: string, end: string, revision = 0, limit = 0): Step => ({ do: 'range', key, end, revision, limit });

/** Reads, writes, compares and swaps over a few keys. */
export class KvWorker extends Worker {
  private readonly known = new Map<string, KeyRecord>();

  protected async step(): Promise<boolean> {
    const { prng, keys } = this.options;
    const key = `k${prng.below(keys)}`;
    const kind = prng.below(100);
    let wish: Partial<Wish> & { success: Step[] };
    if (kind < 25) wish = { success: [this.put(key)] };
    else if (kind < 37) wish = { success: [range(key, '')] };
    else if (kind < 45) wish = { success: [range('k', 'l', 0, prng.chance(0.2) ? 3 : 0)] };
    else if (kind < 48) wish = { success: [range('k', 'l', Math.max(1, this.shared.revision - prng.below(100)))] };
    else if (kind < 60) wish = { serializable: true, success: [prng.chance(0.5) ? range(key, '') : range('k', 'l')] };
    else if (kind < 68) wish = { success: [{ do: 'delete', key, end: prng.chance(0.1) ? 'k~' : '' }] };
    else if (kind < 76) {
      const other = `k${(Number(key.slice(1)) + 1) % keys}x`;
      wish = { success: [this.put(key), range(key, ''), { do: 'delete', key: other, end: '' }, this.put(`${other}y`)] };
    } else wish = this.swap(key);
    const operation = await this.kv(wish);
    for (const { kvs } of operation.results) for (const kv of kvs) this.known.set(kv.key, kv);
    return operation.outcome !== 'unknown';
  }

  /** Changes a key only if it still is what this client last saw; else reads it. */
  private swap(key: string): Wish & { success: Step[] } {
    const { prng } = this.options;
    const seen = this.known.get(key);
    const target = seen === undefined ? 'mod' : prng.pick(['value', 'mod', 'version'] as const);
    const operand = seen === undefined ? 0 : seen[target];
    const success = prng.chance(0.15) ? [{ do: 'delete', key, end: '' } as const] : [this.put(key)];
    const compares = [{ key, target, result: prng.chance(0.9) ? '=' : '!=', operand } as const];
    return { serializable: false, compares, success, failure: [range(key, '')] };
  }
}

/** Grants leases, hangs keys on them, keeps some alive for a while, revokes some and lets the others run out. */
export class LeaseWorker extends Worker {
  private lease = '';
  private renewals = 0;

  protected async step(): Promise<boolean> {
    const { prng } = this.options;
    if (this.lease === '') return this.grant();
    if (this.renewals > 0) {
      this.renewals--;
      if (prng.chance(0.3)) await this.kv({ success: [this.put(`lease${prng.below(8)}`, this.lease)] });
      return this.renew();
    }
    const lease = this.lease;
    this.lease = '';
    if (prng.chance(0.6)) return true;
    return this.call('revoke', lease, 'Lease/LeaseRevoke', { ID: lease });
  }

  private async grant(): Promise<boolean> {
    const { prng } = this.options;
    const lease = String(1_000_000 + this.shared.unique());
    if (!(await this.call('grant', lease, 'Lease/LeaseGrant', { ID: lease, TTL: String(prng.between(1, 4)) })))
      return false;
    this.lease = lease;
    this.renewals = prng.below(8);
    await this.kv({
      success: [this.put(`lease${prng.below(8)}`, lease), this.put(`lease${8 + prng.below(8)}`, lease)],
    });
    return true;
  }

  private async call(what: 'grant' | 'revoke', lease: string, method: string, request: Message): Promise<boolean> {
    const start = now();
    const answer = await this.ask(method, request, this.options.deadlineMs);
    return this.noted(what, lease, start, answer, Number(answer.response?.['TTL'] ?? 0));
  }

  private async renew(): Promise<boolean> {
    const start = now();
    const { lease } = this;
    const { isReady } = this.server;
    const stream = this.client.stream('Lease/LeaseKeepAlive');
    stream.send({ ID: lease });
    let answer: Outcome = { code: 4, message: 'no answer', response: null };
    const settled = stream.until(this.options.deadlineMs, 'a renewal', () => stream.received.length > 0);
    await within(this.options.deadlineMs + 1000, 'a renewal', settled).then(
      () => {
        answer = { code: 0, message: '', response: stream.received[0] as Message };
      },
      () => {},
    );
    stream.cancel();
    answer = ownAnswer(answer, this.server, isReady, this.options.identity);
    const ttl = Number(answer.response?.['TTL'] ?? 0);
    if (answer.code === 0 && ttl === 0) this.lease = '';
    return this.noted('renew', lease, start, answer, ttl);
  }

  private noted(what: LeaseOperation['do'], lease: string, start: number, answer: Outcome, ttl: number): boolean {
    const outcome = outcomeOf(answer.code, answer.message);
    this.options.note({ type: 'lease', do: what, lease, ttl, start, end: now(), outcome, error: answer.message });
    return outcome !== 'unknown';
  }
}

/** How many revisions a compaction leaves. */
const KEPT_REVISIONS = 400;

/** Compacts what is old, now and then. */
export class Compactor extends Worker {
  private compacted = 0;

  protected async step(): Promise<boolean> {
    await sleep(this.options.prng.between(500, 3000));
    const revision = this.shared.revision - KEPT_REVISIONS;
    if (revision <= this.compacted + 50 || this.isOver) return true;
    const physical = this.options.prng.chance(0.3);
    const start = now();
    const answer = await this.ask('KV/Compact', { revision: String(revision), physical }, 5000);
    const outcome = outcomeOf(answer.code, answer.message);
    this.options.note({ type: 'compact', revision, start, end: now(), outcome, error: answer.message });
    this.compacted = revision;
    return outcome !== 'unknown';
  }
}
