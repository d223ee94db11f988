/** Reading the data directories of stopped members, and telling what is in them. */
import { LmdbReader } from '@etsd/backend/lmdb';
import { u64ToHex } from '@etsd/base';
import { type Inspection, inspectDirectory } from '@etsd/server/files';
import { jsonObject, jsonText } from '../ctl/go-json.ts';
import { world } from './files.ts';

export function inspect(dataDir: string, walDir: string, keepEntries = false): Promise<Inspection> {
  return inspectDirectory({
    disk: world.disk,
    dataDir,
    walDir,
    keepEntries,
    pause: () => new Promise((resolve) => world.timers.endOfTurn(resolve)),
    openReader: (path) => new LmdbReader(path),
  });
}

/** What is in the directory, in lines. */
export function describeDirectory(inspection: Inspection): string[] {
  const { dataDir, memberId, clusterId, name, log, store, product } = inspection;
  const who =
    memberId === null ? 'a member nobody knows' : `member ${u64ToHex(memberId)}${name === '' ? '' : ` (${name})`}`;
  const lines = [`${dataDir}: ${product}, ${who}${clusterId === null ? '' : ` of cluster ${u64ToHex(clusterId)}`}`];
  if (log !== null) {
    const { hardState, ranges, base, segments } = log;
    const shown = ranges.map(({ first, last }) => `${first}-${last}`).join(', ') || 'no entries';
    lines.push(
      `  log    term ${hardState.term}, commit ${hardState.commit}, entries ${shown}, cut at ${base?.index ?? 0}, ${segments.length} files`,
    );
  }
  if (store !== null) {
    const { state, revision, compactRevision } = store;
    const compacted = compactRevision > 0 ? `, compacted up to ${compactRevision}` : '';
    lines.push(
      `  store  applied up to entry ${state.index}, revision ${revision}${compacted}, ${state.members.length} members`,
    );
  }
  return lines;
}

/** The same for programs. */
export function inspectionJson(inspection: Inspection): string {
  const { dataDir, memberId, clusterId, name, log, store, product, reach } = inspection;
  return jsonObject({
    directory: jsonText(dataDir),
    product: jsonText(product),
    memberID: memberId === null ? null : jsonText(u64ToHex(memberId)),
    clusterID: clusterId === null ? null : jsonText(u64ToHex(clusterId)),
    name: jsonText(name),
    term: log === null ? null : String(log.hardState.term),
    commit: log === null ? null : String(log.hardState.commit),
    entries: log === null ? null : `[${log.ranges.map(({ first, last }) => `[${first},${last}]`).join(',')}]`,
    appliedIndex: store === null ? null : String(store.state.index),
    revision: store === null ? null : String(store.revision),
    reach: jsonObject({ index: String(reach.index), term: String(reach.term) }),
  });
}
