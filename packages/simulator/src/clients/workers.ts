import type { Prng } from '@etsd/base';
import { AuthenticateRequest, AuthenticateResponse } from '@etsd/proto';
import type { SimMachine } from '@etsd/runtime/sim';
import type { KeyRecord, KvOperation, Outcome, Step } from '../checkers/history.ts';
import type { SimMember } from '../cluster/member.ts';
import { OPERATION_KINDS, type OperationKind, type Plan } from '../run/plan.ts';
import { type Answer, outcomeOf, range, SimClient } from './client.ts';
import type { Wish } from './kv-codec.ts';
import type { Shared } from './shared.ts';

const DEADLINE_MS = 1500;
/** A client that is refused at once does not hammer. */
const REFUSED_PAUSE_MS = 50;

type PartialWish = Partial<Wish> & { readonly success: readonly Step[] };

/** One client: one thing after the other at one member, and at another one when that does not answer. */
export abstract class Worker {
  protected readonly shared: Shared;
  protected readonly prng: Prng;
  protected readonly plan: Plan;
  protected readonly number: number;
  protected readonly client: SimClient;
  protected readonly name: string;
  protected member: SimMember;

  constructor(shared: Shared, machine: SimMachine, prng: Prng, number: number) {
    this.shared = shared;
    this.prng = prng;
    this.plan = shared.cluster.plan;
    this.number = number;
    this.name = machine.name;
    this.client = new SimClient(shared.cluster, machine.world);
    this.member = shared.anyMember(prng);
  }

  async run(): Promise<void> {
    await this.client.sleep(this.prng.float() * 100);
    while (!this.shared.isOver) {
      const isFine = await this.step();
      if (!isFine && this.prng.chance(0.7)) this.move();
      await this.pause(this.prng.float() * 2 * Math.max(this.pauseMs(), isFine ? 0 : REFUSED_PAUSE_MS));
    }
    this.client.close();
  }

  /** Does nothing for so long, or until there is nothing left to do. */
  protected pause(ms: number): Promise<void> {
    return this.shared.pause(this.client.world.timers, ms, false);
  }

  protected abstract pauseMs(): number;

  /** Does one thing; false when the member was of no help. */
  protected abstract step(): Promise<boolean>;

  protected move(): void {
    this.member = this.shared.anyMember(this.prng);
  }

  protected async kv(partial: PartialWish): Promise<KvOperation> {
    const wish: Wish = {
      serializable: partial.serializable ?? false,
      compares: partial.compares ?? [],
      success: partial.success,
      failure: partial.failure ?? [],
      nestedFrom: partial.nestedFrom ?? 0,
    };
    const { shared } = this;
    const operation = await this.client.kv(this.number, this.member, wish, DEADLINE_MS);
    shared.records.push(operation);
    this.told(operation.outcome);
    const { trace } = shared.cluster;
    if (trace.keepsAll) trace.detail(this.name, describe(operation));
    if (operation.outcome === 'ok' && !operation.serializable) {
      shared.revision = Math.max(shared.revision, operation.revision);
      if (wish.success[0]?.do === 'put') shared.writes++;
    }
    if (operation.outcome === 'failed') await this.logInIfAsked(operation.error);
    return operation;
  }

  protected async call(path: string, request: Buffer, timeoutMs = DEADLINE_MS): Promise<Answer> {
    const answer = await this.client.call(this.member, path, request, timeoutMs);
    this.told(outcomeOf(answer));
    const outcome = answer.code === 0 ? 'ok' : `${answer.code} ${answer.message}`;
    this.shared.cluster.trace.detail(this.name, `${this.member.name} ${path.split('/').at(-1)} → ${outcome}`);
    if (answer.code !== 0) await this.logInIfAsked(answer.message);
    return answer;
  }

  /** Counts a request that came to an end. */
  protected told(outcome: Outcome): void {
    this.shared.calls++;
    if (outcome !== 'unknown') this.shared.answers++;
  }

  /** Gets a token where the answer says that one is needed, or a newer one. */
  protected async logInIfAsked(error: string): Promise<void> {
    if (!/invalid auth token|user name is empty|revision in auth store is old|permission denied/.test(error)) return;
    const { credentials } = this.shared;
    if (credentials === null) {
      this.client.token = '';
      return;
    }
    for (const password of credentials.passwords) {
      const request = AuthenticateRequest.encode(AuthenticateRequest.create({ name: credentials.name, password }));
      this.client.token = '';
      const { bytes } = await this.client.call(this.member, '/etcdserverpb.Auth/Authenticate', request, DEADLINE_MS);
      if (bytes === null) continue;
      this.client.token = AuthenticateResponse.decode(bytes).token;
      this.shared.token = this.client.token;
      return;
    }
  }

