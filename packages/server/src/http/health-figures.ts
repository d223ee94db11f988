import type { MetricRegistry } from '../metrics.ts';

/** What came of the questions after the health of a member, and of reading its figures. */
export class HealthFigures {
  healthy = 0;
  unhealthy = 0;
  pages = 0;
  /** By check: the last outcome, and how many there were of each. */
  private readonly checks = new Map<string, { lastSucceeded: boolean; succeeded: number; failed: number }>();

  /** `set`: `livez` or `readyz`. */
  checked(set: string, name: string, succeeded: boolean): void {
    const labels = `name="${name}",type="${set}"`;
    let check = this.checks.get(labels);
    if (check === undefined) {
      check = { lastSucceeded: false, succeeded: 0, failed: 0 };
      this.checks.set(labels, check);
    }
    check.lastSucceeded = succeeded;
    if (succeeded) check.succeeded++;
    else check.failed++;
  }

  attachMetrics(registry: MetricRegistry): void {
    registry.value('counter', 'etcd_server_health_success', 'Answers of /health that were good.', () => this.healthy);
    registry.value('counter', 'etcd_server_health_failures', 'Answers of /health that were not.', () => this.unhealthy);
    registry.labelled(
      'gauge',
      'etcd_server_healthcheck',
      'Whether the last run of a check of /livez or /readyz was good.',
      () => new Map([...this.checks].map(([labels, check]) => [labels, check.lastSucceeded ? 1 : 0])),
    );
    registry.labelled(
      'counter',
      'etcd_server_healthchecks_total',
      'Runs of the checks of /livez and /readyz.',
      () =>
        new Map(
          [...this.checks].flatMap(([labels, { succeeded, failed }]) =>
            (
              [
                ['success', succeeded],
                ['error', failed],
              ] as const
            )
              .filter(([, count]) => count > 0)
              .map(([status, count]) => {
                const [name, set] = labels.split(',') as [string, string];
                return [`${name},status="${status}",${set}`, count] as const;
              }),
          ),
        ),
    );
    registry.value(
      'gauge',
      'promhttp_metric_handler_requests_in_flight',
      'Readings of this page under way: a page is made in one go, so that there is this one.',
      () => 1,
    );
    registry.labelled(
      'counter',
      'promhttp_metric_handler_requests_total',
      'Readings of this page before this one, by status.',
      () =>
        new Map([
          ['code="200"', this.pages],
          ['code="500"', 0],
          ['code="503"', 0],
        ]),
    );
  }
}
