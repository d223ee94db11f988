import type { Violation } from '../checkers/history.ts';
import type { Mutation } from './mutation.ts';
import type { RunScene, Scene, ScriptScene } from './scenes.ts';
import { importMutated } from './testing/loader.ts';

type Scripts = Record<ScriptScene['name'], () => Promise<string | null>>;
type Simulator = typeof import('../run/simulate.ts');

const SIMULATOR = 'simulator/src/run/simulate.ts';
const SCRIPTS = 'simulator/src/mutations/testing/scripts.ts';

/** What came of a scene. */
export interface Replay {
  /** The first promise that was broken; null where none was. */
  readonly violation: Violation | null;
  /** Until then, or to the end, in simulated milliseconds. */
  readonly simulatedMs: number;
}

/** Plays a scene with the bug in the code, or without one. The seed may be another than the scene's. */
export async function replay(scene: Scene, mutation: Mutation | null, seed?: number): Promise<Replay> {
  if (scene.kind === 'script') return await replayScript(scene, mutation);
  return await replayRun(scene, mutation, seed ?? scene.seed);
}

async function replayRun(
  { seconds, plan, faults }: RunScene,
  mutation: Mutation | null,
  seed: number,
): Promise<Replay> {
  const simulator = mutation === null ? import('../run/simulate.ts') : importMutated<Simulator>(SIMULATOR, mutation);
  const { simulate } = await simulator;
  const { violations, stats } = await simulate({ seed, seconds, plan, faults });
  return { violation: violations[0] ?? null, simulatedMs: stats.simulatedMs };
}

async function replayScript({ name }: ScriptScene, mutation: Mutation | null): Promise<Replay> {
  const scripts: Promise<Scripts> =
    mutation === null ? import('./testing/scripts.ts') : importMutated<Scripts>(SCRIPTS, mutation);
  const text = await (await scripts)[name]();
  return { violation: text === null ? null : { rule: 'script', text }, simulatedMs: 0 };
}
