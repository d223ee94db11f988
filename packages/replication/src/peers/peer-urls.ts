/** Where one peer URL leads: TCP by host and port or a unix socket by path, with or without TLS. */
export interface PeerAddress {
  readonly url: string;
  readonly isSecure: boolean;
  /** Path of a unix socket, null for TCP. */
  readonly socketPath: string | null;
  readonly host: string;
  readonly port: number;
  /** What the `Host` header says. */
  readonly authority: string;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 };

/** The address of a peer URL (http, https, unix or unixs); null where it is none. */
export function parsePeerUrl(url: string): PeerAddress | null {
  const match = /^(https?|unixs?):\/\/([^/?#]*)([^?#]*)$/.exec(url);
  if (match === null) return null;
  const [, scheme, authority, path] = match as unknown as [string, string, string, string];
  const isSecure = scheme.endsWith('s');
  if (scheme.startsWith('unix')) {
    const socketPath = authority + path;
    if (socketPath === '') return null;
    return { url, isSecure, socketPath, host: 'localhost', port: 0, authority: 'localhost' };
  }
  const parts = /^(\[[0-9a-fA-F:.%]+\]|[^:[\]@]+)(?::(\d{1,5}))?$/.exec(authority);
  if (parts === null || (path !== '' && path !== '/')) return null;
  const name = parts[1] as string;
  const port = parts[2] === undefined ? (DEFAULT_PORTS[scheme] as number) : Number(parts[2]);
  if (port > 65535) return null;
  const host = name.startsWith('[') ? name.slice(1, -1) : name;
  return { url, isSecure, socketPath: null, host, port, authority };
}

/**
 * The addresses of one peer. One is used until it fails, then the next, in turn: any of them may be the one that can be
 * reached from here.
 */
export class PeerUrls {
  private addresses: PeerAddress[] = [];
  private place = 0;
  private known = '';

  constructor(urls: readonly string[]) {
    this.update(urls);
  }

  /** Takes other URLs; those that are no addresses are left out. Returns whether they differ from the known ones. */
  update(urls: readonly string[]): boolean {
    const text = urls.join(',');
    if (text === this.known) return false;
    this.known = text;
    this.addresses = urls.map(parsePeerUrl).filter((address) => address !== null);
    this.place = 0;
    return true;
  }

  /** The address to use now, null if there is none. */
  pick(): PeerAddress | null {
    return this.addresses[this.place] ?? null;
  }

  /** It could not be reached: the next one's turn, unless somebody has said so before. */
  unreachable(address: PeerAddress): void {
    if (this.addresses[this.place] === address) this.place = (this.place + 1) % this.addresses.length;
  }
}
