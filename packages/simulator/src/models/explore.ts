/**
 * Looks at every state that a small model can get into, breadth first, so that the way to a broken invariant is a shortest
 * one. What TLC does for TLA+, for models written here: see docs/internals/watch.tla and lease.tla for the same in TLA+.
 */
export interface Model<State> {
  readonly initial: State;
  /** Every step possible in the state, with a name for people. States must be plain data and are not changed. */
  steps(state: State): Iterable<readonly [name: string, next: State]>;
  /** What is wrong with the state, or null. */
  broken(state: State): string | null;
  /** Whether all is done: from every state such a one must stay reachable. */
  isGoal(state: State): boolean;
}

export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  /** Why the model is wrong, and the names of the steps that lead there; null where it is right. */
  readonly problem: string | null;
  readonly path: readonly string[];
}

interface Node<State> {
  readonly state: State;
  readonly parent: number;
  readonly step: string;
}

/** @throws Error where there are more states than `statesMax`. */
export function explore<State>(model: Model<State>, statesMax = 2_000_000): Exploration {
  const nodes: Node<State>[] = [{ state: model.initial, parent: -1, step: '' }];
  const numbers = new Map<string, number>([[JSON.stringify(model.initial), 0]]);
  const before: number[][] = [[]];
  let transitions = 0;
  const pathTo = (number: number): string[] => {
    const path: string[] = [];
    for (let at = number; at > 0; at = (nodes[at] as Node<State>).parent) path.push((nodes[at] as Node<State>).step);
    return path.reverse();
  };
  const found = (problem: string | null, number: number): Exploration => ({
    states: nodes.length,
    transitions,
    problem,
    path: problem === null ? [] : pathTo(number),
  });
  for (let number = 0; number < nodes.length; number++) {
    const { state } = nodes[number] as Node<State>;
    const problem = model.broken(state);
    if (problem !== null) return found(problem, number);
    for (const [step, next] of model.steps(state)) {
      transitions++;
      const key = JSON.stringify(next);
      let target = numbers.get(key);
      if (target === undefined) {
        target = nodes.length;
        if (target >= statesMax) throw new Error(`more than ${statesMax} states`);
        numbers.set(key, target);
        nodes.push({ state: next, parent: number, step });
        before.push([]);
      }
      (before[target] as number[]).push(number);
    }
  }
  const lost = cannotFinish(nodes, before, model);
  return lost < 0 ? found(null, 0) : found('from here there is no way to the end', lost);
}

/** The first state from which no goal can be reached; -1 where there is none. */
function cannotFinish<State>(nodes: readonly Node<State>[], before: readonly number[][], model: Model<State>): number {
  const canFinish = new Uint8Array(nodes.length);
  const open: number[] = [];
  for (const [number, { state }] of nodes.entries()) {
    if (!model.isGoal(state)) continue;
    canFinish[number] = 1;
    open.push(number);
  }
  for (let number = open.pop(); number !== undefined; number = open.pop()) {
    for (const earlier of before[number] as number[]) {
      if (canFinish[earlier] === 1) continue;
      canFinish[earlier] = 1;
      open.push(earlier);
    }
  }
  return canFinish.indexOf(0);
}
