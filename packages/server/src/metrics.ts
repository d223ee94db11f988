/**
 * The member's figures in Prometheus' text form, under etcd's names where etcd has the figure. Counting on the request
 * path is adding to a number; everything else happens when somebody reads.
 */

/** Upper bounds of a histogram: the first one, doubled as often as it takes to have so many. */
export function doubled(first: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, power) => first * 2 ** power);
}

/** Upper bounds of fsync and commit durations in seconds: 1 ms doubled thirteen times, as etcd's. */
export const DISK_BUCKETS = doubled(0.001, 14);

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
    return distributionLines(name, '', this.view());
  }

  view(): DistributionView {
    const { bounds, counts, sum, count } = this;
    return { bounds, counts, sum, count };
  }
}

/** A distribution as others keep it: counts by bound, and one more for what is above all bounds. */
export interface DistributionView {
  readonly bounds: readonly number[];
  readonly counts: ArrayLike<number>;
  readonly sum: number;
  readonly count: number;
}

function distributionLines(name: string, labels: string, view: DistributionView): string[] {
  const before = labels === '' ? '' : `${labels},`;
  const behind = labels === '' ? '' : `{${labels}}`;
  const lines: string[] = [];
  let total = 0;
  for (let bucket = 0; bucket < view.bounds.length; bucket++) {
    total += view.counts[bucket] as number;
    lines.push(`${name}_bucket{${before}le="${formatNumber(view.bounds[bucket] as number)}"} ${formatNumber(total)}`);
  }
  lines.push(
    `${name}_bucket{${before}le="+Inf"} ${formatNumber(view.count)}`,
    `${name}_sum${behind} ${formatNumber(view.sum)}`,
    `${name}_count${behind} ${formatNumber(view.count)}`,
  );
  return lines;
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

  /** Lines as they are to stand there, read when asked for: where a map by label would be too much. */
  lines(type: 'counter' | 'gauge', name: string, help: string, read: () => string[]): void {
    this.metrics.push({ name, help, type, lines: read });
  }

  /** Distributions by label, read when asked for. */
  labelledHistogram(name: string, help: string, read: () => ReadonlyMap<string, DistributionView>): void {
    const lines = (): string[] => [...read()].flatMap(([labels, view]) => distributionLines(name, labels, view));
    this.metrics.push({ name, help, type: 'histogram', lines });
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const histogram = new Histogram(bounds);
    this.metrics.push({ name, help, type: 'histogram', lines: () => histogram.lines(name) });
    return histogram;
  }

  /** The page a scraper reads. */
  render(): string {
    const sorted = [...this.metrics].sort((a, b) => (a.name < b.name ? -1 : 1));
    let page = '';
    for (const metric of sorted) {
      // What has no value yet, under any label, is not there.
      const lines = metric.lines();
      if (lines.length === 0) continue;
      page += `# HELP ${metric.name} ${metric.help}\n# TYPE ${metric.name} ${metric.type}\n${lines.join('\n')}\n`;
    }
    return page;
  }
}

/** The shortest digits that mean the number, with an exponent from a million on and below a ten-thousandth: as Go does. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-4 && size < 1e6)) return String(value);
  const [digits, exponent] = value.toExponential().split('e') as [string, string];
  return `${digits}e${exponent.startsWith('-') ? '-' : '+'}${exponent.slice(1).padStart(2, '0')}`;
}

/** A text as a label's value stands within its quotes. */
export function labelText(text: string): string {
  return text.replace(/["\\\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}
