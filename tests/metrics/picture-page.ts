/**
 * Draws a dashboard of Grafana's from its JSON and the data of a real Prometheus: no more of it than our panels use. Runs in a
 * browser; `window.done` is the number of panels that had nothing to show once all are drawn.
 */

/** What is used here of a browser's elements. */
interface Box {
  readonly style: { cssText: string; height: string; width: string };
  textContent: string;
  innerHTML: string;
  readonly clientWidth: number;
  readonly clientHeight: number;
  append(...children: (Box | string)[]): void;
}
declare const document: { readonly body: Box; createElement(name: string): Box };
declare const window: object;

interface Panel {
  readonly type: 'row' | 'stat' | 'timeseries';
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit: string } };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [seconds: number, value: string])[];
}

interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

const COLUMN = 58;
const ROW = 30;
const GAP = 8;
const COLOURS = ['#7eb26d', '#eab839', '#6ed0e0', '#ef843c', '#e24d42', '#5195ce', '#ba43a9', '#705da0', '#9ac48a'];
const LEGEND_MAX = 6;

const UNITS: Readonly<Record<string, (value: number) => string>> = {
  none: (value) => String(Math.round(value * 100) / 100),
  short: (value) => scaled(value, 1000, ['', ' K', ' M', ' G']),
  bytes: (value) => scaled(value, 1024, [' B', ' KiB', ' MiB', ' GiB']),
  Bps: (value) => scaled(value, 1000, [' B/s', ' kB/s', ' MB/s', ' GB/s']),
  ops: (value) => `${scaled(value, 1000, ['', 'k', 'M'])}/s`,
  percentunit: (value) => `${scaled(value * 100, 1e9, [''])} %`,
  s: (value) => {
    if (value !== 0 && Math.abs(value) < 0.001) return `${scaled(value * 1e6, 1e9, [''])} µs`;
    return Math.abs(value) < 1 ? `${scaled(value * 1000, 1e9, [''])} ms` : `${scaled(value, 1e9, [''])} s`;
  },
};

function scaled(value: number, step: number, names: readonly string[]): string {
  let rest = value;
  let place = 0;
  while (Math.abs(rest) >= step && place < names.length - 1) {
    rest /= step;
    place++;
  }
  const digits = Math.abs(rest) >= 100 || Number.isInteger(rest) ? 0 : Math.abs(rest) >= 10 ? 1 : 2;
  return `${rest.toFixed(digits)}${names[place]}`;
}

function element(parent: Box, name: string, style: string, text = ''): Box {
  const made = document.createElement(name);
  made.style.cssText = style;
  made.textContent = text;
  parent.append(made);
  return made;
}

async function curvesOf(panel: Panel, variables: Readonly<Record<string, string>>): Promise<Curve[]> {
  const curves: Curve[] = [];
  for (const { expr, legendFormat } of panel.targets ?? []) {
    let query = expr;
    for (const [name, value] of Object.entries(variables)) query = query.replaceAll(`$${name}`, value);
    const answer = await fetch(`/query?query=${encodeURIComponent(query)}`);
    const { data } = (await answer.json()) as { data: { result: readonly Series[] } };
    for (const { metric, values } of data.result) {
      const name = legendFormat.replace(/\{\{(\w+)\}\}/g, (_all, label: string) => metric[label] ?? '');
      const points = values
        .map(([seconds, value]) => [seconds, Number(value)] as const)
        .filter(([, value]) => Number.isFinite(value));
      if (points.length > 0) curves.push({ name, points });
    }
  }
  return curves;
}

