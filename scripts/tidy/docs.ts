import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT, type Source } from './sources.ts';

/** What is wrong with a page: not exactly one title, or a link to a file that is not there. */
export function checkPage(source: Source): string[] {
  const problems: string[] = [];
  const text = source.text.replace(/```[\s\S]*?```/g, '');
  const titles = text.match(/^# .+$/gm) ?? [];
  if (titles.length !== 1) problems.push(`${source.path}: ${titles.length} titles; a page has one`);
  for (const match of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
    const target = match[1] as string;
    if (/^[a-z]+:/.test(target)) continue;
    const path = join(ROOT, target.startsWith('/') ? '.' : dirname(source.path), target);
    if (!existsSync(path)) problems.push(`${source.path}: link to ${target}, which is not there`);
  }
  return problems;
}
