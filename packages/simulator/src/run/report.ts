import { describeFault } from './faults.ts';
import { describePlan } from './plan.ts';
import type { SimulateResult } from './simulate.ts';

/** Of a failing run's trace, without being asked for more. */
const TRACE_LINES = 60;
const VIOLATIONS_MAX = 10;

/** One line about a run. */
export function summaryOf({ seed, plan, stats, violations }: SimulateResult): string {
  const faults = Object.values(stats.faults).reduce((sum, count) => sum + count, 0);
  const rate = (stats.calls * 1000) / stats.simulatedMs;
  const verdict = violations.length === 0 ? 'ok' : `${violations.length} VIOLATIONS`;
  return [
    `seed ${seed}: ${verdict}`,
    `${plan.founders}+${plan.spares} members`,
    `${(stats.simulatedMs / 1000).toFixed(0)} s`,
    `${stats.calls} calls (${rate.toFixed(0)}/s)`,
    `${stats.entries} entries`,
    `${stats.terms} leaders`,
    `${faults} faults`,
    `trace ${stats.traceDigest.toString(16).padStart(8, '0')}`,
  ].join(', ');
}

/** Everything that somebody needs who is to find the reason. `replay` is the command that shows it again. */
export function failureOf(result: SimulateResult, commit: string, replay: string): string {
  const { plan, faults, violations, trace } = result;
  return [
    `seed ${result.seed} at commit ${commit}; again, with the whole trace: ${replay}`,
    describePlan(plan),
    `${faults.length} faults:`,
    ...faults.map((fault) => `  ${fault.atMs.toFixed(1).padStart(10)}  ${describeFault(fault)}`),
    'trace:',
    ...trace.slice(-TRACE_LINES),
    ...violations.slice(0, VIOLATIONS_MAX).map(({ rule, text }) => `VIOLATION of ${rule}: ${text}`),
  ].join('\n');
}
