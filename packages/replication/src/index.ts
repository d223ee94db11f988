export type { Applier, RequestKeyOf, SnapshotInstaller, Waiter } from './applier.ts';
export * from './founding.ts';
export { EntryTimes, type EntryWatcher, LogTimes } from './log-times.ts';
export { type LeadershipListener, ReplicationNode } from './node.ts';
export type { ReplicationOptions } from './options.ts';
export { PassingApplier } from './passing-applier.ts';
export type { TlsDial } from './peers/http-client.ts';
export {
  HttpTransport,
  type HttpTransportOptions,
  type PeerHost,
  type RequestCallback,
} from './peers/http-transport.ts';
export { type Distribution, LinkCounters } from './peers/link-counters.ts';
export { type PeerAddress, parsePeerUrl } from './peers/peer-urls.ts';
export type { OutgoingSnapshot, SnapshotSink, SnapshotSource } from './peers/snapshot-transfer.ts';
export type { Transport } from './peers/transport.ts';
export { type RequestId, RequestIds, requestKeysOf } from './request-ids.ts';
