/** The list of our own figures in docs/metrics.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/binaries.ts';
import type { Family } from './pages.ts';

export const OUR_OWN = /^(?:etsd_|nodejs_|go_threads$)/;

export interface Documented {
  readonly name: string;
  readonly type: string;
  /** In the order of the alphabet, with commas. */
  readonly labels: string;
  readonly help: string;
}

export function documentedFigures(): Map<string, Documented> {
  const text = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8');
  const rows = text.matchAll(/^\| `((?:etsd|nodejs|go)_\w+)` \| (\w+) \| ([\w, ]*?) ?\| (.+?) \|$/gm);
  return new Map(
    [...rows].map(([, name = '', type = '', labels = '', help = '']) => [name, { name, type, labels, help }]),
  );
}

/** What a page says of the same. */
export function shownFigures(families: ReadonlyMap<string, Family>): Documented[] {
  return [...families.values()]
    .filter(({ name }) => OUR_OWN.test(name))
    .map(({ name, type, help, samples }) => {
      const labels = new Set(samples.flatMap((sample) => Object.keys(sample.labels)));
      labels.delete('le');
      return { name, type, labels: [...labels].sort().join(', '), help };
    });
}
