/**
 * `node scripts/render-manifests.ts [--check]`: writes deploy/kubernetes/etsd.yaml, the chart as it renders with its own
 * values, for whoever has no Helm.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type Chart, renderChart } from '../tests/deploy/go-template.ts';

const DEPLOY = join(import.meta.dirname, '../deploy');
const FILE = join(DEPLOY, 'kubernetes/etsd.yaml');

export function readChart(folder = join(DEPLOY, 'helm/etsd')): Chart {
  const read = (name: string): Record<string, unknown> => parse(readFileSync(join(folder, name), 'utf8'));
  const templates = join(folder, 'templates');
  return {
    chart: read('Chart.yaml'),
    values: read('values.yaml'),
    files: new Map(readdirSync(templates).map((name) => [name, readFileSync(join(templates, name), 'utf8')])),
  };
}

/** The plain manifests. Labels that speak of Helm are left out. */
export function plainManifests(): string {
  const rendered = renderChart(readChart(), { Name: 'etsd', Namespace: 'default' }, {});
  rendered.delete('NOTES.txt');
  const text = [...rendered.values()]
    .filter((each) => each.trim() !== '')
    .map((each) => each.trim())
    .join('\n---\n');
  const plain = text.replaceAll(/^ *(?:app\.kubernetes\.io\/managed-by|helm\.sh\/chart): .*\n/gm, '');
  return `# Three members in the namespace "default". Made from deploy/helm/etsd by scripts/render-manifests.ts.\n${plain}\n`;
}

if (import.meta.main) {
  const text = plainManifests();
  if (!process.argv.includes('--check')) writeFileSync(FILE, text);
  else if (readFileSync(FILE, 'utf8') !== text) {
    console.error('deploy/kubernetes/etsd.yaml is not what the chart renders: node scripts/render-manifests.ts');
    process.exitCode = 1;
  }
}
