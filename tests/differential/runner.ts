import { Prng } from '@etsd/base';
import type { Client, Message, Outcome } from '../support/client.ts';
import { type Product, prepareServer } from '../support/server.ts';
import { Generator } from './generate.ts';
import { compareOutcomes, nearTime } from './normalise.ts';
import { describe, type Op, type View } from './ops.ts';
import { Mismatch, Watches } from './watches.ts';

/** One of the two that are compared: a server, or a cluster that has to answer like one. */
export interface Side {
  readonly product: Product;
  readonly isRunning: boolean;
  start(): Promise<unknown>;
  stop(): Promise<void>;
  kill(): Promise<void>;
  ended(ms: number): Promise<void>;
  tail(lines: number): string;
  dispose(): Promise<void>;
  connect(): Client;
}

export interface RunOptions {
  seed: number;
  count: number;
  left: Product;
  right: Product;
  /** Both members are ended and started again after every so many operations; 0 = never. */
  restartEvery: number;
  /** Parent of the data directories. */
  dataRoot?: string;
  flags: string[];
  /** In the place of a server of the product on the right. */
  rightSide?: Side;
  /** Called before each operation with its number; what may break connections is to be done within `apart`. */
  before?: (index: number, apart: (act: () => Promise<void>) => Promise<void>) => Promise<void>;
  /** Whether ranges within transactions may name a revision; default true. */
  txnRevisions?: boolean;
  /** Called at the end, while all is still running. */
  settled?: () => Promise<void>;
  /** Seconds by which remaining times may differ; default 2. */
  timeSlack?: number;
  /** Called now and then with the number of operations done. */
  progress?: (done: number) => void;
}

export interface RunResult {
  seed: number;
  /** Operations that were compared. */
  done: number;
  /** What differed, with the operation; null when nothing did. */
  mismatch: string | null;
  /** How often each kind of operation ended with which status code. */
  counts: Map<string, number>;
  revision: number;
}

const SETTLE_EVERY = 100;
/** A compaction of so little is through after this long. */
const COMPACTION_MS = 5_000;

/** Sends the same random operations to two servers, one after the other, and compares every answer. */
export async function run(options: RunOptions): Promise<RunResult> {
  const runner = new Runner(options);
  try {
    return await runner.run();
  } finally {
    await runner.dispose();
  }
}

class Runner {
  private readonly options: RunOptions;
  private readonly prng: Prng;
  private readonly generator: Generator;
  private servers: Side[] = [];
  private clients: Client[] = [];
  private watches: Watches | null = null;
  private revision = 1;
  private compactRevision = 0;
  private compactRevisionAtCrash = -1;
  private timeSlack: number;
  private readonly counts = new Map<string, number>();

  constructor(options: RunOptions) {
    this.options = options;
    this.prng = new Prng(options.seed);
    this.timeSlack = options.timeSlack ?? 2;
    this.generator = new Generator(new Prng(options.seed ^ 0x5eed), options.txnRevisions ?? true);
  }

  async run(): Promise<RunResult> {
    const { dataRoot, flags, count, restartEvery } = this.options;
    for (const product of [this.options.left, this.options.right]) {
      const { rightSide } = this.options;
      if (this.servers.length === 1 && rightSide !== undefined) this.servers.push(rightSide);
      else {
        this.servers.push(await prepareServer({ product, flags, ...(dataRoot === undefined ? {} : { dataRoot }) }));
      }
    }
    await Promise.all(this.servers.map((server) => server.start()));
    this.connect();
    let done = 0;
    let op: Op = { kind: 'settle' };
    try {
      for (; done < count; done++) {
        await this.options.before?.(done, (act) => this.apart(act));
        if (restartEvery > 0 && done % restartEvery === restartEvery - 1) {
          op = { kind: 'restart', hard: this.prng.chance(0.5) };
        } else if (done % SETTLE_EVERY === SETTLE_EVERY - 1) op = { kind: 'settle' };
        else op = this.generator.next(this.view());
        await this.step(op);
        if (done % 1000 === 999) this.options.progress?.(done + 1);
      }
      op = { kind: 'settle' };
      await this.step(op);
      for (const revision of [0, this.compactRevision, this.revision - 1]) {
        op = { kind: 'call', method: 'Maintenance/HashKV', request: { revision: String(revision) } };
        await this.step(op);
      }
      await this.options.settled?.();
    } catch (error) {
      if (!(error instanceof Mismatch)) throw new Error(this.report(done, op, String((error as Error).stack)));
      return this.result(done, this.report(done, op, error.message));
    }
    return this.result(done, null);
  }

