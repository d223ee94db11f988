/** What stands between clients and the API of one member: limits, lanes, the audit log; and what all this shows of itself. */
import { errorFrom, type Logger, OperatorError } from '@etsd/base';
import type { World } from '@etsd/runtime';
import type { Access, Guard } from '../access.ts';
import { AuditBuffer, type AuditSink } from '../audit/audit-buffer.ts';
import { AuditLog } from '../audit/audit-log.ts';
import { FileSink } from '../audit/file-sink.ts';
import { SocketSink } from '../audit/socket-sink.ts';
import type { AuditConfig, GuardConfig } from '../config/guard-config.ts';
import type { MetricRegistry } from '../metrics.ts';
import type { Abuse } from './abuse.ts';
import { Admission, WAITING_LANES } from './admission.ts';
import { LoginGuard } from './login-guard.ts';
import { RateLimits } from './rates.ts';

/** Opens the place of the audit log: what is wrong with it is told before anything is made on disk. */
export async function openAuditSink(world: World, audit: AuditConfig | null): Promise<AuditSink | null> {
  if (audit === null) return null;
  const { place, rotation } = audit;
  if ('address' in place) return new SocketSink(world.network, place.address);
  try {
    return await FileSink.open({ disk: world.disk, clock: world.clock, path: place.file, rotation });
  } catch (error) {
    throw new OperatorError(
      `--audit-log ${place.file}: ${errorFrom(error).message}`,
      'Make the directory, and let this process write there.',
    );
  }
}

export interface MemberGuardParts {
  readonly world: World;
  readonly logger: Logger;
  readonly config: GuardConfig;
  readonly access: Access;
  readonly auditSink: AuditSink | null;
  readonly abuse: Abuse;
  readonly memberId: string;
  readonly pendingProposals: () => number;
  readonly revision: () => number;
}

export class MemberGuard {
  /** Null where wrong passwords are of no consequence. */
  readonly logins: LoginGuard | null;
  /** For the handlers, the innermost first. */
  readonly guards: readonly Guard[];
  readonly audit: AuditLog | null;
  private readonly abuse: Abuse;
  private readonly admission: Admission | null;
  private readonly buffer: AuditBuffer | null;

  constructor(parts: MemberGuardParts) {
    const { world, logger, config, access, abuse, auditSink } = parts;
    this.abuse = abuse;
    this.logins = config.loginGuard ? new LoginGuard(world.clock, abuse) : null;
    const { maxInflightBytes: inflightBytesMax, requestRate } = config;
    const { pendingProposals } = parts;
    const { priorityLanes: lanes } = config;
    const isNeeded = lanes || inflightBytesMax > 0;
    const admission = { world, abuse, pendingProposals, inflightBytesMax, lanes };
    this.admission = isNeeded ? new Admission(admission) : null;
    const rates = requestRate === null ? null : new RateLimits(requestRate, { clock: world.clock, access, abuse });
    this.buffer = auditSink === null ? null : new AuditBuffer(world, logger, auditSink);
    this.audit = this.buffer === null ? null : this.auditLog(parts, this.buffer);
    this.guards = [this.admission, rates, this.audit].filter((guard) => guard !== null);
  }

  private auditLog({ world, config, access, memberId, revision }: MemberGuardParts, buffer: AuditBuffer): AuditLog {
    const { level, keys, strict } = config.audit as AuditConfig;
    return new AuditLog({ world, access, buffer, member: memberId, level, keys, strict, revision });
  }

  attachMetrics(registry: MetricRegistry, connections: () => number): void {
    const { abuse, admission, audit, buffer, logins } = this;
    registry.labelled('counter', 'etsd_abuse_total', 'What was refused because no client should do it.', () =>
      abuse.totals(),
    );
    registry.value('gauge', 'etsd_client_connections', 'Connections of clients open now.', connections);
    if (admission !== null) {
      const byLane = (counts: readonly number[]) => () =>
        new Map(WAITING_LANES.map((lane, place) => [`lane="${lane}"`, counts[place] as number]));
      registry.labelled(
        'counter',
        'etsd_requests_deferred_total',
        'Requests that waited for a quieter turn.',
        byLane(admission.deferred),
      );
      registry.labelled(
        'counter',
        'etsd_requests_refused_total',
        'Requests refused because too many waited.',
        byLane(admission.refused),
      );
      registry.value(
        'gauge',
        'etsd_requests_waiting',
        'Requests waiting for a quieter turn.',
        () => admission.waitingCount,
      );
      registry.value(
        'gauge',
        'etsd_requests_inflight_bytes',
        'Bytes of requests being served.',
        () => admission.inflightBytes,
      );
    }
    if (logins !== null) {
      registry.value(
        'counter',
        'etsd_logins_failed_total',
        'Logins with a wrong name or password.',
        () => logins.failed,
      );
      registry.value(
        'counter',
        'etsd_logins_unheard_total',
        'Logins refused unheard after others that failed.',
        () => logins.refused,
      );
    }
    if (audit === null || buffer === null) return;
    registry.value('counter', 'etsd_audit_lines_total', 'Lines written to the audit log.', () => buffer.written);
    registry.value('counter', 'etsd_audit_dropped_total', 'Lines lost to the audit log.', () => buffer.dropped);
    registry.value(
      'counter',
      'etsd_audit_refused_total',
      'Requests refused for want of an audit log.',
      () => audit.refused,
    );
  }

  async stop(): Promise<void> {
    this.admission?.stop();
    await this.buffer?.stop();
  }
}
