export * from './checkers/index.ts';
export { describeFault, drawFaults, type Fault, LEADER } from './run/faults.ts';
export { describePlan, drawPlan, FAULT_KINDS, type FaultKind, OPERATION_KINDS, type Plan } from './run/plan.ts';
export { type RunStats, type SimulateOptions, type SimulateResult, simulate } from './run/simulate.ts';
