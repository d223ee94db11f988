import type { MetricRegistry } from '../metrics.ts';

/** What an operator has to know of the archive: how old it is, and whether anything is missing. */
export class ArchiveMetrics {
  /** Times by the wall clock in seconds; 0: never. */
  lastSuccessSeconds = 0;
  lastBaseSeconds = 0;
  failures = 0;
  gaps = 0;
  /** Written, packed. */
  bytes = 0;
  /** Of the log, not archived yet. */
  pendingBytes = 0;
  sendFailures = 0;
  unsent = 0;

  constructor(registry: MetricRegistry) {
    const gauge = (name: string, help: string, read: () => number): void => registry.value('gauge', name, help, read);
    const counter = (name: string, help: string, read: () => number): void =>
      registry.value('counter', name, help, read);
    gauge(
      'etsd_archive_last_success_timestamp_seconds',
      'When everything there was to archive had been archived.',
      () => this.lastSuccessSeconds,
    );
    gauge('etsd_archive_last_base_timestamp_seconds', 'When the store was last copied into the archive.', () => {
      return this.lastBaseSeconds;
    });
    gauge('etsd_archive_pending_bytes', 'Bytes of the log that are not archived yet.', () => this.pendingBytes);
    gauge('etsd_archive_unsent_objects', 'Objects that the command has not stored yet.', () => this.unsent);
    counter('etsd_archive_bytes_total', 'Bytes written into the archive.', () => this.bytes);
    counter('etsd_archive_failures_total', 'Attempts to archive that failed.', () => this.failures);
    counter('etsd_archive_gaps_total', 'Stretches of the log that were lost to the archive.', () => this.gaps);
    counter('etsd_archive_command_failures_total', 'Calls of the command that failed.', () => this.sendFailures);
  }
}
