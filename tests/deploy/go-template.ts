/**
 * As much of Go's text/template, with Helm's functions, as the chart uses: what is not known throws, so that a chart which
 * renders here says only what this file says it means. `render` is compared with Go's own where Go and sprig are installed.
 */
import { parse as parseYaml, stringify } from 'yaml';

type Scope = Map<string, unknown>;
type Data = Record<string, unknown>;

interface Text {
  readonly kind: 'text';
  readonly text: string;
}
interface Action {
  readonly kind: 'action';
  readonly source: string;
}
interface Block {
  readonly kind: 'if' | 'with' | 'range';
  readonly source: string;
  readonly body: readonly Part[];
  readonly otherwise: readonly Part[];
}
type Part = Text | Action | Block;

export class TemplateError extends Error {}

/** Cuts at `{{` and `}}`, with the white space that `{{-` and `-}}` take away, and drops comments. */
function* pieces(source: string): Generator<{ text: string } | { action: string }> {
  const pattern = /\{\{(-\s)?((?:"(?:[^"\\]|\\.)*"|\/\*[\s\S]*?\*\/|[^"])*?)(\s-)?\}\}/g;
  let at = 0;
  let trimNext = false;
  for (const match of source.matchAll(pattern)) {
    let text = source.slice(at, match.index);
    if (trimNext) text = text.trimStart();
    if (match[1] !== undefined) text = text.trimEnd();
    yield { text };
    const action = (match[2] as string).trim();
    if (!action.startsWith('/*')) yield { action };
    trimNext = match[3] !== undefined;
    at = match.index + match[0].length;
  }
  yield { text: trimNext ? source.slice(at).trimStart() : source.slice(at) };
}

/** The named templates of a chart. */
export class Templates {
  private readonly defined = new Map<string, readonly Part[]>();

  /** Takes the definitions of a file; answers what stands outside of them. */
  add(source: string): readonly Part[] {
    const tokens = [...pieces(source)];
    let at = 0;
    const parts = (ends: readonly string[]): { body: Part[]; end: string } => {
      const body: Part[] = [];
      while (at < tokens.length) {
        const token = tokens[at++] as { text: string } | { action: string };
        if ('text' in token) {
          body.push({ kind: 'text', text: token.text });
          continue;
        }
        const [word = ''] = token.action.split(/\s/);
        if (ends.includes(word)) return { body, end: token.action };
        const rest = token.action.slice(word.length).trim();
        if (word === 'define') this.defined.set(JSON.parse(rest) as string, parts(['end']).body);
        else if (word === 'if' || word === 'with' || word === 'range') body.push(block(word, rest));
        else body.push({ kind: 'action', source: token.action });
      }
      if (ends.length > 0) throw new TemplateError('an end is missing');
      return { body, end: '' };
    };
    const block = (kind: Block['kind'], condition: string): Block => {
      const first = parts(['else', 'end']);
      if (first.end === 'end') return { kind, source: condition, body: first.body, otherwise: [] };
      const next = /^else\s+(if)\s+(.*)$/s.exec(first.end);
      const otherwise = next === null ? parts(['end']).body : [block('if', next[2] as string)];
      return { kind, source: condition, body: first.body, otherwise };
    };
    return parts([]).body;
  }

  render(parts: readonly Part[], dot: unknown, scope: Scope): string {
    return parts.map((part) => this.renderPart(part, dot, scope)).join('');
  }

  private renderPart(part: Part, dot: unknown, scope: Scope): string {
    if (part.kind === 'text') return part.text;
    if (part.kind === 'action') {
      const assignment = /^(\$\w+)\s*:=\s*(.*)$/s.exec(part.source);
      if (assignment === null) return shown(this.evaluate(part.source, dot, scope));
      scope.set(assignment[1] as string, this.evaluate(assignment[2] as string, dot, scope));
      return '';
    }
    const inner = new Map(scope);
    if (part.kind === 'range') return this.renderRange(part, dot, inner);
    const value = this.evaluate(part.source, dot, inner);
    if (!isTrue(value)) return this.render(part.otherwise, dot, inner);
    return this.render(part.body, part.kind === 'with' ? value : dot, inner);
  }

  private renderRange({ source, body, otherwise }: Block, dot: unknown, scope: Scope): string {
    const head = /^(\$\w+)(?:\s*,\s*(\$\w+))?\s*:=\s*(.*)$/s.exec(source);
    const over = this.evaluate(head === null ? source : (head[3] as string), dot, scope);
    const entries: [unknown, unknown][] = Array.isArray(over)
      ? over.map((value, index) => [index, value])
      : Object.entries((over ?? {}) as Data).sort(([a], [b]) => (a < b ? -1 : 1));
    if (entries.length === 0) return this.render(otherwise, dot, scope);
    const { 1: first, 2: second } = head ?? [];
    return entries
      .map(([key, value]) => {
        const inner = new Map(scope);
        if (first !== undefined) inner.set(first, second === undefined ? value : key);
        if (second !== undefined) inner.set(second, value);
        return this.render(body, value, inner);
      })
      .join('');
  }

