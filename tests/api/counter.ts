/**
 * Two clients and one counter: each reads it with its entity tag, adds one, and writes it back if the tag still holds.
 * None of the additions may be lost.
 *
 *   node tests/api/counter.ts [--rounds 10000] [--clients 2] [--url http://127.0.0.1:2379]
 */
import { parseArgs } from 'node:util';
import { startServer } from '../support/server.ts';

export interface Counted {
  /** What the counter says in the end. */
  readonly value: number;
  /** Writes that were refused because the other was faster. */
  readonly refused: number;
}

/** Counts to `rounds` times the number of clients. */
export async function count(url: string, rounds: number, clients = 2): Promise<Counted> {
  const key = `${url}/api/keys/counter`;
  const made = await fetch(key, { method: 'PUT', body: '0', headers: { 'If-None-Match': '*' } });
  if (made.status !== 201) throw new Error(`the counter was there: ${made.status} ${await made.text()}`);
  let refused = 0;
  const client = async (): Promise<void> => {
    for (let done = 0; done < rounds; ) {
      const read = await fetch(key);
      const value = Number(await read.text());
      const headers = { 'If-Match': read.headers.get('etag') ?? '' };
      const written = await fetch(key, { method: 'PUT', body: String(value + 1), headers });
      await written.text();
      if (written.status === 200) done++;
      else if (written.status === 412) refused++;
      else throw new Error(`${written.status} to a write`);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { value: Number(await (await fetch(key)).text()), refused };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '10000' },
      clients: { type: 'string', default: '2' },
      url: { type: 'string' },
    },
  });
  const server = values.url === undefined ? await startServer({ product: 'etsd' }) : null;
  try {
    const rounds = Number(values.rounds);
    const clients = Number(values.clients);
    const { value, refused } = await count(values.url ?? `http://${server?.address}`, rounds, clients);
    console.log(`${clients} clients, ${rounds} rounds each: counted ${value}, ${refused} writes came too late`);
    process.exitCode = value === rounds * clients ? 0 : 1;
  } finally {
    await server?.dispose();
  }
}
