import type { MetricRegistry } from '../metrics.ts';
import type { SpaceWatch } from './space-watch.ts';

/** What the store takes of its quota, and where it goes. Prefixes are names of keys: not everybody's where there are users. */
export function attachSpaceMetrics(registry: MetricRegistry, space: SpaceWatch, tellsPrefixes: () => boolean): void {
  registry.value(
    'gauge',
    'etsd_quota_used_bytes',
    'Bytes that live data takes, history included: what the quota counts.',
    () => space.usedBytes,
  );
  registry.value('gauge', 'etsd_quota_used_ratio', 'The same as a part of the quota; 0 where there is none.', () => {
    const { usedBytes, quotaBytes } = space.usage();
    return usedBytes / quotaBytes;
  });
  registry.value(
    'gauge',
    'etsd_quota_warning_percent',
    'The highest mark that was reached: 0, 70, 85 or 95.',
    () => space.warning,
  );
  registry.value(
    'counter',
    'etsd_nospace_alarms_cleared_total',
    'NOSPACE alarms that this member has cleared by itself.',
    () => space.clearedTotal,
  );
  registry.labelled(
    'gauge',
    'etsd_largest_prefix_bytes',
    'Bytes below the largest prefixes, from a sample, when last looked: from 85 % of the quota on, while authentication is off.',
    () =>
      new Map(
        (tellsPrefixes() ? space.usage().largestPrefixes : []).map(
          ({ prefix, bytes }) => [`prefix="${escaped(prefix)}"`, bytes] as const,
        ),
      ),
  );
}

/** As the format of the page wants it within quotes. */
function escaped(text: string): string {
  return text.replace(/["\\\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}
