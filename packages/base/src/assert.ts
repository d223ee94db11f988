/** Thrown when an invariant of our own does not hold. It is a bug of etsd, never of its input; the member stops. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/**
 * States an invariant that must hold here. One condition per call, so that the message names the one that broke.
 * Assertions stay on in production: a wrong answer costs more than a stopped member.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a place that no input can reach; reaching it is a bug. */
export function unreachable(message: string): never {
  throw new AssertionError(`unreachable: ${message}`);
}

let checkedMode = false;

/** Turns the expensive checks on (poisoned buffers, randomly disabled fast paths). Tests and the simulator do. */
export function setChecked(on: boolean): void {
  checkedMode = on;
}

/** Whether the expensive checks are on. */
export function isChecked(): boolean {
  return checkedMode;
}