  protected put(key: string, lease = '0'): Step {
    const { shared, prng, plan } = this;
    return { do: 'put', key, value: `v${shared.unique()}${'.'.repeat(prng.below(plan.valueBytesMax))}`, lease };
  }
}

/** One line, short. */
function describe(operation: KvOperation): string {
  const { member, start, outcome, error, revision, succeeded, success, compares } = operation;
  const steps = success.map((step) =>
    step.do === 'put' ? `put ${step.key}=${step.value.slice(0, 12)}` : `${step.do} ${step.key}`,
  );
  const condition = compares.length === 0 ? '' : `if ${compares[0]?.key}.${compares[0]?.target} (${succeeded}) `;
  const answer = outcome === 'ok' ? revision : `${outcome} ${error}`;
  return `${member} ${condition}${steps.join(', ')}${operation.serializable ? ' serializable' : ''} → ${answer} (since ${start.toFixed(1)})`;
}

/** Reads, writes, compares and swaps over a few keys. */
export class KvWorker extends Worker {
  private readonly known = new Map<string, KeyRecord>();
  /** Of each kind of operation, in their order. */
  private readonly weights = OPERATION_KINDS.map((kind) => this.plan.operations[kind]);
  private readonly weightOfAll = this.weights.reduce((sum, weight) => sum + weight, 0);

  protected pauseMs(): number {
    return this.plan.pauseMs;
  }

  protected async step(): Promise<boolean> {
    const { atOnce } = this.plan;
    if (atOnce === 1) return this.learn(await this.kv(this.draw(this.drawKind())));
    const wishes: PartialWish[] = [];
    for (let left = atOnce; left > 0; left--) wishes.push(this.draw(this.drawKind()));
    const operations = await Promise.all(wishes.map((wish) => this.kv(wish)));
    let isFine = true;
    for (const operation of operations) if (!this.learn(operation)) isFine = false;
    return isFine;
  }

  /** Keeps what it was told; false where it was told nothing. */
  private learn({ results, outcome }: KvOperation): boolean {
    for (const { kvs } of results) for (const kv of kvs) this.known.set(kv.key, kv);
    return outcome !== 'unknown';
  }

  private drawKind(): OperationKind {
    const { weights } = this;
    let left = this.prng.float() * this.weightOfAll;
    for (let number = 0; number < weights.length; number++) {
      left -= weights[number] as number;
      if (left < 0) return OPERATION_KINDS[number] as OperationKind;
    }
    return 'put';
  }

  private key(): string {
    return `k${this.prng.below(this.plan.keys)}`;
  }

  private draw(kind: OperationKind): PartialWish {
    const { prng, shared } = this;
    const key = this.key();
    switch (kind) {
      case 'get':
        return { success: [range(key, '')] };
      case 'list':
        return { success: [range('k', 'l', 0, prng.chance(0.2) ? 3 : 0)] };
      case 'list-past':
        return { success: [range('k', 'l', Math.max(1, shared.revision - prng.below(100)))] };
      case 'stale-get':
        return { serializable: true, success: [range(key, '')] };
      case 'stale-list':
        return { serializable: true, success: [range('k', 'l')] };
      case 'put':
        return { success: [this.put(key)] };
      case 'delete':
        return { success: [{ do: 'delete', key, end: '' }] };
      case 'delete-range':
        return { success: [{ do: 'delete', key, end: prng.chance(0.3) ? 'l' : `${key}~` }] };
      case 'txn':
        return { success: this.several(key) };
      case 'nested-txn':
        return { success: this.several(key), nestedFrom: 2 };
      case 'swap':
        return this.swap(key);
    }
  }

  /** Reads what it has written itself, and changes several keys at once. */
  private several(key: string): Step[] {
    const other = `k${(Number(key.slice(1)) + 1) % this.plan.keys}x`;
    // Where that is compacted or still to come nothing at all is done, on no member.
    const then = this.prng.chance(0.2) ? Math.max(1, this.shared.revision + this.prng.between(-200, 2)) : 0;
    return [this.put(key), range(key, '', then), { do: 'delete', key: other, end: '' }, this.put(`${other}y`)];
  }

  /** Changes a key only if it still is what this client last saw; else reads it. */
  private swap(key: string): PartialWish {
    const { prng } = this;
    const seen = this.known.get(key);
    const target = seen === undefined ? 'mod' : prng.pick(['value', 'mod', 'version', 'create'] as const);
    const operand = seen === undefined ? 0 : seen[target];
    const success = prng.chance(0.15) ? [{ do: 'delete', key, end: '' } as const] : [this.put(key)];
    const compares = [{ key, target, result: prng.chance(0.9) ? '=' : '!=', operand } as const];
    return { compares, success, failure: [range(key, '')] };
  }
}
