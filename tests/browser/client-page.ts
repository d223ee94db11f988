/** What a page does with the client, beside what `tests/client/bare-scenario.ts` does; runs in a browser, see `browser.test.ts`. */
import {
  acquire,
  CanceledError,
  EtcdClient,
  EtcdError,
  GrpcCode,
  key,
  prefix,
  put,
  TimeoutError,
  UnavailableError,
  WatchCanceledError,
} from '@etsd/client/fetch';

/** Fails unless the condition holds: this runs where there is no `node:assert`. */
function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`not so: ${what}`);
}

/** What a promise was rejected with. */
async function refusal(what: string, promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (thrown) {
    return thrown;
  }
  throw new Error(`not so: ${what} is refused`);
}

function isCode(thrown: unknown, code: number, text: RegExp): boolean {
  return thrown instanceof EtcdError && thrown.code === code && text.test(thrown.message);
}

const clientOf = (address: string): EtcdClient => new EtcdClient({ endpoints: `http://${address}` });

/** Many keys and a large value go through, pages are of one revision, a transaction takes one of its branches. */
export async function amounts(address: string): Promise<string> {
  const client = clientOf(address).within('amounts/');
  await Promise.all(
    Array.from({ length: 40 }, (_unused, i) => client.kv.put(`k/${String(i).padStart(2, '0')}`, `${i}`)),
  );
  const seen: string[] = [];
  for await (const { value } of client.kv.list(prefix('k/'), { pageSize: 7 })) {
    seen.push(value.toString());
    if (seen.length === 3) await client.kv.put('k/39', 'changed meanwhile');
  }
  check(seen.join() === Array.from({ length: 40 }, (_unused, i) => i).join(), `pages of one revision: ${seen.join()}`);
  const large = new Uint8Array(1_000_000).map((_byte, i) => i * 31);
  await client.kv.put('large', large);
  const back = (await client.kv.get('large'))?.value ?? new Uint8Array();
  check(back.length === large.length && back.every((byte, i) => byte === large[i]), 'a megabyte survives');
  const swap = client.kv
    .transaction()
    .if(key('k/00').value.equals('0'))
    .do(put('k/00', 'x'))
    .otherwise(put('late', ''));
  check((await swap.commit()).succeeded && !(await swap.commit()).succeeded, 'only one swap succeeds');
  await client.kv.delete(prefix(''));
  return 'done';
}

/** Errors are typed, and carry etcd's code and text. */
export async function refusals(address: string, nowhere: string): Promise<string> {
  const client = clientOf(address);
  const { header } = await client.kv.put('refused', '1');
  const revision = header?.revision ?? 0;
  await client.kv.put('refused', '2');
  const empty = await refusal('an empty key', client.kv.put('', ''));
  check(isCode(empty, GrpcCode.InvalidArgument, /key is not provided/), `an empty key: ${empty}`);
  const future = await refusal('the future', client.kv.get('refused', { revision: revision + 1_000_000 }));
  check(isCode(future, GrpcCode.OutOfRange, /future revision/), `the future: ${future}`);
  const large = await refusal('too much', client.kv.put('refused', new Uint8Array(2_000_000)));
  check(isCode(large, GrpcCode.InvalidArgument, /request is too large/), `too much: ${large}`);
  const lease = await refusal('no such lease', client.kv.put('refused', '', { lease: '00000000000000aa' }));
  check(isCode(lease, GrpcCode.NotFound, /lease not found/), `no such lease: ${lease}`);
  await client.kv.compact(revision + 1);
  const compacted = await refusal('what was compacted', client.kv.get('refused', { revision }));
  check(isCode(compacted, GrpcCode.OutOfRange, /has been compacted/), `compacted: ${compacted}`);
  const watch = await refusal('a watch of what was compacted', drain(client, 'refused', revision));
  check(watch instanceof WatchCanceledError && watch.compactRevision === revision + 1, `a watch: ${watch}`);
  const nobody = new EtcdClient({ endpoints: nowhere, timeoutMs: 3000 });
  const unreachable = await refusal('nobody there', nobody.kv.put('a', ''));
  check(unreachable instanceof UnavailableError || unreachable instanceof TimeoutError, `nobody: ${unreachable}`);
  await nobody.close();
  return 'done';
}

