/** Numbers as people read them. */
import type { Histogram } from './histogram.ts';
import type { Outcome } from './run.ts';

/** The latencies that every report shows, in milliseconds. */
export interface Percentiles {
  meanMs: number;
  p50Ms: number;
  p90Ms: number;
  p99Ms: number;
  p999Ms: number;
  maxMs: number;
}

export function percentilesOf(latency: Histogram): Percentiles {
  return {
    meanMs: latency.meanMs,
    p50Ms: latency.percentileMs(50),
    p90Ms: latency.percentileMs(90),
    p99Ms: latency.percentileMs(99),
    p999Ms: latency.percentileMs(99.9),
    maxMs: latency.maxMs,
  };
}

/** Three digits that matter. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

/** Columns of equal width; the first to the left, numbers to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function latencyLine(name: string, latency: Histogram): string[] {
  const p = percentilesOf(latency);
  return [name, ...[p.meanMs, p.p50Ms, p.p90Ms, p.p99Ms, p.p999Ms, p.maxMs].map(digits)];
}

/** The report of one workload. */
export function outcomeText(outcome: Outcome, ownCpuMicros: number): string {
  const rows = [
    ['latency, ms', 'mean', 'p50', 'p90', 'p99', 'p99.9', 'max'],
    latencyLine('all', outcome.latency),
    ...outcome.parts.map((part) => latencyLine(part.name, part.latency)),
  ];
  const failures = outcome.errors === 0 ? '' : `, ${outcome.errors} errors, the first: ${outcome.firstError}`;
  return (
    `${outcome.operations.toLocaleString('en')} ${outcome.unit} in ${outcome.seconds.toFixed(2)} s: ` +
    `${digits(outcome.perSecond)} a second${failures}\n${table(rows)}\n` +
    `load generator: ${digits(ownCpuMicros / Math.max(1, outcome.operations))} µs of CPU each\n`
  );
}

export function outcomeJson(outcome: Outcome): object {
  return {
    verb: outcome.verb,
    unit: outcome.unit,
    operations: outcome.operations,
    errors: outcome.errors,
    firstError: outcome.firstError,
    seconds: outcome.seconds,
    perSecond: outcome.perSecond,
    latency: percentilesOf(outcome.latency),
    parts: Object.fromEntries(outcome.parts.map((part) => [part.name, percentilesOf(part.latency)])),
  };
}

/** The middle value; of an even number the lower one of the two in the middle, so that it was really measured. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}