  private evaluate(source: string, dot: unknown, scope: Scope): unknown {
    const words = [...source.matchAll(/"(?:[^"\\]|\\.)*"|[()|]|[^\s()|]+/g)].map(([word]) => word);
    let at = 0;
    const operand = (): unknown => {
      const word = words[at++] as string;
      if (word === '(') {
        const value = pipeline();
        if (words[at++] !== ')') throw new TemplateError(`a parenthesis is open: ${source}`);
        return value;
      }
      if (word.startsWith('"')) return JSON.parse(word);
      if (/^-?\d+$/.test(word)) return Number(word);
      if (word === 'true' || word === 'false') return word === 'true';
      if (word === '.') return dot;
      if (word.startsWith('.')) return field(dot, word.slice(1), source);
      if (word.startsWith('$')) {
        const [name = '', ...path] = word.split('.');
        if (!scope.has(name)) throw new TemplateError(`no variable ${name}`);
        return field(scope.get(name), path.join('.'), source);
      }
      throw new TemplateError(`what is ${word} in ${source}?`);
    };
    const isEnd = (): boolean => at >= words.length || words[at] === '|' || words[at] === ')';
    const command = (piped: readonly unknown[]): unknown => {
      const word = words[at] as string;
      if (!/^[a-z]\w*$/i.test(word) || word === 'true' || word === 'false') {
        const value = operand();
        if (!isEnd() || piped.length > 0) throw new TemplateError(`not a function: ${source}`);
        return value;
      }
      at++;
      const given: unknown[] = [];
      while (!isEnd()) given.push(operand());
      return this.call(word, [...given, ...piped], scope);
    };
    const pipeline = (): unknown => {
      let value = command([]);
      while (words[at] === '|') {
        at++;
        value = command([value]);
      }
      return value;
    };
    const value = pipeline();
    if (at < words.length) throw new TemplateError(`more than one value: ${source}`);
    return value;
  }

  private call(name: string, args: readonly unknown[], scope: Scope): unknown {
    if (name === 'include') {
      const body = this.defined.get(args[0] as string);
      if (body === undefined) throw new TemplateError(`no template ${String(args[0])}`);
      return this.render(body, args[1], new Map([['$', args[1]]]));
    }
    const known = FUNCTIONS[name];
    if (known === undefined) throw new TemplateError(`no function ${name} (${scope.size})`);
    return known(...(args as never[]));
  }
}

function field(value: unknown, path: string, source: string): unknown {
  let at = value;
  for (const name of path.split('.').filter((each) => each !== '')) {
    if (typeof at !== 'object' || at === null) throw new TemplateError(`nothing has the field ${name}: ${source}`);
    at = (at as Data)[name];
  }
  return at;
}

function isTrue(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === '') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

const shown = (value: unknown): string => (value === undefined || value === null ? '' : String(value));

const indented = (spaces: number, text: string): string => text.replaceAll(/^/gm, ' '.repeat(spaces));

const FUNCTIONS: Readonly<Record<string, (...args: never[]) => unknown>> = {
  add: (...numbers: number[]) => numbers.reduce((sum, each) => sum + each, 0),
  contains: (part: string, text: string) => text.includes(part),
  default: (fallback: unknown, value: unknown) => (isTrue(value) ? value : fallback),
  div: (a: number, b: number) => Math.trunc(a / b),
  eq: (a: unknown, b: unknown) => a === b,
  int: (value: unknown) => Math.trunc(Number(value)),
  ne: (a: unknown, b: unknown) => a !== b,
  nindent: (spaces: number, text: string) => `\n${indented(spaces, text)}`,
  printf: (format: string, ...values: unknown[]) => {
    let at = 0;
    return format.replaceAll(/%[sdv]/g, () => shown(values[at++]));
  },
  quote: (value: unknown) => JSON.stringify(shown(value)),
  toYaml: (value: unknown) => stringify(value, { indentSeq: false, sortMapEntries: true, lineWidth: 0 }).trimEnd(),
  trimSuffix: (end: string, text: string) => (text.endsWith(end) ? text.slice(0, -end.length) : text),
  trunc: (length: number, text: string) => text.slice(0, length),
  until: (count: number) => Array.from({ length: count }, (_, index) => index),
};

export interface Chart {
  /** `Chart.yaml`, with the names of its fields in capitals as templates have them. */
  readonly chart: Data;
  readonly values: Data;
  /** Contents of `templates/`, by file name. */
  readonly files: ReadonlyMap<string, string>;
}

/** Values over values, as Helm lays them: maps are merged, everything else is replaced. */
export function merged(base: Data, over: Data): Data {
  const result: Data = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    const areMaps = [before, value].every((each) => typeof each === 'object' && each !== null && !Array.isArray(each));
    result[key] = areMaps ? merged(before as Data, value as Data) : value;
  }
  return result;
}

/** Text of every file that makes manifests, in the order of their names. */
export function renderChart({ chart, values, files }: Chart, release: Data, over: Data): Map<string, string> {
  const templates = new Templates();
  const bodies = new Map([...files].map(([name, source]) => [name, templates.add(source)] as const));
  const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
  const root = {
    Chart: Object.fromEntries(Object.entries(chart).map(([name, value]) => [capital(name), value])),
    Release: { Service: 'Helm', ...release },
    Values: merged(values, over),
  };
  return new Map(
    [...bodies]
      .filter(([name]) => !name.startsWith('_'))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, body]) => [name, templates.render(body, root, new Map([['$', root]]))]),
  );
}

/** The documents of a file in YAML, without those that are empty. */
export function documents(text: string): Data[] {
  return text
    .split(/^---$/m)
    .map((each) => parseYaml(each) as Data | null)
    .filter((each) => each !== null);
}
