/**
 * The member's figures in Prometheus' text form, under etcd's names where etcd has the figure. Counting on the request
 * path is adding to a number; everything else happens when somebody reads.
 */

/** Upper bounds of fsync and commit durations in seconds: 1 ms doubled thirteen times, as etcd's. */
export const DISK_BUCKETS: readonly number[] = Array.from({ length: 14 }, (_, power) => 0.001 * 2 ** power);

/** A distribution over fixed upper bounds. */
export class Histogram {
  readonly bounds: readonly number[];
  private readonly counts: Float64Array;
  private sum = 0;
  private count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.sum += value;
    this.count++;
  }

  /** The lines of one histogram under this name. */
  lines(name: string): string[] {
    const lines: string[] = [];
    let total = 0;
    for (let bucket = 0; bucket < this.bounds.length; bucket++) {
      total += this.counts[bucket] as number;
      lines.push(`${name}_bucket{le="${formatNumber(this.bounds[bucket] as number)}"} ${total}`);
    }
    lines.push(
      `${name}_bucket{le="+Inf"} ${this.count}`,
      `${name}_sum ${formatNumber(this.sum)}`,
      `${name}_count ${this.count}`,
    );
    return lines;
  }
}

type MetricType = 'counter' | 'gauge' | 'histogram';

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly lines: () => string[];
}

/** All metrics of one member, in the order they were declared. */
export class MetricRegistry {
  private readonly metrics: Metric[] = [];

  /** A figure read when asked for. */
  value(type: 'counter' | 'gauge', name: string, help: string, read: () => number): void {
    this.metrics.push({ name, help, type, lines: () => [`${name} ${formatNumber(read())}`] });
  }

  /** Figures by label, read when asked for; keys are label sets as Prometheus writes them (`a="b"`). */
  labelled(type: 'counter' | 'gauge', name: string, help: string, read: () => ReadonlyMap<string, number>): void {
    this.metrics.push({
      name,
      help,
      type,
      lines: () => [...read()].map(([labels, value]) => `${name}{${labels}} ${formatNumber(value)}`),
    });
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const histogram = new Histogram(bounds);
    this.metrics.push({ name, help, type: 'histogram', lines: () => histogram.lines(name) });
    return histogram;
  }

  /** The page a scraper reads. */
  render(): string {
    const sorted = [...this.metrics].sort((a, b) => (a.name < b.name ? -1 : 1));
    return sorted
      .map((metric) =>
        [`# HELP ${metric.name} ${metric.help}`, `# TYPE ${metric.name} ${metric.type}`, ...metric.lines()].join('\n'),
      )
      .join('\n')
      .concat('\n');
  }
}

function formatNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e21) return String(value);
  return String(value).replace(/e\+?(-?)(\d)$/, 'e$10$2');
}
