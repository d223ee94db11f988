/** Runs the `*.vitest.ts` of this folder; vitest has no switch for that, and a configuration file would be the root's. */
import { startVitest } from 'vitest/node';

const vitest = await startVitest('test', [], {
  config: false,
  root: import.meta.dirname,
  include: ['*.vitest.ts'],
  watch: false,
  reporters: ['default'],
});
await vitest.close();