function drawCurves(box: Box, curves: readonly Curve[], unit: string, from: number, to: number): void {
  const { w, h } = { w: box.clientWidth, h: box.clientHeight - 62 };
  const top = niceTop(Math.max(...curves.flatMap(({ points }) => points.map(([, value]) => value))));
  const x = (seconds: number): number => 60 + ((seconds - from) / (to - from)) * (w - 76);
  const y = (value: number): number => h - 6 - (value / top) * (h - 14);
  const show = UNITS[unit] ?? UNITS['short'] ?? String;
  let svg = '';
  for (let line = 0; line <= 4; line++) {
    const value = (top * line) / 4;
    svg += `<line x1="60" x2="${w - 16}" y1="${y(value)}" y2="${y(value)}" stroke="#2c3235"/>`;
    svg += `<text x="54" y="${y(value) + 4}" fill="#9fa7b3" font-size="10" text-anchor="end">${show(value)}</text>`;
  }
  for (const [place, { points }] of curves.entries()) {
    const path = points.map(([seconds, value]) => `${x(seconds).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
    svg += `<polyline points="${path}" fill="none" stroke="${COLOURS[place % COLOURS.length]}" stroke-width="1.3"/>`;
  }
  const picture = element(box, 'div', '');
  picture.innerHTML = `<svg width="${w}" height="${h}">${svg}</svg>`;
  const legend = element(box, 'div', 'font-size:10px;color:#c7d0d9;padding:0 10px;line-height:14px');
  for (const [place, { name }] of curves.slice(0, LEGEND_MAX).entries()) {
    const entry = element(legend, 'span', 'margin-right:10px;white-space:nowrap');
    element(entry, 'span', `color:${COLOURS[place % COLOURS.length]}`, '— ');
    entry.append(name);
  }
  if (curves.length > LEGEND_MAX) element(legend, 'span', 'color:#8e8e8e', `and ${curves.length - LEGEND_MAX} more`);
}

/** The least number at or above a value that divides well. */
function niceTop(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 5, 8, 10].find((step) => step * power >= value) ?? 10) * power;
}

async function draw(): Promise<number> {
  const dashboard = (await (await fetch('/dashboard')).json()) as { title: string; panels: readonly Panel[] };
  const { from, to, variables } = (await (await fetch('/range')).json()) as {
    from: number;
    to: number;
    variables: Record<string, string>;
  };
  document.body.style.cssText = 'margin:0;background:#111217;font-family:sans-serif;position:relative';
  let empty = 0;
  let bottom = 0;
  for (const panel of dashboard.panels) {
    const { x, y, w, h } = panel.gridPos;
    const place = `position:absolute;left:${x * COLUMN + GAP}px;top:${y * ROW + GAP}px;width:${w * COLUMN - GAP}px;height:${h * ROW - GAP}px;`;
    bottom = Math.max(bottom, (y + h) * ROW);
    if (panel.type === 'row') {
      element(
        document.body,
        'div',
        `${place}color:#d8d9da;font-size:15px;font-weight:bold;line-height:${ROW}px`,
        panel.title,
      );
      continue;
    }
    const box = element(
      document.body,
      'div',
      `${place}background:#181b1f;border:1px solid #24272c;box-sizing:border-box`,
    );
    element(box, 'div', 'color:#ccccdc;font-size:12px;padding:6px 10px', panel.title);
    const unit = panel.fieldConfig?.defaults.unit ?? 'short';
    const curves = await curvesOf(panel, variables);
    if (curves.length === 0) {
      empty++;
      element(box, 'div', 'color:#8e8e8e;font-size:12px;text-align:center', 'nothing');
    } else if (panel.type === 'stat') {
      const last = curves[0]?.points.at(-1)?.[1] ?? 0;
      const show = UNITS[unit] ?? String;
      element(box, 'div', 'color:#d8d9da;font-size:32px;text-align:center;padding-top:6px', show(last));
    } else drawCurves(box, curves, unit, from, to);
  }
  document.body.style.height = `${bottom + GAP}px`;
  document.body.style.width = `${24 * COLUMN + GAP}px`;
  return empty;
}

Object.assign(window, { done: null });
draw().then(
  (empty) => Object.assign(window, { done: { empty } }),
  (error: unknown) => Object.assign(window, { done: { error: String(error) } }),
);
