/**
 * What a million leases cost: memory, promotion (its longest slice), renewals, revokes, listing. Run with
 * `node --expose-gc packages/server/src/duties/lease-expiry.bench.ts [leases]`.
 */
import { type U64, u64FromNumber } from '@etsd/base';
import { LeaseGrantRequest, LeaseRevokeRequest } from '@etsd/proto';
import { Lessor } from '@etsd/state';
import { LeaseList } from '../api/lease-list.ts';
import { FakeReplication, FakeWorld } from '../api/surroundings.fixture.ts';
import { NOBODY } from '../tokens.ts';
import { LeaseExpiry } from './lease-expiry.ts';

const count = Number(process.argv[2] ?? 1_000_000);

function ms(from: bigint): number {
  return Number(process.hrtime.bigint() - from) / 1e6;
}

function report(name: string, value: number, unit: string): void {
  console.log(`${name}: ${value.toFixed(3)} ${unit}`);
}

const world = new FakeWorld();
const replication = new FakeReplication();
const store = { revision: 1, begin: (): void => {}, deleteRange: () => 1, end: () => 2 };
const backend = { put: (): void => {}, delete: (): void => {}, scan: (): void => {} };
const lessor = new Lessor({ store, backend, ttlMinSeconds: 2 });
const expiry = new LeaseExpiry({
  world,
  replication,
  lessor,
  electionMs: 1000,
  revokesPerSecond: 1000,
  checkpointIntervalMs: 300_000,
  asRoot: () => NOBODY,
});

/** Runs the turns that follow and returns the longest, in milliseconds. */
let longest = 0;
const endOfTurn = world.timers.endOfTurn;
world.timers.endOfTurn = (fn) =>
  endOfTurn(() => {
    const start = process.hrtime.bigint();
    fn();
    longest = Math.max(longest, ms(start));
  });

globalThis.gc?.();
const heapBefore = process.memoryUsage().heapUsed;
let start = process.hrtime.bigint();
for (let id = 1; id <= count; id++) {
  lessor.applyGrant(LeaseGrantRequest.create({ ID: u64FromNumber(id), TTL: 60 + (id % 600) }), null);
}
report('grant', (ms(start) * 1000) / count, 'µs each');
globalThis.gc?.();
report('memory', (process.memoryUsage().heapUsed - heapBefore) / count, 'bytes a lease');

start = process.hrtime.bigint();
expiry.promote();
report('promotion, first slice', ms(start), 'ms');
start = process.hrtime.bigint();
world.endTurns();
report('promotion, the rest', ms(start), 'ms');
report('promotion, longest slice', longest, 'ms');

const ids: U64[] = [...lessor.leases.keys()];
const waiter = { renewed: (): void => {}, failed: (): void => {} };
const renewals = 200_000;
start = process.hrtime.bigint();
for (let round = 0; round < renewals; round++) {
  expiry.renew(ids[(round * 7919) % count] as U64, waiter);
  if (round % 100 === 99) world.endTurns();
}
world.endTurns();
report('renewal', (ms(start) * 1000) / renewals, 'µs each');

longest = 0;
start = process.hrtime.bigint();
new LeaseList(world, lessor.leases.values(), expiry.orderOf, (_chunks, bytes) =>
  report('listing', bytes / 1e6, 'MB'),
).step();
world.endTurns();
report('listing, altogether', ms(start), 'ms');
report('listing, longest slice', longest, 'ms');

start = process.hrtime.bigint();
const revokes = 100_000;
for (let id = 1; id <= revokes; id++) {
  lessor.applyRevoke(LeaseRevokeRequest.create({ ID: u64FromNumber(id) }), null);
}
report('revoke', (ms(start) * 1000) / revokes, 'µs each');
