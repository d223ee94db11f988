/**
 * Three members as an operator would watch over them: figures over TLS, an archive and an audit log each, a real Prometheus
 * that scrapes them and applies the rules of `deploy/prometheus`, and clients at work.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram, freePort } from '@etsd/testkit';
import { ask } from '../gateway/http.ts';
import { ROOT } from '../support/binaries.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';

export const RULES = join(ROOT, 'deploy/prometheus');
/** What the scraped job is called; the dashboard's `$cluster`. */
export const JOB = 'etsd';
const PATIENCE_MS = 120_000;
const PUTS_AT_A_TIME = 20;

/** For `skip:`: false where Debian's package prometheus is there. */
export function needsPrometheus(): string | false {
  const missing = ['prometheus', 'promtool'].filter((name) => findProgram(name) === null);
  return missing.length > 0 && `no ${missing.join(', ')} in PATH (Debian's package prometheus)`;
}

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value?: readonly [time: number, value: string];
  readonly values?: readonly (readonly [time: number, value: string])[];
}

export class ObservedCluster implements AsyncDisposable {
  readonly cluster: TestCluster;
  readonly prometheusPort: number;
  private readonly prometheus: ChildProcess;
  private readonly directory: string;
  private isWorking = true;
  private work: Promise<void> = Promise.resolve();

  static async start(scrapeMs: number): Promise<ObservedCluster> {
    const directory = mkdtempSync(join(tmpdir(), 'etsd-observed-'));
    const cluster = await TestCluster.prepare({ products: ['etsd', 'etsd', 'etsd'], flags: ['--auto-tls'] });
    try {
      const targets: string[] = [];
      for (const [place, member] of cluster.members.entries()) {
        const target = `127.0.0.1:${await freePort()}`;
        targets.push(target);
        member.extraFlags.push('--listen-metrics-urls', `https://${target}`);
        member.extraFlags.push('--archive-dir', join(directory, `archive-${place}`), '--archive-interval', '1s');
        member.extraFlags.push('--audit-log', join(directory, `audit-${place}.log`));
        // One is asked for more than the others.
        if (place === 0) member.extraFlags.push('--metrics', 'extensive');
      }
      await Promise.all(cluster.members.map((member) => member.start()));
      const port = await freePort();
      const observed = new ObservedCluster(cluster, directory, port, configuration(targets, scrapeMs));
      await eventually(PATIENCE_MS, 'Prometheus answers', () => observed.get('/-/ready').catch(() => null), 100);
      observed.work = observed.keepBusy();
      return observed;
    } catch (error) {
      await cluster.dispose();
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(cluster: TestCluster, directory: string, port: number, text: string) {
    this.cluster = cluster;
    this.directory = directory;
    this.prometheusPort = port;
    writeFileSync(join(directory, 'prometheus.yml'), text);
    copyFileSync(join(RULES, 'etsd-rules.yml'), join(directory, 'etsd-rules.yml'));
    this.prometheus = spawn(
      findProgram('prometheus') as string,
      [
        `--config.file=${join(directory, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=error',
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    process.once('exit', this.kill);
  }

  private readonly kill = (): void => {
    this.prometheus.kill('SIGKILL');
  };

  /** What a path of Prometheus answers. */
  async get(path: string): Promise<string> {
    const { status, body } = await ask(this.prometheusPort, { method: 'GET', path });
    if (status !== 200) throw new Error(`${path}: ${status} ${body}`);
    return body;
  }

  async api<T>(path: string): Promise<T> {
    return (JSON.parse(await this.get(`/api/v1/${path}`)) as { data: T }).data;
  }

  /** What an expression is now. */
  async query(expression: string): Promise<Series[]> {
    return (await this.api<{ result: Series[] }>(`query?query=${encodeURIComponent(expression)}`)).result;
  }

  /** Series that a selector finds, of the last minutes. */
  async find(selector: string): Promise<Record<string, string>[]> {
    return await this.api(`series?match[]=${encodeURIComponent(selector)}`);
  }

  /** Clients at work until the end: a bit of everything, and somebody who speaks no HTTP. */
  private async keepBusy(): Promise<void> {
    const { cluster } = this;
    const member = cluster.members[0] as ClusterMember;
    const client = cluster.client(member);
    const watch = client.stream('Watch/Watch');
    watch.send({ create_request: { key: Buffer.from('busy/'), range_end: Buffer.from('busy0') } });
    const { response } = await client.call('Lease/LeaseGrant', { TTL: 600 });
    const alive = client.stream('Lease/LeaseKeepAlive');
    for (let turn = 0; this.isWorking; turn++) {
      alive.send({ ID: response?.['ID'] });
      const puts = Array.from({ length: PUTS_AT_A_TIME }, (_, place) =>
        client.call('KV/Put', { key: Buffer.from(`busy/${turn % 50}/${place}`), value: Buffer.alloc(500, turn) }),
      );
      await Promise.all(puts);
      await client.call('KV/Range', { key: Buffer.from('busy/'), range_end: Buffer.from('busy0'), limit: '100' });
      await client.call('KV/Range', { key: Buffer.alloc(0) });
      await client.call('KV/Txn', { success: [{ request_range: { key: Buffer.from('busy/1/1') } }] });
      await client.call('KV/DeleteRange', { key: Buffer.from(`busy/${turn % 50}/7`) });
      babble(member.clientPort);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    watch.cancel();
    alive.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isWorking = false;
    await this.work.catch(() => {});
    this.kill();
    process.off('exit', this.kill);
    await this.cluster.dispose();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** Somebody who does not speak HTTP. */
function babble(port: number): void {
  const socket = connect(port, '127.0.0.1', () => socket.end('babble babble\r\n\r\n'));
  socket.on('error', () => {});
  socket.resume();
}

function configuration(targets: readonly string[], scrapeMs: number): string {
  return `global:
  scrape_interval: ${scrapeMs}ms
  scrape_timeout: ${scrapeMs}ms
  evaluation_interval: ${scrapeMs}ms
rule_files: [etsd-rules.yml]
scrape_configs:
  - job_name: ${JOB}
    scheme: https
    # Certificates that the members have made for themselves.
    tls_config: { insecure_skip_verify: true }
    static_configs:
      - targets: ${JSON.stringify(targets)}
`;
}
