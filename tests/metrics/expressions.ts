/** What of a PromQL expression names series. */

const WORDS = new Set([
  'and',
  'or',
  'unless',
  'bool',
  'offset',
  'by',
  'without',
  'on',
  'ignoring',
  'group_left',
  'group_right',
]);
/** Strings, durations, selectors of labels, and names. */
const TOKEN = /"(?:[^"\\]|\\.)*"|\{[^}]*\}|[a-zA-Z_:][\w:]*|\[[^\]]*\]|\d[\w.]*|\(|\)|./g;

/** Each name of a series in an expression, with its selector of labels, once. */
export function selectorsOf(expression: string): string[] {
  const tokens = (expression.match(TOKEN) ?? []).filter((token) => token.trim() !== '');
  const found = new Set<string>();
  for (let place = 0; place < tokens.length; place++) {
    const token = tokens[place] as string;
    if (/^(?:by|without|on|ignoring|group_left|group_right)$/.test(token)) {
      // Labels in brackets.
      if (tokens[place + 1] === '(') while (tokens[place] !== ')') place++;
      continue;
    }
    if (!/^[a-zA-Z_:]/.test(token) || WORDS.has(token) || tokens[place + 1] === '(') continue;
    if (tokens[place + 1] === 'by' || tokens[place + 1] === 'without') continue;
    const labels = tokens[place + 1]?.startsWith('{') === true ? (tokens[place + 1] as string) : '';
    found.add(token + labels);
  }
  return [...found];
}
