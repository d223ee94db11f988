/** The house as data: which package stands on which floor, and which part of the outside world it may touch. */

/** `pure`: nothing. `hosted`: only what `runtime` hands in. `node`: Node itself. */
export type Environment = 'pure' | 'hosted' | 'node';

export interface Room {
  readonly floor: number;
  readonly environment: Environment;
}

export const ROOMS: Readonly<Record<string, Room>> = {
  base: { floor: 0, environment: 'pure' },
  proto: { floor: 1, environment: 'pure' },
  runtime: { floor: 1, environment: 'hosted' },
  backend: { floor: 1, environment: 'pure' },
  raft: { floor: 2, environment: 'pure' },
  wal: { floor: 2, environment: 'hosted' },
  boltfile: { floor: 2, environment: 'hosted' },
  mvcc: { floor: 2, environment: 'pure' },
  rpc: { floor: 2, environment: 'hosted' },
  replication: { floor: 3, environment: 'hosted' },
  state: { floor: 3, environment: 'pure' },
  client: { floor: 3, environment: 'hosted' },
  server: { floor: 4, environment: 'hosted' },
  cli: { floor: 5, environment: 'node' },
  bench: { floor: 5, environment: 'node' },
  simulator: { floor: 5, environment: 'hosted' },
  testkit: { floor: 2, environment: 'node' },
};

/** Parts of a package that may touch Node although the package may not. */
export const NODE_CORNERS: readonly string[] = [
  'packages/runtime/src/node/',
  'packages/backend/src/lmdb',
  'packages/server/src/http/',
  'packages/simulator/src/main.ts',
  'packages/simulator/src/shares.ts',
  'packages/simulator/src/start.ts',
  'packages/replication/src/peers/http-',
  'packages/rpc/interop/',
  'packages/rpc/conformance/',
  'packages/rpc/attacks/',
];

/** What Node calculates for us: no effect, no time; no chance as long as only given bytes go in. For hosted packages. */
export const CALCULATING_BUILTINS: readonly string[] = ['node:crypto', 'node:zlib'];

/** Parts that take the place of the clock and of chance, or bring a runtime's own, and so must name them. */
export const SIMULATION_CORNERS: readonly string[] = [
  'packages/runtime/src/sim/',
  'packages/runtime/src/memory/',
  'packages/client/src/fetch/',
];

/** Whether the file is a test, a benchmark or a helper of theirs, to which other rules apply. */
export function isTestFile(path: string): boolean {
  return /\.(test|bench|fuzz)\.ts$/.test(path) || /\/(testing|testdata)\//.test(path) || path.includes('/suite.ts');
}
