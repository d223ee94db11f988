/**
 * Ten clients that number tickets: no number is given twice. `node_modules/.bin/node examples/counter.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { Counter } from '@etsd/client/recipes';

const endpoints = process.argv[2] ?? '127.0.0.1:2379';

async function desk(): Promise<number[]> {
  await using client = new EtcdClient({ endpoints });
  const tickets = new Counter(client, 'example/tickets');
  return [await tickets.add(), await tickets.add()];
}

const numbers = (await Promise.all(Array.from({ length: 10 }, desk))).flat();
console.log(`tickets: ${numbers.sort((left, right) => left - right).join(' ')}`);
