/** Pages of figures as Prometheus' text form has them, taken apart. */
import { get } from 'node:http';

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** All that one name stands for. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples: Sample[];
}

export function readPage(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/metrics', agent: false }, (response) => {
      let page = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        page += text;
      });
      response.on('end', () => (response.statusCode === 200 ? resolve(page) : reject(new Error(page))));
      response.on('error', reject);
    }).on('error', reject);
  });
}

/** Throws where the page is not well-formed: a sample without its family, a label that is no label. */
export function parsePage(page: string): Map<string, Family> {
  const families = new Map<string, Family>();
  let family: Family | null = null;
  let help: readonly [name: string, text: string] = ['', ''];
  for (const line of page.split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment?.[1] === 'HELP') help = [comment[2] as string, comment[3] as string];
    else if (comment?.[1] === 'TYPE') {
      const name = comment[2] as string;
      if (families.has(name)) throw new Error(`${name} is there twice`);
      family = { name, help: help[0] === name ? help[1] : '', type: comment[3] as string, samples: [] };
      families.set(name, family);
    } else {
      const sample = parseSample(line);
      const base = sample.name.replace(/_(?:bucket|sum|count)$/, '');
      if (family === null || (sample.name !== family.name && base !== family.name)) {
        throw new Error(`a sample outside of its family: ${line}`);
      }
      family.samples.push(sample);
    }
  }
  return families;
}

function parseSample(line: string): Sample {
  const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (match === null) throw new Error(`not a sample: ${line}`);
  const labels: Record<string, string> = {};
  let rest = match[2] ?? '';
  while (rest !== '') {
    const label = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\.)*)",?/.exec(rest);
    if (label === null) throw new Error(`not labels: ${line}`);
    labels[label[1] as string] = label[2] as string;
    rest = rest.slice(label[0].length);
  }
  const value = match[3] === '+Inf' ? Number.POSITIVE_INFINITY : Number(match[3]);
  return { name: match[1] as string, labels, value };
}
