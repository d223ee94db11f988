/** What a page does with the HTTP API (docs/http.md), with nothing but what every browser has; see `browser.test.ts`. */

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`not so: ${what}`);
}

/** Keys, conditions, lists, transactions, leases. */
export async function everyday(api: string): Promise<string> {
  const url = `${api}/keys/${encodeURIComponent('Страница')}/ä`;
  const made = await fetch(url, { method: 'PUT', body: 'один', headers: { 'If-None-Match': '*' } });
  check(made.status === 201, `made: ${made.status}`);
  const read = await fetch(url);
  const etag = read.headers.get('etag') ?? '';
  check((await read.text()) === 'один' && /^"\d+"$/.test(etag), `read with its tag: ${etag}`);
  check((await fetch(url, { method: 'PUT', body: 'x', headers: { 'If-Match': '"1"' } })).status === 412, 'too late');
  check((await fetch(url, { method: 'PUT', body: 'два', headers: { 'If-Match': etag } })).status === 200, 'in time');
  const missing = await fetch(`${api}/keys/nothing`);
  const problem = (await missing.json()) as { status: number; code: string };
  check(missing.status === 404 && problem.code === 'key_not_found', `what is missing: ${JSON.stringify(problem)}`);

  const body = '{"if":[{"key":"new","exists":false}],"then":[{"put":"new","value":"1"},{"get":"new"}]}';
  const outcome = (await (await fetch(`${api}/txn`, { method: 'POST', body })).json()) as { succeeded: boolean };
  check(outcome.succeeded, `a transaction: ${JSON.stringify(outcome)}`);

  for (let i = 0; i < 5; i++) await fetch(`${api}/keys/list/${i}`, { method: 'PUT', body: `${i}` });
  const listed: string[] = [];
  for (let page: string | undefined, more = true; more; more = page !== undefined) {
    const query = new URLSearchParams({ prefix: 'list/', limit: '2', ...(page === undefined ? {} : { page }) });
    const answer = (await (await fetch(`${api}/keys?${query}`)).json()) as { kvs: { value: string }[]; next?: string };
    listed.push(...answer.kvs.map(({ value }) => value));
    page = answer.next;
  }
  check(listed.join() === '0,1,2,3,4', `pages: ${listed.join()}`);

  const lease = (await (await fetch(`${api}/leases`, { method: 'POST', body: '{"ttl":60}' })).json()) as { id: string };
  await fetch(`${api}/keys/leased?lease=${lease.id}`, { method: 'PUT', body: '' });
  await fetch(`${api}/leases/${lease.id}`, { method: 'DELETE' });
  check((await fetch(`${api}/keys/leased`)).status === 404, 'a key goes with its lease');
  return 'done';
}

/** Adds so many to the counter, each time under the tag that was read; how often somebody else was faster. */
export async function count(api: string, rounds: number): Promise<number> {
  const url = `${api}/keys/counter`;
  let refused = 0;
  for (let done = 0; done < rounds; ) {
    const read = await fetch(url);
    const headers = { 'If-Match': read.headers.get('etag') ?? '' };
    const body = String(Number(await read.text()) + 1);
    const { status } = await fetch(url, { method: 'PUT', body, headers });
    if (status === 200) done++;
    else if (status === 412) refused++;
    else throw new Error(`${status} to a write`);
  }
  return refused;
}

/** Listens with an `EventSource`; `told` has what came, with the revision. It comes back by itself when it is cut off. */
export function listen(api: string): void {
  const page = globalThis as { told?: string[]; source?: EventSource };
  page.told = [];
  page.source = new EventSource(`${api}/watch?prefix=through/`);
  const told = page.told;
  page.source.addEventListener('put', (event) => {
    const { data } = event as Event & { readonly data: string };
    told.push((JSON.parse(data) as { key: string }).key);
  });
  page.source.addEventListener('open', () => told.push('open'));
}
