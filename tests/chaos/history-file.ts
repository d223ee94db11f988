import { readFileSync, writeFileSync } from 'node:fs';
import type { HistoryRecord } from '@etsd/simulator/checkers';

/** What is known of the end of a run, the last line of its file. */
export interface HistoryEnd {
  readonly type: 'end';
  readonly finalRevision: number;
  /** Since when nothing was broken any more. */
  readonly calmSince: number;
  readonly lateMs: number;
  /** When the leases were listed the last time, and which there were. */
  readonly lookedAt: number;
  readonly alive: readonly string[];
}

/** One object a line. */
export function writeHistory(path: string, records: readonly HistoryRecord[], end: HistoryEnd): void {
  writeFileSync(path, [...records, end].map((record) => `${JSON.stringify(record)}\n`).join(''));
}

export function readHistory(path: string): { records: HistoryRecord[]; end: HistoryEnd } {
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  const all = lines.map((line) => JSON.parse(line) as HistoryRecord | HistoryEnd);
  const end = all.at(-1);
  if (end?.type !== 'end') throw new Error(`${path} has no end; it was cut off`);
  return { records: all.slice(0, -1) as HistoryRecord[], end };
}
