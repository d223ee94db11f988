/** What runs in a thread of `NodeWorkers`: calls what it is told and sends back what came of it. */
import { parentPort } from 'node:worker_threads';

interface Call {
  readonly moduleUrl: string;
  readonly exportName: string;
  readonly args: readonly unknown[];
}

parentPort?.on('message', async (call: Call) => {
  try {
    const module = (await import(call.moduleUrl)) as Record<string, unknown>;
    const target = module[call.exportName];
    if (typeof target !== 'function') throw new TypeError(`${call.moduleUrl} exports no function ${call.exportName}`);
    parentPort?.postMessage({ result: await target(...call.args), error: null });
  } catch (error) {
    parentPort?.postMessage({ result: undefined, error: error instanceof Error ? error : new Error(String(error)) });
  }
});