  async dispose(): Promise<void> {
    for (const client of this.clients) client.close();
    await Promise.all(this.servers.map((server) => server.dispose()));
  }

  private result(done: number, mismatch: string | null): RunResult {
    return { seed: this.options.seed, done, mismatch, counts: this.counts, revision: this.revision };
  }

  private report(index: number, op: Op, text: string): string {
    const { seed, left, right, restartEvery } = this.options;
    const ends = this.servers.filter((server) => !server.isRunning);
    const restart = restartEvery > 0 ? ` --restart-every ${restartEvery}` : '';
    return [
      `seed ${seed}, operation ${index} (${left} on the left, ${right} on the right): ${describe(op)}`,
      text,
      ...ends.map((server) => `${server.product} is gone; its last words:\n${server.tail(15)}`),
      `replay: node tests/differential/main.ts --left ${left} --right ${right} --seed ${seed} --count ${index + 1}${restart}`,
    ].join('\n');
  }

  private view(): View {
    return {
      revision: this.revision,
      compactRevision: this.compactRevision,
      streams: this.watches?.view() ?? [],
    };
  }

  private connect(): void {
    this.clients = this.servers.map((server) => server.connect());
    this.watches = new Watches(this.clients as [Client, Client], this.revision, this.watches);
  }

  private async step(op: Op): Promise<void> {
    const watches = this.watches as Watches;
    switch (op.kind) {
      case 'call':
        return await this.call(op.method, op.request);
      case 'grant-auto':
        return await this.grantAuto(op.ttl);
      case 'grant-short':
        await this.call('Lease/LeaseGrant', { ID: op.id, TTL: op.ttl });
        return await this.call('Lease/LeaseRevoke', { ID: op.id });
      case 'keep-alive':
        return await this.keepAlive(op.ids);
      case 'watch-open':
        return watches.open();
      case 'watch-create':
        return await watches.create(op.stream, op.request, this.compactRevision);
      case 'watch-cancel':
        return await watches.cancel(op.stream, op.id);
      case 'watch-progress':
        return await watches.progress(op.stream);
      case 'watch-close':
        return await watches.close(op.stream);
      case 'settle':
        return await watches.settle();
      case 'restart':
        return await this.restart(op.hard);
    }
  }

