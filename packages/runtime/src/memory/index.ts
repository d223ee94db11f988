export { MemoryDisk } from './disk.ts';
export { ManualClock, type ManualClockOptions } from './manual-clock.ts';
export { inProcessPath, LocalNetwork } from './network.ts';
export { OwnedTimers } from './owned-timers.ts';
