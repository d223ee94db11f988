import { Prng } from '@etsd/base';
import { Client, type Message } from '../support/client.ts';
import { eventually } from '../support/conditions.ts';
import { type Product, prepareServer, type TestServer } from '../support/server.ts';

export interface CrashOptions {
  product: Product;
  seed: number;
  cycles: number;
  writers: number;
  flags: string[];
  progress?: (cycle: number, acknowledged: number) => void;
}

export interface CrashResult {
  cycles: number;
  acknowledged: number;
  /** What is wrong, first things first; empty when all is well. */
  faults: string[];
}

const PARTS = ['a', 'b', 'c'];
const LEASE_TTL = '100000';

/** What one writer knows. It writes its counter to three keys in one transaction, and each counter to a key of its own. */
class Writer {
  readonly id: number;
  counter = 0;
  /** The highest counter whose transaction was acknowledged, and the revision it was acknowledged at. */
  acknowledged = 0;
  acknowledgedRevision = 0;
  /** Counters whose own key was acknowledged, with its revision. */
  readonly singles = new Map<number, number>();
  /** Counters sent to a key of their own without an answer: may be there or not. */
  readonly unknown = new Set<number>();
  /** Leases granted and acknowledged. */
  readonly leases: string[] = [];
  stopped = false;

  constructor(id: number) {
    this.id = id;
  }

  part(name: string): Buffer {
    return Buffer.from(`crash/${this.id}/${name}`);
  }

  single(counter: number): Buffer {
    return Buffer.from(`crash/${this.id}/single/${String(counter).padStart(8, '0')}`);
  }
}

/**
 * Writes from many clients, kills the server in the middle with SIGKILL, starts it again on the same data, and looks
 * whether everything that was acknowledged is there and nothing is there by halves. Then again.
 */
export async function crash(options: CrashOptions): Promise<CrashResult> {
  const server = await prepareServer({ product: options.product, flags: options.flags });
  try {
    return await new CrashRun(server, options).run();
  } finally {
    await server.dispose();
  }
}

class CrashRun {
  private readonly server: TestServer;
  private readonly options: CrashOptions;
  private readonly prng: Prng;
  private readonly writers: Writer[] = [];
  private readonly faults: string[] = [];
  private total = 0;
  private highestRevision = 0;
  private compacted = 0;

  constructor(server: TestServer, options: CrashOptions) {
    this.server = server;
    this.options = options;
    this.prng = new Prng(options.seed);
    for (let id = 0; id < options.writers; id++) this.writers.push(new Writer(id));
  }

  async run(): Promise<CrashResult> {
    let cycle = 0;
    await this.server.start();
    for (; cycle < this.options.cycles && this.faults.length === 0; cycle++) {
      // Now and then the crash comes while the writers compact, or very soon after the start.
      await this.writeUntil(this.prng.pick([1, 10, 50, 200, 500, 1000]));
      await this.server.kill();
      await this.restart();
      await this.verify();
      this.options.progress?.(cycle + 1, this.total);
    }
    if (this.faults.length > 0) this.faults.push(`the server's last words:\n${this.server.tail(8)}`);
    return { cycles: cycle, acknowledged: this.total, faults: this.faults };
  }

  /** Writes until so many requests were acknowledged, then kills the server in the middle of the others. */
  private async writeUntil(count: number): Promise<void> {
    const goal = this.total + count;
    const clients: Client[] = [];
    const work: Promise<void>[] = [];
    for (const writer of this.writers) {
      const client = new Client(this.server.address);
      clients.push(client);
      writer.stopped = false;
      work.push(this.write(writer, client));
    }
    await eventually(60_000, `${count} acknowledged writes`, () => (this.total >= goal ? true : null), 1);
    await this.server.kill();
    for (const writer of this.writers) writer.stopped = true;
    await Promise.all(work);
    for (const client of clients) client.close();
  }

  private async write(writer: Writer, client: Client): Promise<void> {
    while (!writer.stopped) {
      const counter = ++writer.counter;
      // Values of very different length, so that the crash meets records of one page and of many.
      const padding = 'x'.repeat(this.prng.pick([0, 10, 200, 5000]));
      const value = Buffer.from(`${counter} ${padding}`);
      const success = PARTS.map((name) => ({ request_put: { key: writer.part(name), value } }));
      const lease = this.prng.chance(0.05) ? String(writer.id * 1_000_000 + counter) : '';
      if (lease !== '') {
        const granted = await client.call('Lease/LeaseGrant', { ID: lease, TTL: LEASE_TTL });
        if (granted.code === 0) writer.leases.push(lease);
      }
      const outcome = await client.call('KV/Txn', { success });
      if (outcome.code === 0) {
        writer.acknowledged = counter;
        writer.acknowledgedRevision = this.acknowledge(outcome.response);
      }
      writer.unknown.add(counter);
      const single = await client.call('KV/Put', { key: writer.single(counter), value: Buffer.from(String(counter)) });
      if (single.code === 0) {
        writer.unknown.delete(counter);
        writer.singles.set(counter, this.acknowledge(single.response));
      }
      if (writer.id === 0 && this.prng.chance(0.02)) await this.compact(client);
    }
  }

