/**
 * The keys of etcd 2 in a data directory of etcd: they are in no file of its store, but in that of its last snapshot, as
 * they were then, and in the entries of the log behind it.
 */
import type { Backend } from '@etsd/backend';
import { EMPTY, U64_ZERO } from '@etsd/base';
import {
  ConfChange,
  ConfChangeType,
  type Entry,
  EntryType,
  RaftRequestField,
  RaftRequestView,
  V2Request,
} from '@etsd/proto';
import { type Disk, joinPath } from '@etsd/runtime';
import { KEYS_ROOT, putKeysFromSnapshot, V2Store } from '@etsd/state';
import { decodeSnapshotFile, type LogPosition, snapshotName } from '@etsd/wal';

export interface KeysSource {
  readonly disk: Disk;
  readonly snapDirectory: string;
  /** Of the snapshot; index 0 where there is none. */
  readonly start: LogPosition;
  /** Behind it. */
  readonly entries: readonly Entry[];
}

/** Puts the keys into a store that contains the log up to `index`. */
export async function putKeysOfEtcd(backend: Backend, source: KeysSource, index: number): Promise<void> {
  const { disk, snapDirectory, start, entries } = source;
  let data: Buffer = EMPTY;
  if (start.index > 0) {
    const path = joinPath(snapDirectory, snapshotName(start));
    if ((await disk.stat(path)) !== null) data = decodeSnapshotFile(await disk.readFile(path), path).data;
  }
  putKeysFromSnapshot(backend, data);
  const keys = new V2Store(backend, () => 0);
  for (const entry of entries) if (entry.index <= index) applyToKeys(keys, entry);
}

/** What an entry does to the tree, where others only make a change that no client sees. */
function applyToKeys(keys: V2Store, { type, data }: Entry): void {
  if (data.length === 0) return;
  if (type === EntryType.EntryConfChange) {
    const { type: kind, nodeId } = ConfChange.decode(data);
    if (nodeId !== null && nodeId !== U64_ZERO) keys.skip(kind === ConfChangeType.ConfChangeRemoveNode ? 2 : 1);
    return;
  }
  if (type !== EntryType.EntryNormal) return;
  const view = new RaftRequestView();
  view.parse(data);
  const { field, bodyStart, bodyEnd } = view;
  if (field === RaftRequestField.ClusterVersionSet || field === RaftRequestField.ClusterMemberAttrSet) keys.skip(1);
  if (field !== RaftRequestField.V2) return;
  const request = V2Request.decode(data, bodyStart, bodyEnd);
  const { method, path } = request;
  if (method === 'SYNC') keys.sync(request);
  else if (path.startsWith(`${KEYS_ROOT}/`)) keys.apply(request, path.slice(KEYS_ROOT.length));
  else if (method === 'PUT') keys.skip(1);
}
