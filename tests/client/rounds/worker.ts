/** One program of several: watches everything three times over, writes, and works under a lock that all of them want. */
import { setTimeout as pause } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { acquire, EtcdClient, from, type HeldLease, type HeldLock, LeaseLostError, put } from '@etsd/client';
import { Board, machineMs, type Order, type Report, Slot, type WorkerStart } from './shared.ts';

const start = workerData as WorkerStart;
const { index, ttlSeconds } = start;
const board = new Board(start.workers, start.memory);
let isOver = false;

function say(report: Report): void {
  parentPort?.postMessage(report);
}

function violated(what: string): void {
  say({ violation: `worker ${index}: ${what}` });
}

const client = new EtcdClient({
  endpoints: start.endpoints,
  timeoutMs: 4000,
  dialTimeoutMs: 1000,
  keepaliveMs: 1000,
  keepaliveTimeoutMs: 1000,
});

// ── watches: every revision of the store once, in order, and whole ────────────────────────────────────────────────────

/** So many keys are written together by one transaction. */
const GROUP = 3;
const positions: number[] = [];

class Witness {
  private readonly name: string;
  private readonly slot: number;
  private next = start.startRevision;
  private owners = 0;

  constructor(name: string) {
    this.name = name;
    this.slot = positions.push(this.next) - 1;
  }

  /** Watches from where it is until `stop`, or for good. */
  async watch(options: { prevKv: boolean; pauseMs: number; events: number }): Promise<void> {
    while (!isOver) {
      await using watch = client.watch(from(''), { startRevision: this.next, prevKv: options.prevKv });
      let left = options.events;
      for await (const { events } of watch) {
        if (events.length === 0) continue;
        this.judge(events.map(({ kv }) => ({ key: `${kv?.key}`, value: `${kv?.value}`, at: kv?.modRevision ?? 0 })));
        positions[this.slot] = this.next;
        board.set(index, Slot.WATCHED, Math.min(...positions));
        left -= events.length;
        if (isOver || left <= 0) break;
        if (options.pauseMs > 0) await pause(options.pauseMs);
      }
      if (watch.resumeRevision < this.next)
        violated(`${this.name}: would go on at ${watch.resumeRevision}, is at ${this.next}`);
    }
  }

  private judge(events: readonly { key: string; value: string; at: number }[]): void {
    let group = 0;
    for (const [place, { key, value, at }] of events.entries()) {
      const isSame = place > 0 && at === events[place - 1]?.at;
      if (isSame ? at !== this.next - 1 : at !== this.next) {
        violated(`${this.name}: revision ${at} where ${this.next} was due`);
      }
      this.next = at + 1;
      group = isSame ? group + 1 : 1;
      const isLast = events[place + 1]?.at !== at;
      if (isLast && key.startsWith('group/') && group !== GROUP) {
        violated(`${this.name}: revision ${at} has ${group} events of ${GROUP}`);
      }
      if (key !== 'owner') continue;
      const owner = Number(value);
      if (owner < this.owners) violated(`${this.name}: owner ${owner} wrote after owner ${this.owners}`);
      this.owners = owner;
    }
  }
}

// ── writes ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const WRITE_PAUSE_MS = 20;

async function write(): Promise<void> {
  for (let i = 0; !isOver; i++) {
    try {
      if (i % 5 === 0) {
        const group = Array.from({ length: GROUP }, (_unused, place) => put(`group/${index}/${place}`, `${i}`));
        await client.kv
          .transaction()
          .do(...group)
          .commit();
      } else await client.kv.put(`write/${index}/${i % 100}`, `${i}`);
      board.add(index, Slot.WRITES);
    } catch {
      // Whether it happened is for the watches to show.
    }
    await pause(WRITE_PAUSE_MS);
  }
}

// ── the lock ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const STEPS = 5;
const STEP_PAUSE_MS = 20;

/** A few writes under the lock, while it is ours by the client's word. */
async function work(lock: HeldLock, lease: HeldLease): Promise<void> {
  try {
    for (let step = 0; step < STEPS && lease.isAlive; step++) {
      // First say until when, then look at the others: of two that overlap one at least sees the other.
      board.set(index, Slot.HELD_UNTIL_MS, machineMs() + lease.remainingMs);
      for (let other = 0; other < start.workers; other++) {
        const theirsMs = other === index ? 0 : board.get(other, Slot.HELD_UNTIL_MS);
        if (theirsMs > machineMs())
          violated(`the lock is held by worker ${other} as well, for ${(theirsMs - machineMs()).toFixed(0)} ms`);
      }
      await client.kv
        .transaction()
        .if(lock.held)
        .do(put('owner', `${lock.revision}`))
        .commit();
      await pause(STEP_PAUSE_MS);
    }
  } finally {
    // Before anything is given back, whatever ended the work.
    board.set(index, Slot.HELD_UNTIL_MS, 0);
  }
}

async function own(): Promise<void> {
  while (!isOver) {
    try {
      await using lease = await client.leases.hold(ttlSeconds);
      lease.signal.addEventListener('abort', () => {
        const reason: unknown = lease.signal.reason;
        if (reason instanceof LeaseLostError && reason.why === 'stalled') board.add(index, Slot.STALLED);
      });
      await using lock = await acquire(client, 'lock', lease);
      await work(lock, lease);
      board.add(index, Slot.TENURES);
    } catch {
      // A fault met it: the lease is lost or cannot be had now.
      await pause(STEP_PAUSE_MS);
    }
  }
}

parentPort?.on('message', (order: Order) => {
  if (order === 'end') isOver = true;
  // Nothing of this program runs meanwhile, no timer and no answer.
  else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, order.blockMs);
});

const witnesses = [
  new Witness('watch').watch({ prevKv: false, pauseMs: 0, events: Number.POSITIVE_INFINITY }),
  new Witness('slow watch').watch({ prevKv: true, pauseMs: 1, events: Number.POSITIVE_INFINITY }),
  new Witness('watch begun again').watch({ prevKv: false, pauseMs: 0, events: 200 }),
];
for (const witness of witnesses) {
  witness.catch((error: unknown) => {
    if (!isOver) violated(`a watch ended: ${error}`);
  });
}
await Promise.all([write(), own()]);
await client.close();
say('ended');
