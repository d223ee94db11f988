import type { Names, ServiceRecord } from '../names.ts';

/** In a simulation a machine's name is its address; other names and services are what the test has entered. */
export class SimNames implements Names {
  /** Addresses of a name that is no machine's; none: it cannot be resolved. */
  readonly hosts = new Map<string, readonly string[]>();
  readonly records = new Map<string, readonly ServiceRecord[]>();

  addresses(host: string): Promise<readonly string[]> {
    const found = this.hosts.get(host) ?? [host];
    return found.length > 0 ? Promise.resolve(found) : Promise.reject(new Error(`no such host: ${host}`));
  }

  hostsOf(address: string): Promise<readonly string[]> {
    const named = [...this.hosts].filter(([, addresses]) => addresses.includes(address)).map(([name]) => name);
    return Promise.resolve([address, ...named]);
  }

  services(name: string): Promise<readonly ServiceRecord[]> {
    const found = this.records.get(name);
    return found === undefined ? Promise.reject(new Error(`no records of ${name}`)) : Promise.resolve(found);
  }
}