  private tally(method: string, code: number): void {
    const name = `${method} ${code}`;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  private async call(method: string, request: Message): Promise<void> {
    // Watchers that still read the history must have it before it is cut off.
    if (method === 'KV/Compact') {
      await this.watches?.caughtUp();
      // etcd 3.5 would lose such a key for good, and end itself when a watcher asks for its previous value (COMPAT.md).
      if (this.watches?.remakesKey(Number(request['revision'])) === true) return;
    }
    // The hash that a compaction computed, also one at 0, is kept in memory only: who was restarted computes another one,
    // unless the compaction was so close before a crash that it is carried out again.
    const mayDiffer =
      this.options.rightSide !== undefined || Number(request['revision']) === this.compactRevisionAtCrash;
    if (method === 'Maintenance/HashKV' && mayDiffer) {
      if (Number(request['revision']) <= this.compactRevision) request = { revision: String(this.revision) };
      if (this.revision === this.compactRevision) return;
    }
    let [left, right] = await this.ask(method, request);
    this.tally(method, left.code);
    // A server that ends takes a moment to be seen to have ended.
    if (left.code === 14 || right.code === 14) {
      await Promise.all(this.servers.map((server) => server.ended(2000).catch(() => {})));
    }
    const gone = this.servers.filter((server) => !server.isRunning);
    if (gone.length > 0)
      throw new Mismatch(`the operation before this one, or this one, ended ${gone.length} server(s)`);
    let difference = compareOutcomes(method, request, left, right, this.timeSlack);
    // Once a compaction is through, its own revision has the hash the compaction computed; until then one like any other.
    const end = Date.now() + COMPACTION_MS;
    const ofCompaction = method === 'Maintenance/HashKV' && Number(request['revision']) === this.compactRevision;
    while (difference !== null && ofCompaction && Date.now() < end) {
      [left, right] = await this.ask(method, request);
      difference = compareOutcomes(method, request, left, right, this.timeSlack);
    }
    if (difference !== null) {
      throw new Mismatch(`the ${difference} differs\n  left   ${describe(left)}\n  right  ${describe(right)}`);
    }
    if (left.response === null) return;
    const header = left.response['header'] as Message | null;
    const revision = Number(header?.['revision'] ?? 0);
    if (revision < this.revision) throw new Mismatch(`revision ${revision} after ${this.revision}`);
    this.revision = revision;
    this.watches?.advance(revision);
    if (method === 'KV/Compact') {
      this.compactRevision = Number(request['revision']);
      this.watches?.compacted(this.compactRevision);
    }
  }

  private async ask(method: string, request: Message): Promise<[Outcome, Outcome]> {
    return (await Promise.all(this.clients.map((client) => client.call(method, request)))) as [Outcome, Outcome];
  }

  private async grantAuto(ttl: string): Promise<void> {
    const outcomes = await Promise.all(
      this.clients.map((client) => client.call('Lease/LeaseGrant', { ID: '0', TTL: ttl })),
    );
    const [left, right] = outcomes as [Outcome, Outcome];
    const ids = outcomes.map((outcome) => String(outcome.response?.['ID'] ?? '0'));
    for (const outcome of outcomes) if (outcome.response !== null) outcome.response['ID'] = '*';
    const difference = compareOutcomes('Lease/LeaseGrant', {}, left, right, this.timeSlack);
    if (difference !== null || ids.some((id) => left.code === 0 && Number(id) <= 0)) {
      throw new Mismatch(`grants differ: ${ids}\n  left   ${describe(left)}\n  right  ${describe(right)}`);
    }
    if (left.code !== 0) return;
    const revoked = await Promise.all(
      this.clients.map((client, side) => client.call('Lease/LeaseRevoke', { ID: ids[side] as string })),
    );
    if (revoked.some((outcome) => outcome.code !== 0)) throw new Mismatch(`revoking ${ids}: ${describe(revoked)}`);
  }

  private async keepAlive(ids: string[]): Promise<void> {
    const streams = this.clients.map((client) => client.stream('Lease/LeaseKeepAlive'));
    for (const stream of streams) {
      for (const ID of ids) stream.send({ ID });
      await stream.until(20_000, 'keep-alive answers', () => stream.received.length === ids.length);
      stream.halfClose();
      await stream.changed.wait(20_000, 'the end of a keep-alive stream', () => stream.ended !== null);
    }
    const [left, right] = streams.map((stream) => ({ ...stream.ended, answers: stream.received }));
    for (const [index, answer] of (left?.answers ?? []).entries()) {
      const other = right?.answers[index] as Message;
      if (nearTime(answer['TTL'], other['TTL'], this.timeSlack)) other['TTL'] = answer['TTL'];
      for (const message of [answer, other]) {
        const header = message['header'] as Message;
        message['header'] = { revision: header['revision'] };
      }
    }
    if (describe(left) !== describe(right)) {
      throw new Mismatch(`keep-alives differ\n  left   ${describe(left)}\n  right  ${describe(right)}`);
    }
  }

  /** Does something while nobody is connected. */
  private async apart(act: () => Promise<void>): Promise<void> {
    await this.watches?.end();
    for (const client of this.clients) client.close();
    await act();
    this.connect();
  }

  private async restart(hard: boolean): Promise<void> {
    if (hard) this.compactRevisionAtCrash = this.compactRevision;
    await this.watches?.end();
    // etcd 3.5 replays after a crash what its database had not committed, and a transaction that had been refused for
    // reading a compacted revision may then succeed. A defragmentation commits, so that it has nothing to replay.
    for (const [side, client] of this.clients.entries()) {
      if (this.servers[side]?.product === 'etcd') await client.expect('Maintenance/Defragment', {});
    }
    for (const client of this.clients) client.close();
    await Promise.all(this.servers.map((server) => (hard ? server.kill() : server.stop())));
    await Promise.all(this.servers.map((server) => server.start()));
    // How much of a lease's time survives a restart is each server's own business.
    this.timeSlack = 1e12;
    this.connect();
  }
}