  private async compact(client: Client): Promise<void> {
    const revision = this.highestRevision - 5;
    if (revision <= this.compacted) return;
    const outcome = await client.call('KV/Compact', { revision: String(revision), physical: this.prng.chance(0.3) });
    if (outcome.code === 0) this.compacted = revision;
  }

  private acknowledge(response: Message | null): number {
    const revision = Number((response?.['header'] as Message | undefined)?.['revision']);
    this.highestRevision = Math.max(this.highestRevision, revision);
    this.total++;
    return revision;
  }

  /** Starts the server again; sometimes that start is itself cut off by a crash, at any line it prints. */
  private async restart(): Promise<void> {
    if (this.prng.chance(0.25)) {
      this.server.launch();
      await this.server.printed(this.prng.between(1, 8));
      await this.server.kill();
    }
    try {
      await this.server.start();
    } catch (error) {
      this.faults.push(`the server did not come back: ${(error as Error).message}`);
    }
  }

  private async verify(): Promise<void> {
    if (this.faults.length > 0) return;
    const client = new Client(this.server.address);
    try {
      for (const writer of this.writers) await this.verifyWriter(writer, client);
      const revision = Number(
        ((await client.expect('KV/Range', { key: Buffer.from('x') }))['header'] as Message)['revision'],
      );
      if (revision < this.highestRevision) {
        this.faults.push(`the store is at revision ${revision}, ${this.highestRevision} was acknowledged`);
      }
      if (this.compacted > 1) {
        const old = await client.call('KV/Range', { key: Buffer.from('x'), revision: String(this.compacted - 1) });
        if (old.code !== 11) this.faults.push(`the compaction at ${this.compacted} was acknowledged and is gone`);
      }
    } catch (error) {
      this.faults.push(`checking failed: ${(error as Error).stack}`);
    } finally {
      client.close();
    }
  }

  private async verifyWriter(writer: Writer, client: Client): Promise<void> {
    const range = await client.expect('KV/Range', { key: writer.part('a'), range_end: writer.part('d') });
    const kvs = range['kvs'] as Message[];
    const values = kvs.map((kv) => (kv['value'] as Buffer).toString());
    const counters = values.map((value) => Number(value.split(' ')[0]));
    const [counter = 0] = counters;
    const where = `writer ${writer.id}`;
    if (kvs.length !== 0 && (kvs.length !== PARTS.length || values.some((value) => value !== values[0]))) {
      this.faults.push(`${where}: half a transaction: counters ${counters}`);
    }
    if (new Set(kvs.map((kv) => kv['mod_revision'])).size > 1)
      this.faults.push(`${where}: one txn at several revisions`);
    if (counter < writer.acknowledged || counter > writer.counter) {
      this.faults.push(
        `${where}: counter ${counter} found, ${writer.acknowledged} acknowledged, ${writer.counter} sent`,
      );
    }
    if (
      counter === writer.acknowledged &&
      counter > 0 &&
      Number(kvs[0]?.['mod_revision']) !== writer.acknowledgedRevision
    ) {
      this.faults.push(`${where}: at ${kvs[0]?.['mod_revision']}, acknowledged at ${writer.acknowledgedRevision}`);
    }
    await this.verifySingles(writer, client);
    const list = (await client.expect('Lease/LeaseLeases', {}))['leases'] as Message[];
    const leases = new Set(list.map((lease) => lease['ID']));
    for (const id of writer.leases) if (!leases.has(id)) this.faults.push(`${where}: lease ${id} is gone`);
  }

  private async verifySingles(writer: Writer, client: Client): Promise<void> {
    const range = await client.expect('KV/Range', {
      key: writer.single(0),
      range_end: Buffer.from(`crash/${writer.id}/singlf`),
    });
    const found = new Map<number, number>();
    for (const kv of range['kvs'] as Message[]) {
      found.set(Number((kv['value'] as Buffer).toString()), Number(kv['mod_revision']));
    }
    for (const [counter, revision] of writer.singles) {
      if (found.get(counter) === revision) continue;
      this.faults.push(
        `writer ${writer.id}: put ${counter}, acknowledged at ${revision}, found at ${found.get(counter)}`,
      );
    }
    for (const [counter, revision] of found) {
      if (writer.singles.has(counter)) continue;
      if (!writer.unknown.has(counter)) this.faults.push(`writer ${writer.id}: put ${counter}, never sent, is there`);
      // It happened, so from now on it has to stay.
      writer.singles.set(counter, revision);
    }
  }
}
