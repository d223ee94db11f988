import { U64_ZERO } from '@etsd/base';
import type { EtcdError } from '@etsd/proto';
import { AlarmType } from '@etsd/proto';
import type { ReplicationNode } from '@etsd/replication';
import type { State } from '@etsd/state';
import { HealthFigures } from './http/health-figures.ts';
import type { HttpMember } from './http/routes.ts';
import type { MetricRegistry } from './metrics.ts';

const DISK_HANGS = 'the disk of the log hangs';

/** What the plain HTTP routes ask, answered from the parts of a member. */
export function httpMember(
  serverVersion: string,
  replication: ReplicationNode,
  state: State,
  quarantine: { readonly isAlarmed: boolean; readonly refusal: EtcdError | null },
  metrics: MetricRegistry,
): HttpMember {
  const figures = new HealthFigures();
  figures.attachMetrics(metrics);
  return {
    serverVersion,
    figures,
    clusterVersion: () => (state.version.version === '' ? undefined : state.version.version),
    hasLeader: () => replication.leader !== U64_ZERO,
    isLearner: () => replication.isLearner,
    alarms: () => [
      ...new Set([
        ...state.alarms.list(AlarmType.NONE).map(({ alarm }) => {
          if (alarm === AlarmType.NOSPACE) return 'NOSPACE';
          return alarm === AlarmType.CORRUPT ? 'CORRUPT' : 'UNKNOWN';
        }),
        ...(quarantine.isAlarmed ? ['CORRUPT'] : []),
      ]),
    ],
    probeRead: () =>
      new Promise((resolve) => {
        if (quarantine.refusal !== null) {
          resolve(quarantine.refusal.message);
          return;
        }
        // A member that is alone could still read, but it can promise nothing.
        if (replication.isDiskStalled) {
          resolve(DISK_HANGS);
          return;
        }
        replication.readBarrier({
          done: () => resolve(undefined),
          fail: (error: EtcdError) => resolve(error.message),
        });
      }),
    metricsPage: () => metrics.render(),
  };
}
