export { EtcdError, type Event, EventType, GrpcCode, type KeyValue } from '@etsd/proto';
export { Auth } from './auth.ts';
export { EtcdClient } from './client.ts';
export { Cluster } from './cluster.ts';
export { type Endpoint, parseEndpoint } from './endpoints.ts';
export {
  CanceledError,
  isError,
  TimeoutError,
  UnavailableError,
  WatchCanceledError,
} from './errors.ts';
export { type Bytes, between, from, type KeyRange, prefix } from './keys.ts';
export { type GetOptions, Kv, type ListOptions, type PutOptions } from './kv.ts';
export { HeldLease, Leases } from './lease.ts';
export { Maintenance } from './maintenance.ts';
export type { CallOptions, ClientOptions } from './options.ts';
export { campaign, Leadership, leader, observe } from './recipes/election.ts';
export { acquire, HeldLock } from './recipes/lock.ts';
export { get, key, type Operation, type Outcome, put, remove, Transaction } from './txn.ts';
export { Watcher, type WatchOptions } from './watch.ts';
