import type { Clock } from '../clock.ts';

export class NodeClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }
}
