/**
 * A lease has one place in a queue, whoever takes it. So those who share a lease within a process take turns here before
 * they stand in the queue: two callers of `acquire` with one lease are two, as they would be with a lease each.
 */
import { type Key, keyFromBytes } from '@etsd/base';
import type { Client } from '../core.ts';
import type { HeldLease } from '../lease.ts';
import { unlessAborted } from './persist.ts';

/** By client and lease: the key's last caller, as a promise of its end. */
const LAST = new WeakMap<Client, WeakMap<HeldLease, Map<Key, Promise<void>>>>();

/** Resolves when all who came before are done, with what to call at one's own end. */
export async function waitForLocalTurn(
  client: Client,
  lease: HeldLease,
  at: Buffer,
  signal: AbortSignal,
): Promise<() => void> {
  const keys = keysOf(client, lease);
  const key = keyFromBytes(at);
  const before = keys.get(key);
  let end: () => void = () => {};
  const ending = new Promise<void>((resolve) => {
    end = resolve;
  });
  const last = (before ?? Promise.resolve()).then(() => ending);
  keys.set(key, last);
  const free = (): void => {
    end();
    if (keys.get(key) === last) keys.delete(key);
  };
  if (before === undefined) return free;
  try {
    await unlessAborted(before, signal);
  } catch (error) {
    // Those behind wait for those before, as soon as we are gone.
    end();
    void last.then(free);
    throw error;
  }
  return free;
}

/** Whether somebody in this process holds or waits with this lease. */
export function isTakenLocally(client: Client, lease: HeldLease, at: Buffer): boolean {
  return keysOf(client, lease).has(keyFromBytes(at));
}

function keysOf(client: Client, lease: HeldLease): Map<Key, Promise<void>> {
  const leases = LAST.get(client) ?? new WeakMap<HeldLease, Map<Key, Promise<void>>>();
  LAST.set(client, leases);
  const keys = leases.get(lease) ?? new Map<Key, Promise<void>>();
  leases.set(lease, keys);
  return keys;
}
