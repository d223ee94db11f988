import type { BaseManifest, Manifest } from './manifest.ts';

/**
 * What of a chain is not needed to restore any moment since `cutoffMs`: everything before the last base that is older
 * than that. Where there is no such base everything is needed, since the oldest one is the first moment that there is.
 */
export function outdated(manifests: readonly Manifest[], cutoffMs: number): Manifest[] {
  let kept: BaseManifest | null = null;
  for (const each of manifests) {
    if (each.kind !== 'base' || each.at.timeMs > cutoffMs) continue;
    if (kept === null || each.at.index > kept.at.index) kept = each;
  }
  if (kept === null) return [];
  const { index } = kept.at;
  const first = firstSequence(manifests, index);
  return manifests
    .filter((each) => (each.kind === 'base' ? each.at.index < index : each.sequence < first))
    .sort((a, b) => a.serial - b.serial);
}

/** The segment in which what follows an entry begins. */
function firstSequence(manifests: readonly Manifest[], index: number): number {
  let first = 0;
  for (const each of manifests) {
    if (each.kind === 'piece' && each.index <= index + 1) first = Math.max(first, each.sequence);
  }
  return first;
}
