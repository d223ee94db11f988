/**
 * Machines that reboot, two at a time: a slot is kept through the reboot, since it is held by the machine's name and not by
 * a process. `node_modules/.bin/node examples/semaphore.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { Semaphore } from '@etsd/client/recipes';

const endpoints = process.argv[2] ?? '127.0.0.1:2379';

async function machine(name: string): Promise<void> {
  {
    await using client = new EtcdClient({ endpoints });
    await new Semaphore(client, 'example/reboots', { limit: 2 }).acquire({ holder: name });
    console.log(`${name} reboots`);
  }
  // Another process by now: it asks under the same name and has the slot still.
  await using client = new EtcdClient({ endpoints });
  const semaphore = new Semaphore(client, 'example/reboots', { limit: 2 });
  const slot = await semaphore.acquire({ holder: name });
  const rebooting = (await semaphore.list()).filter((each) => !each.isWaiting);
  console.log(`${name} is back, ${rebooting.length <= 2 ? 'no more than two were away' : 'too many were away'}`);
  await slot.release();
}

await Promise.all(['m1', 'm2', 'm3', 'm4'].map(machine));
