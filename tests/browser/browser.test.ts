/**
 * Goal: pages in a real browser reach a member: with `@etsd/client/fetch`, loaded as plain ES modules, and with what every
 * browser has by the HTTP API. Method: Chromium loads pages from a server of ours, so that the member's origin is
 * another; what a page complains about fails the test.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, afterEach, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { findProgram, freePort, needsPeer } from '@etsd/testkit';
import { Browser, needsBrowser, type Page } from '../support/browser.ts';
import { type Product, startServer, type TestServer } from '../support/server.ts';
import { WebModules } from '../support/web-modules.ts';

const CLIENT = '/tests/browser/client-page.ts';
const BARE = '/tests/client/bare-scenario.ts';
const API = '/tests/browser/api-page.ts';
/** How often each of two counts; `ETSD_TEST_COUNT_ROUNDS` has it done more often. */
const COUNT_ROUNDS = Number(process.env['ETSD_TEST_COUNT_ROUNDS'] ?? 50);
/** Rounds that a page is asked for at a time: a call of a page has a deadline. And the longest that one round may take, in ms. */
const ROUNDS_AT_ONCE = 50;
const ROUND_MS = 200;
/** Counts to $ROUNDS with curl, at $COUNTER, each time under the tag that was read; prints how often somebody else was faster. */
const COUNT_WITH_CURL = `
  refused=0
  while [ "$ROUNDS" -gt 0 ]; do
    read=$(curl -sS -w ' %header{etag}' "$COUNTER")
    status=$(curl -sS -o /dev/null -w '%{http_code}' -X PUT -H "If-Match: \${read#* }" -d "$((\${read% *} + 1))" "$COUNTER")
    case $status in
      200) ROUNDS=$((ROUNDS - 1)) ;;
      412) refused=$((refused + 1)) ;;
      *) echo "$status to a write" >&2; exit 1 ;;
    esac
  done
  echo "$refused"`;

/** Counts on a page; how often somebody else was faster. */
async function countOn(page: Page, api: string): Promise<number> {
  let refused = 0;
  for (let left = COUNT_ROUNDS; left > 0; left -= ROUNDS_AT_ONCE) {
    refused += await page.call<number>(API, 'count', api, Math.min(left, ROUNDS_AT_ONCE));
  }
  return refused;
}

