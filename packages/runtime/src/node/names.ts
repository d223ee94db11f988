import { promises as dns } from 'node:dns';
import { isIP } from 'node:net';
import type { Names, ServiceRecord } from '../names.ts';

/** Hosts by the system's own resolver (its hosts file too), services by its name servers or by those given. */
export class NodeNames implements Names {
  private readonly resolver = new dns.Resolver({ timeout: 2000, tries: 2 });

  /** `servers`: addresses with ports, as `127.0.0.1:5353`; empty for those of the system. */
  constructor(servers: readonly string[] = []) {
    if (servers.length > 0) this.resolver.setServers(servers);
  }

  async addresses(host: string): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    const found = await dns.lookup(host, { all: true, order: 'ipv4first' });
    return found.map(({ address }) => address);
  }

  async hostsOf(address: string): Promise<readonly string[]> {
    const found = await this.resolver.reverse(address);
    return found.map((name) => name.replace(/\.$/, ''));
  }

  async services(name: string): Promise<readonly ServiceRecord[]> {
    const records = await this.resolver.resolveSrv(name);
    return records
      .map(({ name: target, port, priority, weight }) => ({
        target: target.replace(/\.$/, ''),
        port,
        priority,
        weight,
      }))
      .sort(byPreference);
  }
}

function byPreference(left: ServiceRecord, right: ServiceRecord): number {
  if (left.priority !== right.priority) return left.priority - right.priority;
  if (left.weight !== right.weight) return right.weight - left.weight;
  return left.target < right.target ? -1 : left.target > right.target ? 1 : left.port - right.port;
}
