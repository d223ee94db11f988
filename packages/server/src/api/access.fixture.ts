import { MemoryBackend } from '@etsd/backend';
import { AuthStore } from '@etsd/state';
import { Access } from '../access.ts';
import { SimpleTokens } from '../tokens.ts';
import type { FakeWorld } from './surroundings.fixture.ts';

/** Access to a member whose authentication stays off. */
export function openAccess(world: FakeWorld): Access {
  return new Access({
    world,
    auth: new AuthStore(new MemoryBackend()),
    tokens: new SimpleTokens({ ...world, ttlMs: 300_000 }),
    lessor: { keysOf: () => [], leases: new Map() },
    clientCertAuth: false,
    appliedIndex: () => 0,
    waitMs: 7000,
  });
}
