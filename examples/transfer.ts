/**
 * Money between accounts, by transactions written as if nobody else were there: those that meet are done again, and the sum
 * stays. `node_modules/.bin/node examples/transfer.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { atomically } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379', namespace: 'example/bank/' });
const accounts = ['ada', 'grace', 'edsger'];
for (const account of accounts) await client.kv.put(account, '100');

function transfer(from: string, to: string, amount: number): Promise<boolean> {
  return atomically(client, async (memory) => {
    const balance = Number(await memory.text(from));
    if (balance < amount) return false;
    memory.put(from, String(balance - amount));
    memory.put(to, String(Number(await memory.text(to)) + amount));
    return true;
  });
}

const done = await Promise.all([
  transfer('ada', 'grace', 30),
  transfer('grace', 'edsger', 50),
  transfer('edsger', 'ada', 20),
  transfer('ada', 'edsger', 1000),
]);
console.log(`done: ${done.join(', ')}`);
const balances = await atomically(client, (memory) => Promise.all(accounts.map((each) => memory.text(each))));
console.log(`balances: ${balances.join(', ')}`);
console.log(`sum: ${balances.reduce((sum, balance) => sum + Number(balance), 0)}`);
