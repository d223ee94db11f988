/** A holder that stands still: a thread that takes a lock, sleeps until it is woken, and goes on as if nothing had been. */
import { parentPort, workerData } from 'node:worker_threads';
import { EtcdClient, put } from '@etsd/client';
import { acquire, LostError } from '@etsd/client/recipes';

/** What it is given: where to go, what to hold for how long, and the word that wakes it. */
export interface PausedHolderData {
  readonly address: string;
  readonly name: string;
  readonly ttlSeconds: number;
  readonly wake: Int32Array;
}

/** What it tells afterwards. */
export interface PausedHolderReport {
  readonly revision: number;
  /** By the first look after it woke, before any timer had its turn. */
  readonly isHeld: boolean;
  readonly isAborted: boolean;
  /** Whether the guarded write was refused, and the one that only the store judges. */
  readonly isRefused: boolean;
  readonly isRefusedByStore: boolean;
}

const { address, name, ttlSeconds, wake } = workerData as PausedHolderData;
const client = new EtcdClient({ endpoints: address });
const lease = await client.leases.hold(ttlSeconds);
const lock = await acquire(client, `${name}lock`, lease);
await lock.write(put(`${name}x`, 'by the holder'));
parentPort?.postMessage('held');
// Nothing runs here meanwhile: no timer, no keep-alive.
Atomics.wait(wake, 0, 0);
const isHeld = lock.isHeld;
const isAborted = lock.signal.aborted;
const isRefused = await lock.write(put(`${name}x`, 'too late')).then(
  () => false,
  (error: unknown) => error instanceof LostError,
);
const { succeeded } = await lock
  .transaction()
  .do(put(`${name}x`, 'too late'))
  .commit();
const report: PausedHolderReport = {
  revision: lock.revision,
  isHeld,
  isAborted,
  isRefused,
  isRefusedByStore: !succeeded,
};
parentPort?.postMessage(report);
await lock.release();
await lease.abandon();
await client.close();
