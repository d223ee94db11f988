/** Latency over throughput as one SVG: a chart for each family of rows, a line for each server and percentile. */
import type { RowResult } from './compare.ts';
import { familyOf } from './rows.ts';
import type { ServerName } from './servers.ts';

const WIDTH = 360;
const HEIGHT = 260;
const LEFT = 56;
const RIGHT = 16;
const TOP = 34;
const BOTTOM = 40;
const COLUMNS = 3;
const LEGEND = 36;
const COLOURS: Record<ServerName, string> = { etsd: '#1f6feb', etcd: '#d4651c' };
const SERVERS: readonly ServerName[] = ['etsd', 'etcd'];

interface Point {
  x: number;
  y: number;
  clients: number;
}

function pointsOf(rows: readonly RowResult[], server: ServerName, figure: 'p50Ms' | 'p99Ms'): Point[] {
  const points: Point[] = [];
  for (const row of rows) {
    const m = row.medians[server];
    if (m !== undefined && m.perSecond > 0 && m[figure] > 0)
      points.push({ x: m.perSecond, y: m[figure], clients: row.clients });
  }
  return points.sort((a, b) => a.clients - b.clients);
}

function axisText(value: number): string {
  if (value >= 1e6) return `${value / 1e6}M`;
  if (value >= 1000) return `${value / 1000}k`;
  return String(value);
}

/** A round number at or above a fifth of the largest. */
function stepFor(largest: number): number {
  const power = 10 ** Math.floor(Math.log10(largest / 5));
  const factor = [1, 2, 5, 10].find((each) => each * power * 5 >= largest) ?? 10;
  return factor * power;
}

class Scale {
  readonly xMax: number;
  readonly step: number;
  readonly yLow: number;
  readonly yHigh: number;

  constructor(points: readonly Point[]) {
    this.step = stepFor(Math.max(1, ...points.map((each) => each.x)));
    this.xMax = Math.ceil(Math.max(1, ...points.map((each) => each.x)) / this.step) * this.step;
    this.yLow = Math.floor(Math.log10(Math.min(...points.map((each) => each.y))));
    this.yHigh = Math.max(this.yLow + 1, Math.ceil(Math.log10(Math.max(...points.map((each) => each.y)))));
  }

  x(value: number): number {
    return LEFT + (value / this.xMax) * (WIDTH - LEFT - RIGHT);
  }

  y(value: number): number {
    const part = (Math.log10(value) - this.yLow) / (this.yHigh - this.yLow);
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
  }
}

function axes(scale: Scale, unit: string): string {
  let out = '';
  for (let value = 0; value <= scale.xMax * 1.0001; value += scale.step) {
    const x = scale.x(value).toFixed(1);
    out += `<line class="grid" x1="${x}" y1="${TOP}" x2="${x}" y2="${HEIGHT - BOTTOM}"/>`;
    out += `<text x="${x}" y="${HEIGHT - BOTTOM + 14}" text-anchor="middle">${axisText(Number(value.toPrecision(3)))}</text>`;
  }
  for (let power = scale.yLow; power <= scale.yHigh; power++) {
    const y = scale.y(10 ** power).toFixed(1);
    out += `<line class="grid" x1="${LEFT}" y1="${y}" x2="${WIDTH - RIGHT}" y2="${y}"/>`;
    out += `<text x="${LEFT - 6}" y="${Number(y) + 4}" text-anchor="end">${Number((10 ** power).toPrecision(1))} ms</text>`;
  }
  const middle = LEFT + (WIDTH - LEFT - RIGHT) / 2;
  return `${out}<text x="${middle}" y="${HEIGHT - 8}" text-anchor="middle">${unit} a second</text>`;
}

function line(points: readonly Point[], scale: Scale, colour: string, dashed: boolean): string {
  const path = points.map((each) => `${scale.x(each.x).toFixed(1)},${scale.y(each.y).toFixed(1)}`).join(' ');
  let out = `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.6"${dashed ? ' stroke-dasharray="4 3"' : ''}/>`;
  for (const each of points) {
    const x = scale.x(each.x).toFixed(1);
    const y = scale.y(each.y).toFixed(1);
    out += `<circle cx="${x}" cy="${y}" r="3" fill="${colour}"><title>${each.clients} clients, ${Math.round(each.x)} a second, ${each.y.toFixed(2)} ms</title></circle>`;
    if (!dashed)
      out += `<text x="${x}" y="${Number(y) - 6}" text-anchor="middle" fill="${colour}">${each.clients}</text>`;
  }
  return out;
}

function chart(family: string, rows: readonly RowResult[]): string {
  const lines = SERVERS.flatMap((server) => [
    { server, dashed: false, points: pointsOf(rows, server, 'p50Ms') },
    { server, dashed: true, points: pointsOf(rows, server, 'p99Ms') },
  ]);
  const all = lines.flatMap((each) => each.points);
  const title = `<text class="title" x="${LEFT}" y="20">${family}</text>`;
  if (all.length === 0) return title;
  const scale = new Scale(all);
  const drawn = lines.map((each) => line(each.points, scale, COLOURS[each.server], each.dashed)).join('\n');
  return `${title}\n${axes(scale, rows[0]?.unit ?? 'requests')}\n${drawn}`;
}

/** The whole picture. Numbers at the points are clients. */
export function plot(results: readonly RowResult[]): string {
  const families = [...new Set(results.map((each) => familyOf(each.row)))];
  const height = LEGEND + Math.ceil(families.length / COLUMNS) * HEIGHT;
  const charts = families.map((family, index) => {
    const x = (index % COLUMNS) * WIDTH;
    const y = LEGEND + Math.floor(index / COLUMNS) * HEIGHT;
    const rows = results.filter((each) => familyOf(each.row) === family);
    return `<g transform="translate(${x},${y})">\n${chart(family, rows)}\n</g>`;
  });
  const legend = SERVERS.map(
    (server, index) =>
      `<g transform="translate(${LEFT + index * 90},22)"><line x1="0" y1="-4" x2="22" y2="-4" stroke="${COLOURS[server]}" ` +
      `stroke-width="2"/><text x="28" y="0">${server}</text></g>`,
  );
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${COLUMNS * WIDTH}" height="${height}" ` +
    `viewBox="0 0 ${COLUMNS * WIDTH} ${height}">\n` +
    '<style>text{font:11px sans-serif;fill:#57606a}.title{font:bold 13px sans-serif;fill:#24292f}' +
    '.grid{stroke:#d0d7de;stroke-width:.6}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n' +
    `${legend.join('\n')}\n<text x="${LEFT + 190}" y="22">solid: median latency, dashed: 99th percentile; ` +
    `numbers: clients</text>\n${charts.join('\n')}\n</svg>\n`
  );
}
