/**
 * What a machine does to a process that does nothing: a loop of ten microseconds that looks at the clock and at its own
 * processor time. Whatever jumps here is not the doing of a program; on a virtual machine whose host takes time away even
 * processor time jumps. Measurements of single turns mean something beside these figures only.
 */
export interface ControlResult {
  readonly seconds: number;
  /** Longest jumps and how many were over 10 ms, by the clock and by processor time. */
  readonly clockMaxMs: number;
  readonly clockOver: number;
  readonly cpuMaxMs: number;
  readonly cpuOver: number;
}

const BOUND_MS = 10;
const LOOPS = 2000;

export function control(seconds: number): ControlResult {
  const startedMs = performance.now();
  let [clockMaxMs, clockOver, cpuMaxMs, cpuOver] = [0, 0, 0, 0];
  let beforeMs = startedMs;
  let before = process.threadCpuUsage();
  while (beforeMs - startedMs < seconds * 1000) {
    let work = 0;
    for (let i = 0; i < LOOPS; i++) work += i;
    const now = process.threadCpuUsage();
    const nowMs = performance.now();
    if (work < 0) throw new Error('numbers are broken');
    const clockMs = nowMs - beforeMs;
    const cpuMs = (now.user + now.system - before.user - before.system) / 1000;
    clockMaxMs = Math.max(clockMaxMs, clockMs);
    cpuMaxMs = Math.max(cpuMaxMs, cpuMs);
    if (clockMs > BOUND_MS) clockOver++;
    if (cpuMs > BOUND_MS) cpuOver++;
    before = now;
    beforeMs = nowMs;
  }
  return { seconds, clockMaxMs, clockOver, cpuMaxMs, cpuOver };
}
