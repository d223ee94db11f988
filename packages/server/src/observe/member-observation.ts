/** What watches over the requests of one member, and what it has to show. */
import { type Logger, type U64, u64ToHex } from '@etsd/base';
import type { Store } from '@etsd/mvcc';
import type { ReplicationNode } from '@etsd/replication';
import type { World } from '@etsd/runtime';
import type { Access, Guard } from '../access.ts';
import type { ObserveConfig } from '../config/observe-config.ts';
import type { MetricRegistry } from '../metrics.ts';
import { PrefixTally } from '../space/prefix-tally.ts';
import { SpanExporter } from '../tracing/span-exporter.ts';
import { Tracer } from '../tracing/tracer.ts';
import { UsageMeter } from '../usage/usage-meter.ts';
import { ETSD_VERSION } from '../version.ts';
import { Observer } from './observer.ts';
import { SlowLog } from './slow-log.ts';

/** Prefixes among the metrics. */
const PREFIXES_SHOWN = 10;

export interface ObservationParts {
  readonly world: World;
  readonly logger: Logger;
  readonly config: ObserveConfig;
  readonly memberId: U64;
  readonly replication: ReplicationNode;
  readonly store: Store;
  readonly access: Access;
}

export class MemberObservation {
  readonly usage: UsageMeter;
  readonly tally: PrefixTally;
  /** Null where nothing is traced. */
  readonly tracer: Tracer | null;
  private readonly parts: ObservationParts;
  private readonly slow: SlowLog;
  private readonly observer: Observer;

  constructor(parts: ObservationParts) {
    const { access, config, logger, replication, store, world } = parts;
    this.parts = parts;
    this.usage = new UsageMeter(world, access);
    this.slow = new SlowLog(logger);
    this.tracer = this.openTracer();
    if (this.tracer !== null) replication.watchEntries(this.tracer);
    this.tally = new PrefixTally({
      store,
      after: (ms, callback) => world.timers.after(ms, callback, { ref: false }),
      nowMs: () => world.clock.nowMs(),
    });
    this.observer = new Observer({
      world,
      usage: this.usage,
      slow: this.slow,
      slowMs: config.slowMs,
      tracer: this.tracer,
      times: replication.times,
      isLeader: () => replication.isLeader,
    });
  }

  private openTracer(): Tracer | null {
    const { config, logger, memberId, replication, world } = this.parts;
    const { tracing } = config;
    if (tracing === null) return null;
    const exporter = new SpanExporter({
      world,
      every: (ms, callback) => world.timers.every(ms, callback, { ref: false }),
      logger,
      host: tracing.host,
      port: tracing.port,
      resource: {
        'service.name': tracing.serviceName,
        ...(tracing.instanceId === '' ? {} : { 'service.instance.id': tracing.instanceId }),
      },
      version: ETSD_VERSION,
    });
    return new Tracer({
      random: world.random,
      exporter,
      rate: tracing.rate,
      memberId: u64ToHex(memberId),
      times: replication.times,
      isLeader: () => replication.isLeader,
    });
  }

  /** `between`: what else stands before the handlers, the innermost first. */
  guards(between: readonly Guard[]): Guard[] {
    return [this.observer.proposing, ...between, this.observer];
  }

  attachMetrics(registry: MetricRegistry): void {
    const { slow, tally, tracer } = this;
    const { auth } = this.parts.access;
    registry.value(
      'counter',
      'etsd_slow_requests_total',
      'Requests that took longer than --warning-apply-duration.',
      () => slow.total,
    );
    registry.value(
      'gauge',
      'etsd_keys_bytes',
      'Bytes of all keys with their values, without history.',
      () => tally.bytes,
    );
    // Names of keys are not everybody's to know where there are users.
    const shares = (): ReturnType<PrefixTally['largest']> => (auth.enabled ? [] : tally.largest(PREFIXES_SHOWN));
    const byPrefix = (figure: 'keys' | 'bytes') => () =>
      new Map(shares().map((share) => [`prefix="${quoted(share.prefix)}"`, share[figure]] as const));
    const largest = 'below the largest prefixes, without history; none while authentication is on.';
    registry.labelled('gauge', 'etsd_prefix_keys', `Keys ${largest}`, byPrefix('keys'));
    registry.labelled('gauge', 'etsd_prefix_bytes', `Bytes ${largest}`, byPrefix('bytes'));
    if (tracer === null) return;
    const { exporter } = tracer;
    registry.value('counter', 'etsd_trace_spans_sent_total', 'Spans the collector took.', () => exporter.sent);
    registry.value('counter', 'etsd_trace_spans_dropped_total', 'Spans lost on the way.', () => exporter.dropped);
  }

  start(): void {
    this.tally.start();
  }

  stop(): void {
    this.tally.stop();
    this.tracer?.stop();
  }
}

/** As the format of the page wants it within quotes. */
function quoted(text: string): string {
  return text.replace(/["\\\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}
