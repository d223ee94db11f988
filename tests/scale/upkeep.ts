import {
  CompactionRequest,
  DefragmentRequest,
  DeleteRangeRequest,
  DeleteRangeResponse,
  HashKVRequest,
  HashRequest,
  LeaseGrantRequest,
  LeaseGrantResponse,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
  TxnRequest,
} from '@etsd/proto';
import type { GrpcChannel } from '@etsd/rpc';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';
import { callMany, connect, keyOf, load, SteadyPuts } from './client.ts';
import { type Latencies, latenciesOf } from './large-range.ts';
import { MeasuredServer } from './measured-server.ts';
import type { ProbeReading } from './probe.ts';
import { readRange } from './range-reader.ts';

/** One piece of upkeep over a large store, with puts beside it. */
export interface UpkeepStep {
  readonly product: Product;
  readonly step: string;
  readonly seconds: number;
  readonly puts: Latencies;
  /** Of the event loop during it; null for etcd. */
  readonly probe: ProbeReading | null;
}

const KV = '/etcdserverpb.KV/';
const MAINTENANCE = '/etcdserverpb.Maintenance/';
const PREFIX = '/upkeep/';
const VALUE_BYTES = 256;
const PUTS_PER_SECOND = 200;
const TIMEOUT_MS = 120_000;
const LEASES_PER_SECOND = 1000;
const LEASE_SECONDS = 5;
const TXN_OPERATIONS = 128;

/**
 * Loads keys, writes all of them once more, and then does to them whatever takes long: reads them as one answer, hashes
 * them, compacts the first revisions, defragments, lets leases expire with their keys, deletes a tenth of the keys at
 * once and another tenth in one transaction.
 */
export async function upkeep(product: Product, keys: number, told: (step: UpkeepStep) => void): Promise<void> {
  const server = await MeasuredServer.start(product);
  const channel = connect(server.address);
  const step = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    await server.probe();
    const puts = new SteadyPuts(server.address, PUTS_PER_SECOND);
    const startedMs = performance.now();
    await work();
    const seconds = (performance.now() - startedMs) / 1000;
    const latencies = latenciesOf(await puts.stop());
    told({ product, step: name, seconds, puts: latencies, probe: await server.probe() });
  };
  const call = (path: string, request: Buffer): Promise<Buffer> =>
    channel.unary(path, request, { timeoutMs: TIMEOUT_MS });
  const tenth = Math.floor(keys / 10);
  try {
    await load(server.address, PREFIX, keys, VALUE_BYTES);
    await step('put all again', () => load(server.address, PREFIX, keys, VALUE_BYTES));
    await step('read all', () => readRange(server.address, PREFIX));
    await step('hashkv', () => call(`${MAINTENANCE}HashKV`, HashKVRequest.encode(new HashKVRequest())));
    await step('hash', () => call(`${MAINTENANCE}Hash`, HashRequest.encode(new HashRequest())));
    const revision = await revisionOf(channel);
    await step('compact', () =>
      call(`${KV}Compact`, CompactionRequest.encode(CompactionRequest.create({ revision, physical: true }))),
    );
    await step('defragment', () => call(`${MAINTENANCE}Defragment`, DefragmentRequest.encode(new DefragmentRequest())));
    await step('leases expire', () => expire(server.address, channel));
    await step('delete a tenth', () => deleteTenth(channel, 0, tenth));
    await step('delete a tenth in a transaction', () => deleteInTransaction(channel, tenth, tenth));
  } finally {
    channel.close();
    await server.dispose();
  }
}

async function revisionOf(channel: GrpcChannel): Promise<number> {
  const request = RangeRequest.encode(RangeRequest.create({ key: Buffer.from('none') }));
  const header = RangeResponse.decode(await channel.unary(`${KV}Range`, request)).header;
  return header?.revision ?? 0;
}

/** Leases that all end within a few seconds, each with a key. */
async function expire(address: string, channel: GrpcChannel): Promise<void> {
  const channels = [connect(address), connect(address)];
  const count = LEASES_PER_SECOND * LEASE_SECONDS;
  const ids: string[] = [];
  for (let at = 0; at < count; at += 100) {
    const grants = Array.from({ length: Math.min(100, count - at) }, () =>
      channel.unary(
        '/etcdserverpb.Lease/LeaseGrant',
        LeaseGrantRequest.encode(LeaseGrantRequest.create({ TTL: LEASE_SECONDS })),
      ),
    );
    for (const granted of await Promise.all(grants)) ids.push(LeaseGrantResponse.decode(granted).ID);
  }
  const value = Buffer.alloc(VALUE_BYTES, 'l');
  await callMany(channels, `${KV}Put`, count, 100, (number) =>
    PutRequest.encode(PutRequest.create({ key: keyOf('/leased/', number), value, lease: ids[number] as string })),
  );
  const request = RangeRequest.encode(
    RangeRequest.create({ key: Buffer.from('/leased/'), rangeEnd: Buffer.from('/leased0'), countOnly: true }),
  );
  await eventually(TIMEOUT_MS, 'all leases gone', async () => {
    const { count: left } = RangeResponse.decode(await channel.unary(`${KV}Range`, request));
    return left === 0 ? true : null;
  });
  for (const each of channels) each.close();
}

function rangeOf(from: number, to: number): DeleteRangeRequest {
  return DeleteRangeRequest.create({ key: keyOf(PREFIX, from), rangeEnd: keyOf(PREFIX, to) });
}

async function deleteTenth(channel: GrpcChannel, from: number, count: number): Promise<void> {
  const request = DeleteRangeRequest.encode(rangeOf(from, from + count));
  const answer = await channel.unary(`${KV}DeleteRange`, request, { timeoutMs: TIMEOUT_MS });
  const { deleted } = DeleteRangeResponse.decode(answer);
  if (deleted !== count) throw new Error(`${deleted} keys were deleted, not ${count}`);
}

async function deleteInTransaction(channel: GrpcChannel, from: number, count: number): Promise<void> {
  const success = Array.from({ length: TXN_OPERATIONS }, (_, i) => {
    const at = (share: number): number => from + Math.floor((count * share) / TXN_OPERATIONS);
    return RequestOp.create({ requestDeleteRange: rangeOf(at(i), at(i + 1)) });
  });
  await channel.unary(`${KV}Txn`, TxnRequest.encode(TxnRequest.create({ success })), { timeoutMs: TIMEOUT_MS });
}
