/** The members of a cluster from the SRV records of a domain (`--discovery-srv`). */
import { errorFrom, OperatorError } from '@etsd/base';
import { parseInitialCluster } from '../config/initial-cluster.ts';
import { parseEndpoint } from '../config/values.ts';
import type { BootstrapParts, ClusterPlan } from './surroundings.ts';

/**
 * Looks up `_etcd-server-ssl._tcp` and `_etcd-server._tcp` (with `-NAME` where the operator gave one) and takes both
 * lists together. The record that leads to an advertised URL of this member has its name; the others are numbered, since
 * records know no names of members. What is certain of a member are its URLs, from which its id follows.
 */
export async function planFromRecords(parts: BootstrapParts): Promise<ClusterPlan> {
  const { config, logger } = parts;
  const suffix = config.discoverySrvName === '' ? '' : `-${config.discoverySrvName}`;
  const found: string[] = [];
  const failures: string[] = [];
  for (const [scheme, service] of [
    ['https', `etcd-server-ssl${suffix}`],
    ['http', `etcd-server${suffix}`],
  ] as const) {
    const fields = {
      'service-scheme': scheme,
      'service-name': service,
      'server-name': config.name,
      'discovery-srv': config.discoverySrv,
      'advertise-peer-urls': config.initialAdvertisePeerUrls,
    };
    try {
      const members = await membersOf(parts, scheme, service);
      found.push(...members);
      logger.log('info', `get cluster for ${service} SRV`, { ...fields, 'found-cluster': members });
    } catch (error) {
      failures.push(`error querying DNS SRV records for _${service} ${errorFrom(error).message}`);
      logger.log('info', `get cluster for ${service} SRV`, { ...fields, error: errorFrom(error).message });
    }
  }
  if (found.length === 0) {
    throw new OperatorError(
      `error setting up initial cluster: ${failures.join('; ')}`,
      `Make records of _etcd-server._tcp.${config.discoverySrv} (or _etcd-server-ssl._tcp for https) that lead to the peer ports.`,
    );
  }
  for (const node of found) logger.log('info', 'got bootstrap from DNS for etcd-server', { node });
  const members = parseInitialCluster(found.join(','));
  if (!members.has(config.name)) {
    throw new OperatorError(
      `error setting up initial cluster: cannot find local etcd member "${config.name}" in SRV records`,
      'One record must lead to an address and port of --initial-advertise-peer-urls.',
    );
  }
  return { members, token: config.initialClusterToken };
}

/** The members of one service as `name=url`. */
async function membersOf({ world, config }: BootstrapParts, scheme: string, service: string): Promise<string[]> {
  const { names } = world;
  const own = new Map<string, string>();
  for (const url of config.initialAdvertisePeerUrls) {
    const { host, port } = parseEndpoint(url);
    own.set(`${(await names.addresses(host))[0]} ${port}`, url);
  }
  const members: string[] = [];
  let unnamed = 0;
  let failure: Error | null = null;
  for (const { target, port } of await names.services(`_${service}._tcp.${config.discoverySrv}`)) {
    const url = `${scheme}://${target.includes(':') ? `[${target}]` : target}:${port}`;
    try {
      const advertised = own.get(`${(await names.addresses(target))[0]} ${port}`);
      if (advertised !== undefined && parseEndpoint(advertised).scheme !== scheme) {
        throw new Error(
          `bootstrap at ${url} from DNS for ${service} has scheme mismatch with expected peer ${advertised}`,
        );
      }
      members.push(`${advertised === undefined ? unnamed++ : config.name}=${url}`);
    } catch (error) {
      failure = errorFrom(error);
    }
  }
  if (members.length === 0) throw failure ?? new Error('no records');
  return members;
}
