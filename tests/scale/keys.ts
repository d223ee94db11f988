import { setTimeout as pause } from 'node:timers/promises';
import type { Product } from '../support/server.ts';
import { connect, countAll, keyOf, load, page, times } from './client.ts';
import { MeasuredServer, type Resident } from './measured-server.ts';

export interface KeysResult {
  readonly product: Product;
  readonly loadSeconds: number;
  readonly empty: Resident;
  /** A few seconds after the last put. */
  readonly loaded: Resident;
  /** The same of the process that was started over what is on disk. */
  readonly restarted: Resident;
  readonly restartMs: number;
  readonly countMs: { readonly p50: number; readonly max: number };
  readonly pageMs: { readonly p50: number; readonly max: number };
}

const SETTLE_MS = 5000;
const ROUNDS = 50;

/** Loads keys, looks at memory, asks for counts and pages, starts the member again. */
export async function manyKeys(product: Product, keys: number, flags: string[] = []): Promise<KeysResult> {
  const server = await MeasuredServer.start(product, flags);
  try {
    const empty = server.resident();
    const startedMs = performance.now();
    await load(server.address, '/scale/', keys, 256);
    const loadSeconds = (performance.now() - startedMs) / 1000;
    await pause(SETTLE_MS);
    const loaded = server.resident();
    const before = await server.probe();
    if (before !== null) console.error(`  loaded: ${JSON.stringify(before)}`);
    const channel = connect(server.address);
    const count = await times(ROUNDS, () => check(countAll(channel), keys));
    let at = 0;
    const pages = await times(ROUNDS, () =>
      check(page(channel, keyOf('/scale/', Math.floor(keys / 2) + at++ * 100), 100), 100),
    );
    channel.close();
    await server.stop();
    const restartMs = await server.launch();
    await pause(SETTLE_MS);
    const restarted = server.resident();
    const after = await server.probe();
    if (after !== null) console.error(`  restarted: ${JSON.stringify(after)}`);
    return {
      product,
      loadSeconds,
      empty,
      loaded,
      restarted,
      restartMs,
      countMs: { p50: count.percentileMs(50), max: count.maxMs },
      pageMs: { p50: pages.percentileMs(50), max: pages.maxMs },
    };
  } finally {
    await server.dispose();
  }
}

async function check(answer: Promise<number>, wanted: number): Promise<void> {
  const found = await answer;
  if (found !== wanted) throw new Error(`${found} keys where ${wanted} are`);
}
