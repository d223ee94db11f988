import { isBuiltin } from 'node:module';
import { dirname, join, normalize } from 'node:path';
import { CALCULATING_BUILTINS, isTestFile, NODE_CORNERS, ROOMS } from './floors.ts';
import type { Source } from './sources.ts';

export interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** Every static or dynamic import of a file. */
export function importsOf(source: Source): Import[] {
  const found: Import[] = [];
  const pattern = /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/g;
  for (const match of source.text.matchAll(pattern)) {
    const specifier = match[2] ?? match[3];
    if (specifier !== undefined) found.push({ specifier, typeOnly: match[1] !== undefined });
  }
  return found;
}

function packageOf(path: string): string {
  return path.split('/')[1] as string;
}

/** The package a specifier of ours names, without its entry point. */
function ownPackage(specifier: string): string | undefined {
  const match = /^@etsd\/([a-z]+)/.exec(specifier);
  if (match !== null) return match[1];
  return specifier === 'etsd' ? 'cli' : undefined;
}

/** What is wrong with a file's imports: floors, relative paths out of the package, environment, undeclared ones. */
export function checkImports(source: Source, declared: ReadonlySet<string>): string[] {
  const from = packageOf(source.path);
  const room = ROOMS[from];
  if (room === undefined) return [`${source.path}: package ${from} has no room in scripts/tidy/floors.ts`];
  const problems: string[] = [];
  const mayTouchNode =
    room.environment === 'node' ||
    isTestFile(source.path) ||
    NODE_CORNERS.some((corner) => source.path.startsWith(corner));
  for (const { specifier } of importsOf(source)) {
    if (specifier.startsWith('.')) {
      const target = normalize(join(dirname(source.path), specifier));
      if (!target.startsWith(`packages/${from}/`)) {
        problems.push(`${source.path}: '${specifier}' leaves the package; import it by name`);
      }
      continue;
    }
    const own = ownPackage(specifier);
    if (own !== undefined) {
      const target = ROOMS[own];
      const allowed = isTestFile(source.path) || (target !== undefined && target.floor < room.floor);
      if (!allowed) {
        problems.push(
          `${source.path}: floor ${room.floor} (${from}) may not import '${specifier}'; hand it in from above`,
        );
      }
      if (!declared.has(own === 'cli' ? 'etsd' : `@etsd/${own}`) && !isTestFile(source.path) && own !== from) {
        problems.push(`${source.path}: '${specifier}' is not in the package's dependencies`);
      }
      continue;
    }
    if (isBuiltin(specifier)) {
      const isCalculation = room.environment === 'hosted' && CALCULATING_BUILTINS.includes(specifier);
      if (!mayTouchNode && !isCalculation)
        problems.push(`${source.path}: '${specifier}' is Node's; reach it through @etsd/runtime`);
      continue;
    }
    const name = specifier.startsWith('@')
      ? specifier.split('/').slice(0, 2).join('/')
      : (specifier.split('/')[0] as string);
    if (!declared.has(name) && !isTestFile(source.path) && !/\/(interop|conformance|attacks)\//.test(source.path)) {
      problems.push(`${source.path}: '${specifier}' is not in the package's dependencies`);
    }
  }
  return problems;
}

/** Files that import each other in a circle at run time, each circle once. */
export function findCycles(sources: readonly Source[]): string[] {
  const edges = new Map<string, string[]>();
  for (const source of sources) {
    const targets = importsOf(source)
      .filter((entry) => entry.specifier.startsWith('.') && !entry.typeOnly)
      .map((entry) => normalize(join(dirname(source.path), entry.specifier)));
    edges.set(source.path, targets);
  }
  const cycles: string[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const visit = (path: string, trail: string[]): void => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
      return;
    }
    state.set(path, 'open');
    for (const target of edges.get(path) ?? []) visit(target, [...trail, path]);
    state.set(path, 'done');
  };
  for (const path of edges.keys()) visit(path, []);
  return cycles;
}
