/** One server that offers a service (an SRV record, RFC 2782). */
export interface ServiceRecord {
  /** Host name, without the dot at its end. */
  readonly target: string;
  readonly port: number;
  /** Lower is to be preferred. */
  readonly priority: number;
  readonly weight: number;
}

/** What names stand for, as the system and its name servers tell. */
export interface Names {
  /** Addresses of a host, those of IPv4 first; an address stands for itself. Rejects where there is none. */
  addresses(host: string): Promise<readonly string[]>;
  /** Hosts that an address is said to belong to, without dots at their ends. Rejects where that cannot be found out. */
  hostsOf(address: string): Promise<readonly string[]>;
  /** Records of a service such as `_etcd-server._tcp.example.org`, the preferred first. Rejects where there is none. */
  services(name: string): Promise<readonly ServiceRecord[]>;
}
