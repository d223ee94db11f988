import type { Source } from './sources.ts';

export const FILE_LINES_MAX = 1000;
export const LINE_COLUMNS_MAX = 120;

/** Files that may be longer, with the reason. */
export const LONG_FILES: ReadonlyMap<string, string> = new Map([]);

/** What is too long in a file. */
export function checkSizes(source: Source): string[] {
  const problems: string[] = [];
  const lines = source.text.split('\n');
  if (lines.length > FILE_LINES_MAX && !LONG_FILES.has(source.path)) {
    problems.push(`${source.path}: ${lines.length} lines; over ${FILE_LINES_MAX} it holds more than one idea`);
  }
  for (const [index, line] of lines.entries()) {
    // Text that cannot be wrapped (a message, a table) may run over; code may not, and the formatter sees to that.
    if (line.length > LINE_COLUMNS_MAX * 2) problems.push(`${source.path}:${index + 1}: ${line.length} columns`);
  }
  return problems;
}
