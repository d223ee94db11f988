/** Plain HTTP/1.1 requests, exactly as written, on a connection of their own each. */
import { Agent, request as send } from 'node:http';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** An endless answer: how many lines to wait for. */
  readonly lines?: number;
  /** What to show instead of method, path and body. */
  readonly title?: string;
}

export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const PATIENCE_MS = 20_000;

export function ask(port: number, asked: Asked): Promise<Answered> {
  const { method, path, headers = {}, body, lines } = asked;
  return new Promise((resolve, reject) => {
    const agent = new Agent({ keepAlive: false });
    const host = `127.0.0.1:${port}`;
    const outgoing = send({ port, host: '127.0.0.1', method, path, headers: { host, ...headers }, agent });
    const late = setTimeout(() => outgoing.destroy(new Error(`no answer to ${method} ${path}`)), PATIENCE_MS);
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      let text = '';
      const done = (): void => {
        clearTimeout(late);
        incoming.removeAllListeners('error').on('error', () => {});
        outgoing.removeAllListeners('error').on('error', () => {});
        const all = incoming.headers as Record<string, string | string[]>;
        const flat = Object.entries(all).map(([name, value]) => [name, String(value)] as const);
        resolve({ status: incoming.statusCode ?? 0, headers: Object.fromEntries(flat), body: text });
        outgoing.destroy();
      };
      incoming.setEncoding('utf8');
      incoming.on('error', reject);
      incoming.on('data', (chunk: string) => {
        text += chunk;
        if (lines !== undefined && text.split('\n').length > lines) done();
      });
      incoming.on('end', done);
    });
    outgoing.end(body);
  });
}
