/** A member that starts, in a simulated world, and what answers at the peer URLs around it. */
import { type LogFields, type Logger, type LogLevel, type U64, u64ToHex } from '@etsd/base';
import { SimUniverse } from '@etsd/runtime/sim';
import { type MemberRecord, membersToJson } from '@etsd/state';
import { buildConfig } from '../config/config.ts';
import type { BootstrapParts } from './surroundings.ts';

/** What a neighbour answers at a path: the bytes after the head, or null for no answer at all. */
export type Route = (path: string) => { status?: number; headers?: Record<string, string>; body: string } | null;

export class Neighbourhood {
  readonly universe = new SimUniverse(1);
  readonly lines: { level: LogLevel; message: string; fields: LogFields }[] = [];
  readonly asked: string[] = [];
  private readonly machine = this.universe.addMachine('self');

  /** The parts of a member with these flags. */
  parts(flags: Readonly<Record<string, string>>): BootstrapParts {
    const logger: Logger = {
      enabled: () => true,
      log: (level, message, fields = {}) => this.lines.push({ level, message, fields }),
    };
    return { world: this.machine.world, config: buildConfig(new Map(Object.entries(flags))), logger, tls: null };
  }

  /** Somebody who answers HTTP at `http://HOST:PORT`. */
  async answers(host: string, port: number, route: Route): Promise<void> {
    const { network } = this.universe.addMachine(host).world;
    await network.listen({ host, port }, {}, (socket) => {
      socket.start({
        data: (bytes, start, end) => {
          const path = bytes.toString('latin1', start, end).split(' ')[1] as string;
          this.asked.push(`http://${host}:${port}${path}`);
          const answer = route(path);
          if (answer === null) return;
          const headers = Object.entries({ 'Content-Length': String(answer.body.length), ...answer.headers });
          const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
          const text = Buffer.from(`HTTP/1.1 ${answer.status ?? 200} X\r\n${head}\r\n${answer.body}`);
          socket.write(text, 0, text.length);
        },
        written() {},
        ended: () => socket.end(),
        closed() {},
      });
    });
  }

  /** A member of a cluster that runs. */
  async member(host: string, port: number, clusterId: U64, members: readonly MemberRecord[], version = '3.5.0') {
    await this.answers(host, port, (path) => {
      if (path === '/version') return { body: `{"etcdserver":"3.5.30","etcdcluster":"${version}"}` };
      if (path !== '/members') return { status: 404, body: 'not found' };
      return { headers: { 'X-Etcd-Cluster-Id': u64ToHex(clusterId) }, body: `${membersToJson(members)}\n` };
    });
  }

  /** The outcome of work in simulated time. */
  async outcome<T>(work: Promise<T>): Promise<T> {
    return await this.universe.simulation.runToEnd(work);
  }

  get nowMs(): number {
    return this.universe.simulation.nowMs;
  }
}
