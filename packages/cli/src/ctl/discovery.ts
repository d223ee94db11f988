import { resolveSrv } from 'node:dns/promises';
import { ExitCode, Failure } from './failure.ts';

/** The endpoints that a domain's SRV records name, those with TLS first. */
export async function discoverEndpoints(domain: string, serviceName: string): Promise<string[]> {
  const suffix = serviceName === '' ? '' : `-${serviceName}`;
  const found: string[] = [];
  let problem = '';
  for (const [service, scheme] of [
    ['etcd-client-ssl', 'https'],
    ['etcd-client', 'http'],
  ] as const) {
    try {
      const records = await resolveSrv(`_${service}${suffix}._tcp.${domain}`);
      records.sort((a, b) => a.priority - b.priority || b.weight - a.weight);
      for (const { name, port } of records) found.push(`${scheme}://${name}:${port}`);
    } catch (error) {
      problem = (error as Error).message;
    }
  }
  if (found.length === 0) throw new Failure(ExitCode.BAD_CONNECTION, `no endpoints found at ${domain}: ${problem}`);
  return found;
}
