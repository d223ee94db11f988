import { type Busy, type UsageResponse, UsageResponse as UsageType } from '@etsd/proto';
import { formatSize } from '../go.ts';
import { jsonArray, jsonMessage, jsonObject, jsonText } from '../go-json.ts';
import type { View } from '../view.ts';

/** What one member answered, or why it did not. */
export interface MemberUsage {
  readonly endpoint: string;
  readonly usage: UsageResponse | null;
  readonly problem: string;
}

/** How headings look on a terminal; nothing elsewhere. */
export interface Ink {
  readonly on: string;
  readonly off: string;
}

export const NO_INK: Ink = { on: '', off: '' };
export const BOLD: Ink = { on: '\x1b[1m', off: '\x1b[0m' };

type Row = readonly string[];

/** Who uses what, of all members that answered. Space is the same on each: the leader's figures, or the first ones. */
export function topView(list: readonly MemberUsage[], limit: number, ink: Ink): View {
  const usages = list.flatMap(({ usage }) => (usage === null ? [] : [usage]));
  return {
    simple: () => {
      const space = usages.find(({ isLeader }) => isLeader) ?? usages[0];
      const sections = [
        section(['MEMBER', 'ENDPOINT', 'ROLE', 'REVISION', 'SPACE', 'QUOTA', 'REQUESTS/S'], members(list), ink),
      ];
      if (space !== undefined) {
        const rows = space.prefixes
          .slice(0, limit)
          .map(({ prefix, keys, bytes }) => [prefix, String(keys), formatSize(bytes), share(bytes, space.bytes)]);
        const counting = space.isCounting ? ' (counting)' : '';
        sections.push(section([`PREFIX${counting}`, 'KEYS', 'SIZE', 'SHARE'], rows, ink));
      }
      for (const [heading, of] of LISTS) {
        const rows = busiest(usages, of).slice(0, limit);
        if (rows.length > 0) sections.push(section([heading, 'READS/S', 'WRITES/S', 'IN/S'], rows.map(busyRow), ink));
      }
      return sections.join('\n');
    },
    json: () =>
      jsonArray(
        list.map(({ endpoint, usage, problem }) =>
          jsonObject({
            endpoint: jsonText(endpoint),
            usage: usage === null ? null : jsonMessage(UsageType, usage),
            error: problem === '' ? null : jsonText(problem),
          }),
        ),
      ),
  };
}

const LISTS: readonly (readonly [string, (usage: UsageResponse) => readonly Busy[]])[] = [
  ['BUSY KEY', (usage) => usage.busyKeys],
  ['BUSY USER', (usage) => usage.busyUsers],
  ['BUSY ADDRESS', (usage) => usage.busyPeers],
];

function members(list: readonly MemberUsage[]): Row[] {
  return list.map(({ endpoint, usage, problem }) => {
    if (usage === null) return ['-', endpoint, problem, '', '', '', ''];
    const { usedBytes, quotaBytes } = usage;
    return [
      usage.name,
      endpoint,
      usage.isLeader ? 'leader' : 'follower',
      String(usage.revision),
      formatSize(usedBytes),
      quotaBytes === 0 ? 'none' : share(usedBytes, quotaBytes),
      perSecond(usage.requests, usage),
    ];
  });
}

class Rate {
  reads = 0;
  writes = 0;
  bytes = 0;
}

/** A second, over all members: each has seen what was asked of it. */
function busiest(usages: readonly UsageResponse[], of: (usage: UsageResponse) => readonly Busy[]): [string, Rate][] {
  const rates = new Map<string, Rate>();
  for (const usage of usages) {
    for (const { name, reads, writes, bytes } of of(usage)) {
      const rate = rates.get(name) ?? new Rate();
      rates.set(name, rate);
      rate.reads += reads / seconds(usage);
      rate.writes += writes / seconds(usage);
      rate.bytes += bytes / seconds(usage);
    }
  }
  const total = ({ reads, writes }: Rate): number => reads + writes;
  return [...rates].sort(([, a], [, b]) => total(b) - total(a));
}

function busyRow([name, { reads, writes, bytes }]: [string, Rate]): Row {
  return [name, shown(reads), shown(writes), formatSize(Math.round(bytes))];
}

function seconds({ windowMs }: UsageResponse): number {
  return Math.max(1, windowMs / 1000);
}

function perSecond(count: number, usage: UsageResponse): string {
  return shown(count / seconds(usage));
}

function shown(rate: number): string {
  return rate >= 100 || rate === 0 ? String(Math.round(rate)) : rate.toFixed(1);
}

function share(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((part / whole) * 100).toFixed(1)} %`;
}

/** Columns as wide as needed, the first to the left and figures to the right. What could move a terminal is not printed. */
function section(headings: Row, rows: readonly Row[], ink: Ink): string {
  const clean = rows.map((row) => row.map(printable));
  const isText = headings.map(
    (_heading, column) =>
      column === 0 || rows.some((row) => /[a-z:]/i.test((row[column] ?? '').replace(/ ?[kMG]?B$/, ''))),
  );
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...clean.map((row) => [...(row[column] ?? '')].length)),
  );
  const line = (row: Row): string =>
    row
      .map((text, column) => {
        const gap = ' '.repeat((widths[column] as number) - [...text].length);
        return isText[column] === true ? text + gap : gap + text;
      })
      .join('  ')
      .trimEnd();
  return [`${ink.on}${line(headings)}${ink.off}`, ...clean.map(line), ''].join('\n');
}

function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
