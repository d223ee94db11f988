/**
 * Requests per second on `/v2/keys`, the products in turn, on this machine:
 *
 *   node tests/v2/load.ts [--seconds 3] [--clients 16] [--rounds 1] [--only put,get,queue,list]
 */
import { connect, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { needsPeer } from '@etsd/testkit';
import { type Product, startServer } from '../support/server.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    clients: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '1' },
    only: { type: 'string', default: 'put,get,queue,list' },
    products: { type: 'string', default: 'etcd,etsd' },
  },
});
const VALUE = `value=${'x'.repeat(256)}`;
const KINDS: Readonly<Record<string, readonly [method: string, path: string, body: string]>> = {
  put: ['PUT', '/v2/keys/a/b', VALUE],
  get: ['GET', '/v2/keys/a/b', ''],
  queue: ['POST', '/v2/keys/q', VALUE],
  list: ['GET', '/v2/keys/l?recursive=true&sorted=true', ''],
};
const HEAD_END = Buffer.from('\r\n\r\n');

/** The bytes of a request, made once: what is measured shall be the server. */
function requestBytes(port: number, [method, path, body]: readonly [string, string, string]): Buffer {
  const form = `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n`;
  return Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${body === '' ? '' : form}\r\n${body}`);
}

/** One connection that asks, waits for the whole answer and asks again. */
class Client {
  done = 0;
  private readonly socket: Socket;
  private readonly request: Buffer;
  private rest: Buffer = Buffer.alloc(0);
  private isAsking = true;
  private finished: (error: Error | null) => void = () => {};

  constructor(port: number, request: Buffer) {
    this.request = request;
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('data', (chunk: Buffer) => this.gather(chunk));
    this.socket.on('error', (error) => this.finished(error));
    this.socket.on('close', () => this.finished(new Error('the server closed the connection')));
  }

  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.finished = (error) => {
        this.socket.removeAllListeners('close').destroy();
        if (error === null) resolve();
        else reject(error);
      };
      this.socket.write(this.request);
    });
  }

  stop(): void {
    this.isAsking = false;
  }

  private gather(chunk: Buffer): void {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const end = this.rest.indexOf(HEAD_END);
    if (end < 0) return;
    const head = this.rest.toString('latin1', 0, end);
    const length = /content-length: (\d+)/i.exec(head)?.[1];
    const isWhole =
      length === undefined
        ? this.rest.subarray(-7).toString('latin1') === '\r\n0\r\n\r\n'
        : this.rest.length >= end + 4 + Number(length);
    if (!isWhole) return;
    this.rest = Buffer.alloc(0);
    if (!/^HTTP\/1\.1 20[01] /.test(head)) return this.finished(new Error(head));
    this.done++;
    if (this.isAsking) this.socket.write(this.request);
    else this.finished(null);
  }
}

/** Requests per second of so many clients. */
async function rate(port: number, kind: readonly [string, string, string], count: number, ms: number): Promise<number> {
  const clients = Array.from({ length: count }, () => new Client(port, requestBytes(port, kind)));
  const beginMs = performance.now();
  const running = clients.map((client) => client.run());
  setTimeout(() => {
    for (const client of clients) client.stop();
  }, ms);
  await Promise.all(running);
  const seconds = (performance.now() - beginMs) / 1000;
  return clients.reduce((sum, { done }) => sum + done, 0) / seconds;
}

async function fill(port: number): Promise<void> {
  for (let key = 0; key < 100; key++) {
    const target = `http://127.0.0.1:${port}/v2/keys/l/${key}`;
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    await fetch(target, { method: 'PUT', headers, body: VALUE });
  }
}

const kinds = values.only.split(',');
const best = new Map<string, number>();
const products = values.products.split(',') as Product[];
for (let round = 0; round < Number(values.rounds); round++) {
  for (const product of products) {
    const missing = product === 'etcd' ? needsPeer('etcd') : false;
    if (missing !== false) {
      console.log(missing);
      continue;
    }
    const server = await startServer({ product, flags: ['--enable-v2'] });
    try {
      await fill(server.clientPort);
      for (const name of kinds) {
        const kind = KINDS[name];
        if (kind === undefined) throw new Error(`no such kind: ${name}`);
        const found = await rate(server.clientPort, kind, Number(values.clients), Number(values.seconds) * 1000);
        console.log(`${product} ${name}: ${found.toFixed(0)} requests/s`);
        best.set(`${product} ${name}`, Math.max(found, best.get(`${product} ${name}`) ?? 0));
      }
    } finally {
      await server.dispose();
    }
  }
}
for (const name of kinds) {
  const ratio = (best.get(`etsd ${name}`) ?? Number.NaN) / (best.get(`etcd ${name}`) ?? Number.NaN);
  if (!Number.isNaN(ratio)) console.log(`${name}: ${ratio.toFixed(2)} of etcd's rate`);
}
