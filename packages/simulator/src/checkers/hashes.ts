import type { HashRecord, Violation } from './history.ts';

/** Members with the same revision and the same compaction have the same hash. */
export function checkHashes(hashes: readonly HashRecord[]): Violation[] {
  const violations: Violation[] = [];
  const first = new Map<string, HashRecord>();
  for (const hash of hashes) {
    const key = `${hash.revision} ${hash.compactRevision}`;
    const other = first.get(key);
    if (other === undefined) first.set(key, hash);
    else if (other.hash !== hash.hash) {
      violations.push({
        rule: 'equal hashes',
        text: `revision ${hash.revision} compacted at ${hash.compactRevision}: ${other.member} ${other.hash}, ${hash.member} ${hash.hash}`,
      });
    }
  }
  return violations;
}