describe('a browser', { skip: needsBrowser(), timeout: 400_000 + COUNT_ROUNDS * ROUND_MS, concurrency: 3 }, () => {
  let browser: Browser;
  let modules: WebModules;
  before(async () => {
    modules = await WebModules.start();
    browser = await Browser.start();
  });
  after(async () => {
    await browser.close();
    await modules[Symbol.asyncDispose]();
  });

  const start = (product: Product, origin = modules.origin): Promise<TestServer> =>
    startServer({ product, flags: ['--cors', origin, '--auth-token-ttl', '1'] });

  for (const product of ['etsd', 'etcd'] as const) {
    describe(`with the client and ${product}`, {
      skip: product === 'etcd' && needsPeer('etcd'),
      concurrency: 1,
    }, () => {
      let server: TestServer;
      let page: Page;
      before(async () => {
        [server, page] = await Promise.all([start(product), browser.open(modules.origin)]);
      });
      afterEach(() => {
        // What the browser says of answers with an error's status, and of requests that were given up.
        const unexpected = page.complaints.splice(0).filter((text) => !text.startsWith('Failed to load resource'));
        assert.deepEqual(unexpected, []);
      });
      after(async () => {
        await page.close();
        await server.dispose();
      });

      test('keys, text, watches, leases', async () => {
        assert.match(await page.call<string>(BARE, 'run', server.address), /^done/);
      });
      test('many keys, pages, large values, transactions', async () => {
        assert.equal(await page.call(CLIENT, 'amounts', server.address), 'done');
      });
      test('errors are typed and carry the code', async () => {
        assert.equal(await page.call(CLIENT, 'refusals', server.address, `127.0.0.1:${await freePort()}`), 'done');
      });
      test('what waits is aborted, and holds no connection', async () => {
        assert.equal(await page.call(CLIENT, 'aborts', server.address), 'done');
      });
      test('names, passwords, tokens that end', async () => {
        assert.equal(await page.call(CLIENT, 'guarded', server.address), 'done');
      });
      test('a watch goes on where it was, through kills of the server', async () => {
        await page.call(CLIENT, 'startWatch', server.address);
        const expected = ['0'];
        for (let round = 1; round <= 3; round++) {
          await put(server, `through/${round}`);
          expected.push(`${round}`);
          await page.waitFor(`seen.length >= ${expected.length}`);
          await server.kill();
          await server.start();
        }
        await put(server, 'through/end');
        await page.waitFor(`seen.at(-1) === 'end'`);
        assert.deepEqual(await page.evaluate('seen'), [...expected, 'end']);
        // Reloaded, the page lets go of everything.
        await page.go(modules.origin);
        page.complaints.length = 0;
      });
    });
  }

  test('a page of an origin that is not named may not', async () => {
    const server = await start('etsd', 'https://other.example');
    const page = await browser.open(modules.origin);
    try {
      const error = await page.call<string>(CLIENT, 'foreign', server.address);
      assert.ok(['UnavailableError', 'TimeoutError'].includes(error), error);
      assert.ok(
        page.complaints.some((text) => /blocked by CORS policy/.test(text)),
        page.complaints.join('\n'),
      );
      assert.equal((await fetch(`http://${server.address}/api/keys/foreign`)).status, 404, 'nothing was written');
    } finally {
      await page.close();
      await server.dispose();
    }
  });

  describe('with the HTTP API', { concurrency: 1 }, () => {
    let server: TestServer;
    let pages: Page[];
    let api: string;
    before(async () => {
      server = await start('etsd');
      pages = [await browser.open(modules.origin), await browser.open(modules.origin)];
      api = `http://${server.address}/api`;
    });
    after(async () => {
      for (const page of pages) await page.close();
      await server.dispose();
    });

    test('keys, conditions, lists, transactions, leases', async () => {
      assert.equal(await pages[0]?.call(API, 'everyday', api), 'done');
    });

    test('two pages lose no update of one counter', async (t) => {
      await fetch(`${api}/keys/counter`, { method: 'PUT', body: '0' });
      const refused = await Promise.all(pages.map((page) => countOn(page, api)));
      t.diagnostic(`${refused.join(' and ')} writes came too late`);
      assert.equal(await (await fetch(`${api}/keys/counter`)).text(), String(2 * COUNT_ROUNDS));
    });

    const noCurl = findProgram('curl') === null && 'no curl in PATH';
    test('a page and curl lose no update of one counter', { skip: noCurl }, async (t) => {
      const counter = `${api}/keys/counter`;
      await fetch(counter, { method: 'PUT', body: '0' });
      const env = { ...process.env, NO_PROXY: '*', ROUNDS: String(COUNT_ROUNDS), COUNTER: counter };
      const [ofPage, ofCurl] = await Promise.all([
        countOn(pages[0] as Page, api),
        promisify(execFile)('sh', ['-c', COUNT_WITH_CURL], { env }),
      ]);
      t.diagnostic(`${ofPage} and ${ofCurl.stdout.trim()} writes came too late`);
      assert.equal(await (await fetch(counter)).text(), String(2 * COUNT_ROUNDS));
    });

    test('an EventSource comes back after the server was away, and misses nothing', async () => {
      const [page] = pages as [Page];
      await page.call(API, 'listen', api);
      await page.waitFor(`told.includes('open')`);
      for (const name of ['a', 'b']) await put(server, `through/${name}`);
      await page.waitFor(`told.includes('through/b')`);
      await server.kill();
      await server.start();
      await put(server, 'through/c');
      await page.waitFor(`told.includes('through/c')`);
      const told = await page.evaluate<string[]>('told');
      assert.deepEqual(
        told.filter((text) => text !== 'open'),
        ['through/a', 'through/b', 'through/c'],
      );
      await page.evaluate('source.close()');
    });
  });
});

async function put(server: TestServer, name: string): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const body = JSON.stringify({ key: base64(name), value: base64('x') });
  const { ok } = await fetch(`http://${server.address}/v3/kv/put`, { method: 'POST', body });
  assert.ok(ok, name);
}
