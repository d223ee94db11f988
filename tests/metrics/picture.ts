/**
 * `node tests/metrics/picture.ts`: runs three members with clients at work and a Prometheus for a minute, has a browser draw the
 * dashboard from its JSON and their data, and writes `docs/images/dashboard.png`.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { DASHBOARD_FILE } from '../../scripts/gen-dashboard.ts';
import { ROOT } from '../support/binaries.ts';
import { Browser } from '../support/browser.ts';
import { JOB, ObservedCluster } from './observed.ts';

const PICTURE = join(ROOT, 'docs/images/dashboard.png');
const SECONDS = 75;
const SCRAPE_MS = 1000;
const WIDTH = 24 * 58 + 8;

interface Range {
  readonly from: number;
  readonly to: number;
}

async function answer(observed: ObservedCluster, range: Range, url: URL, response: ServerResponse): Promise<void> {
  const send = (type: string, body: string): void => void response.writeHead(200, { 'Content-Type': type }).end(body);
  switch (url.pathname) {
    case '/':
      send('text/html', '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>');
      break;
    case '/page.js':
      send('text/javascript', stripTypeScriptTypes(readFileSync(join(import.meta.dirname, 'picture-page.ts'), 'utf8')));
      break;
    case '/dashboard':
      send('application/json', readFileSync(DASHBOARD_FILE, 'utf8'));
      break;
    case '/range': {
      // As Grafana would choose it: four scrapes.
      const variables = { cluster: JOB, __rate_interval: '8s' };
      send('application/json', JSON.stringify({ ...range, variables }));
      break;
    }
    case '/query': {
      const { from, to } = range;
      const query = encodeURIComponent(url.searchParams.get('query') ?? '');
      const path = `/api/v1/query_range?query=${query}&start=${from}&end=${to}&step=1`;
      send('application/json', await observed.get(path));
      break;
    }
    default:
      response.writeHead(404).end();
  }
}

async function main(): Promise<void> {
  await using observed = await ObservedCluster.start(SCRAPE_MS);
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  const to = Math.floor(Date.now() / 1000);
  const range = { from: to - SECONDS + 10, to };
  const server = createServer((request, response) => {
    answer(observed, range, new URL(request.url ?? '/', 'http://local'), response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await using browser = await Browser.start();
  try {
    const page = await browser.open(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const done = await page.waitFor<{ empty?: number; error?: string }>('window.done');
    if (done.error !== undefined) throw new Error(done.error);
    const height = await page.evaluate<number>('document.body.offsetHeight');
    await page.send('Emulation.setDeviceMetricsOverride', {
      width: WIDTH,
      height,
      deviceScaleFactor: 1,
      mobile: false,
    });
    const { data } = await page.send('Page.captureScreenshot', { format: 'png' });
    mkdirSync(dirname(PICTURE), { recursive: true });
    writeFileSync(PICTURE, Buffer.from(data as string, 'base64'));
    console.log(`${PICTURE}: ${WIDTH} × ${height}, ${done.empty} panels have nothing to show`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

await main();
