/**
 * A member of etsd whose wall clock can be set while it runs: what the program does, in a world with a different clock. The
 * file named by TEST_WALL_CLOCK_OFFSET holds the milliseconds by which it is wrong. The monotonic clock is not touched, as it
 * is not when somebody sets the clock of a machine.
 */
import { readFileSync } from 'node:fs';
import type { Clock, World } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { main } from '../../packages/cli/src/etsd/main.ts';

const LOOK_EVERY_MS = 50;

let offsetMs = 0;
const control = process.env['TEST_WALL_CLOCK_OFFSET'];
if (control !== undefined) {
  setInterval(() => {
    try {
      offsetMs = Number(readFileSync(control, 'latin1'));
    } catch {
      offsetMs = 0;
    }
  }, LOOK_EVERY_MS).unref();
}

const real = nodeWorld();
const clock: Clock = { nowMs: () => real.clock.nowMs(), wallMs: () => real.clock.wallMs() + offsetMs };
const world: World = { ...real, clock };
await main(process.argv.slice(2), world);
