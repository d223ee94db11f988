import { isTestFile, NODE_CORNERS, ROOMS, SIMULATION_CORNERS } from './floors.ts';
import { codeOnly, lineAt, type Source } from './sources.ts';

interface Ban {
  readonly pattern: RegExp;
  readonly instead: string;
  /** Floors it holds on, both included. */
  readonly floors: readonly [number, number];
  /** Whether corners that may touch Node are exempt. */
  readonly exemptCorners: boolean;
  readonly exemptFiles: readonly string[];
}

function ban(
  pattern: RegExp,
  instead: string,
  floors: readonly [number, number],
  exemptCorners: boolean,
  ...exemptFiles: string[]
): Ban {
  return { pattern, instead, floors, exemptCorners, exemptFiles };
}

const BANS: readonly Ban[] = [
  ban(/\bDate\.now\b|\bperformance\.now\b/, 'use World.clock', [0, 4], true),
  ban(/\bMath\.random\b/, 'use World.random or a Prng', [0, 4], true),
  ban(/(?<![.\w])(setTimeout|setInterval|setImmediate|queueMicrotask)\b/, 'use World.timers', [0, 4], true),
  ban(/(?<![.\w])process\./, 'let the program hand it in', [0, 4], true),
  ban(/\.shift\(/, 'use RingQueue of @etsd/base: shift is linear', [0, 4], true),
  ban(/\bBigInt\b|\b\d+n\b/, 'use numbers or U64 of @etsd/base', [0, 4], true, 'packages/base/src/u64.ts'),
  ban(/\bexport default\b/, 'give it a name', [0, 5], false),
  ban(/(?<![.\w])(?:const )?enum [A-Z]/, 'use an object `as const`', [0, 5], false),
  ban(/(?<![.\w])console\./, 'use the Logger', [0, 4], true),
  ban(/\b(?:it|test|describe)\.only\b/, 'run one test with --test-name-pattern', [0, 5], false),
  ban(/this\.#|^\s+#[a-z]/m, 'use private', [0, 5], false),
];

/** The uses of what is forbidden in a file, each with its replacement. */
export function checkBans(source: Source): string[] {
  const room = ROOMS[source.path.split('/')[1] as string];
  if (room === undefined) return [];
  const corner = [...NODE_CORNERS, ...SIMULATION_CORNERS].some((prefix) => source.path.startsWith(prefix));
  const test = isTestFile(source.path);
  const code = codeOnly(source.text);
  const problems: string[] = [];
  for (const { pattern, instead, floors, exemptCorners, exemptFiles } of BANS) {
    if (room.floor < floors[0] || room.floor > floors[1]) continue;
    if (exemptCorners && (corner || test || room.environment === 'node')) continue;
    if (exemptFiles.includes(source.path)) continue;
    const match = pattern.exec(code);
    if (match !== null)
      problems.push(`${source.path}:${lineAt(code, match.index)}: ${match[0].trim()} is banned; ${instead}`);
  }
  if (/\b(FIXME|TODO|XXX)\b/.test(source.text))
    problems.push(`${source.path}: a leftover marker; finish it or file an issue`);
  return problems;
}
