import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { freePort } from '@etsd/testkit';
import type { TestAuthorities } from '../support/certificates.ts';
import { eventually } from '../support/conditions.ts';

/** The program of Kubernetes' API server, where somebody has one. */
export const API_SERVER = process.env['KUBE_APISERVER'] ?? '';

const TOKEN = 'test-token';

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** A real API server, with one member or several as its store and mutual TLS between them. */
export class ApiServer {
  private readonly child: ChildProcess;
  private readonly port: number;
  private readonly ca: string;
  /** The last it said. */
  log = '';

  private constructor(child: ChildProcess, port: number, ca: string) {
    this.child = child;
    this.port = port;
    this.ca = ca;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.log = (this.log + text).slice(-1_000_000);
    });
  }

  /** `files` holds the authority `ca` and the certificate `api-server`, which the store knows as a client too. */
  static async start(
    store: readonly string[],
    files: TestAuthorities,
    more: readonly string[] = [],
  ): Promise<ApiServer> {
    const port = await freePort();
    writeFileSync(files.at('tokens.csv'), `${TOKEN},admin,1,"system:masters"\n`);
    execFileSync('openssl', ['genrsa', '-out', files.at('accounts.key'), '2048'], { stdio: 'pipe' });
    const flags = [
      `--etcd-servers=${store.join(',')}`,
      ...[`--etcd-cafile=${files.at('ca.pem')}`, `--etcd-certfile=${files.at('api-server.pem')}`],
      `--etcd-keyfile=${files.at('api-server.key')}`,
      ...['--etcd-compaction-interval=0', '--bind-address=127.0.0.1', `--secure-port=${port}`],
      ...['--service-cluster-ip-range=10.96.0.0/16', '--authorization-mode=RBAC'],
      ...[`--token-auth-file=${files.at('tokens.csv')}`, '--disable-admission-plugins=ServiceAccount'],
      ...['--service-account-issuer=https://kubernetes.default.svc', '--api-audiences=api'],
      `--service-account-key-file=${files.at('accounts.key')}`,
      `--service-account-signing-key-file=${files.at('accounts.key')}`,
      ...[`--tls-cert-file=${files.at('api-server.pem')}`, `--tls-private-key-file=${files.at('api-server.key')}`],
      `--cert-dir=${join(files.folder, 'made')}`,
      ...more,
    ];
    const child = spawn(API_SERVER, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
    const server = new ApiServer(child, port, files.at('ca.pem'));
    try {
      await eventually(
        240_000,
        'the API server is ready',
        async () => {
          if (child.exitCode !== null) throw new Error(`the API server ended: ${server.log.slice(-3000)}`);
          const answer = await server.ask('GET', '/readyz').catch(() => null);
          return answer?.status === 200 ? true : null;
        },
        200,
      );
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  private options(method: string, path: string, type: string): RequestOptions {
    return {
      host: '127.0.0.1',
      port: this.port,
      method,
      path,
      // What proves who it is has another test.
      rejectUnauthorized: false,
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': type },
    };
  }

  ask(method: string, path: string, body: unknown = null, type = 'application/json'): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request(this.options(method, path, type), (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        answer.on('end', () => {
          const isJson = text.startsWith('{');
          const parsed = isJson ? (JSON.parse(text) as Record<string, unknown>) : { text };
          resolve({ status: answer.statusCode ?? 0, body: parsed });
        });
      });
      call.on('error', reject);
      call.end(body === null ? undefined : JSON.stringify(body));
    });
  }

  /** A watch; its events are put into the list as they come, until `close`. */
  watch(path: string): { events: Record<string, unknown>[]; close: () => void } {
    const events: Record<string, unknown>[] = [];
    let rest = '';
    const call = request(this.options('GET', path, 'application/json'), (answer) => {
      answer.setEncoding('utf8').on('data', (part: string) => {
        const lines = (rest + part).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) events.push(JSON.parse(line) as Record<string, unknown>);
      });
      answer.on('error', () => {});
    });
    call.on('error', () => {});
    call.end();
    return { events, close: () => call.destroy() };
  }

  /** Its authority's file, for programs that want to know it. */
  get authority(): string {
    return this.ca;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`;
  }

  get token(): string {
    return TOKEN;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.on('close', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }
}
