/** What both entries of the package have in common. */
export type { U64 } from '@etsd/base';
export { EtcdError, type Event, EventType, GrpcCode, type KeyValue } from '@etsd/proto';
export { Auth } from './auth.ts';
export { Cluster } from './cluster.ts';
export { bytes, type Codec, json, text } from './codec.ts';
export { Client } from './core.ts';
export type { EndpointState } from './endpoints.ts';
export {
  CanceledError,
  DecodeError,
  isError,
  LeaseLostError,
  TimeoutError,
  UnavailableError,
  WatchCanceledError,
} from './errors.ts';
export type { CallInfo, Interceptor } from './intercept.ts';
export { type Bytes, between, from, type KeyRange, prefix } from './keys.ts';
export { type GetOptions, Kv, type ListOptions, type PutOptions } from './kv.ts';
export { HeldLease, Leases } from './lease.ts';
export { Maintenance } from './maintenance.ts';
export type { CallOptions, ClientOptions } from './options.ts';
export { campaign, Leadership, leader, observe } from './recipes/election.ts';
export { LostError } from './recipes/errors.ts';
export { acquire, HeldLock, tryAcquire, withLock } from './recipes/lock.ts';
export type { OpenTelemetry } from './telemetry.ts';
export { get, key, type Operation, type Outcome, put, remove, Transaction } from './txn.ts';
export { type Change, type Entry, Typed, type TypedConditions, TypedWatcher } from './typed.ts';
export { Watcher, type WatchOptions } from './watch.ts';
