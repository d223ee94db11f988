import type { Names, ServiceRecord } from '../names.ts';

/** In a simulation a machine's name is its address; services are what the test has entered. */
export class SimNames implements Names {
  readonly records = new Map<string, readonly ServiceRecord[]>();

  addresses(host: string): Promise<readonly string[]> {
    return Promise.resolve([host]);
  }

  services(name: string): Promise<readonly ServiceRecord[]> {
    const found = this.records.get(name);
    return found === undefined ? Promise.reject(new Error(`no records of ${name}`)) : Promise.resolve(found);
  }
}