async function drain(client: EtcdClient, name: string, startRevision: number): Promise<void> {
  for await (const _event of client.watch(name, { startRevision }).events()) check(false, 'it is compacted');
}

/** Whatever waits ends when its signal says so, and leaves nothing behind. */
export async function aborts(address: string): Promise<string> {
  const client = clientOf(address);
  const before = await refusal('what is aborted before', client.kv.get('a', { signal: AbortSignal.abort() }));
  check(before instanceof CanceledError, `aborted before: ${before}`);

  // Many more watches, one after the other, than a browser allows connections to a server.
  const { header } = await client.kv.put('aborted', '');
  for (let i = 0; i < 20; i++) {
    const stop = new AbortController();
    let events = 0;
    for await (const _event of client
      .watch('aborted', { signal: stop.signal, startRevision: header?.revision ?? 0 })
      .events()) {
      events++;
      stop.abort();
    }
    check(events === 1, `a watch ends when its signal says so, after ${events} events`);
  }

  const [first, second] = [await client.leases.hold(30), await client.leases.hold(30)];
  const held = await acquire(client, 'lock', first);
  const signal = AbortSignal.timeout(300);
  const waited = await refusal('a lock that is held', acquire(client, 'lock', second, { signal }));
  check(waited instanceof CanceledError, `a lock: ${waited}`);
  check((await client.kv.count(prefix('lock'))) === 1, 'who gave up left no key');
  await held.release();
  for (const lease of [first, second]) await lease.release();
  await client.close();
  const closed = await refusal('a closed client', client.kv.get('a'));
  check(closed instanceof EtcdError, `a closed client: ${closed}`);
  return 'done';
}

/** Names and passwords; tokens that end are renewed; refusals keep their code. */
export async function guarded(address: string): Promise<string> {
  const endpoints = `http://${address}`;
  const open = clientOf(address);
  await open.auth.addUser('root', 'r');
  await open.auth.grantRole('root', 'root');
  await open.auth.addUser('alice', 'a');
  await open.auth.addRole('reader');
  await open.auth.grantPermission('reader', 'READ', prefix('open/'));
  await open.auth.grantRole('alice', 'reader');
  await open.auth.enable();
  const admin = new EtcdClient({ endpoints, user: { name: 'root', password: 'r' } });
  try {
    await admin.kv.put('open/a', '1');
    const alice = new EtcdClient({ endpoints, user: { name: 'alice', password: 'a' } });
    check((await alice.kv.get('open/a'))?.value.toString() === '1', 'she may read');
    const denied = await refusal('a write of hers', alice.kv.put('open/a', '2'));
    check(isCode(denied, GrpcCode.PermissionDenied, /permission denied/), `a write: ${denied}`);
    const wrong = new EtcdClient({ endpoints, user: { name: 'alice', password: 'b' } });
    const login = await refusal('a wrong password', wrong.login());
    check(isCode(login, GrpcCode.InvalidArgument, /invalid user ID or password/), `a wrong password: ${login}`);
    // Tokens end a second after their last use here.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    check((await alice.kv.get('open/a'))?.value.toString() === '1', 'her token is renewed');
    await alice.close();
  } finally {
    await admin.auth.disable();
    await admin.close();
  }
  return 'done';
}

/** Begins to watch; `seen` tells what came. It goes on through whatever happens to the server. */
export async function startWatch(address: string): Promise<void> {
  const client = clientOf(address);
  const { header } = await client.kv.put('through/0', '');
  const page = globalThis as { seen?: string[] };
  page.seen = [];
  const watch = client.watch(prefix('through/'), { startRevision: header?.revision ?? 0 });
  void (async () => {
    for await (const { kv } of watch.events()) page.seen?.push(kv?.key.toString().slice('through/'.length) ?? '');
  })();
}

/** The requests that a page of another origin may not make fail as if nobody were there. */
export async function foreign(address: string): Promise<string> {
  const client = new EtcdClient({ endpoints: `http://${address}` });
  const thrown = await refusal('a page of another origin', client.kv.put('foreign', '', { timeoutMs: 3000 }));
  await client.close();
  return (thrown as Error).constructor.name;
}
