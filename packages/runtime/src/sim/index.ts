export type { MachineClock } from './clock.ts';
export { FaultCounts } from './counts.ts';
export type { Rot, SimMedium } from './disk.ts';
export {
  type ClockFaults,
  calmDisk,
  calmNetwork,
  type DiskFaults,
  type NetworkFaults,
} from './faults.ts';
export type { SimNames } from './names.ts';
export type { SimLan } from './network.ts';
export { Life, type RunLimits, type SimEvent, Simulation } from './simulation.ts';
export { Tripwires } from './tripwires.ts';
export { SimMachine, SimUniverse } from './world.ts';
