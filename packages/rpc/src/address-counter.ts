/** What stands for the address of whoever connects through a file. */
const UNIX_SOCKET = '@';

/** Connections by the address they come from, so that one address can not take every place there is. */
export class AddressCounter {
  /** Connections that one address may have; 0: as many as there are places. */
  readonly perAddress: number;
  private readonly counts = new Map<string, number>();

  constructor(perAddress: number) {
    this.perAddress = perAddress;
  }

  /** Counts a connection; false, and not counted, where its address has as many as it may. */
  enter(peer: string): boolean {
    if (this.perAddress === 0) return true;
    const host = hostOf(peer);
    // A unix socket has no address: its file says who may connect.
    if (host === UNIX_SOCKET) return true;
    const count = this.counts.get(host) ?? 0;
    if (count >= this.perAddress) return false;
    this.counts.set(host, count + 1);
    return true;
  }

  /** A connection that was counted is gone. */
  leave(peer: string): void {
    if (this.perAddress === 0) return;
    const host = hostOf(peer);
    const count = this.counts.get(host);
    if (count === undefined) return;
    if (count > 1) this.counts.set(host, count - 1);
    else this.counts.delete(host);
  }

  /** Connections of the address that are counted now. */
  of(peer: string): number {
    return this.counts.get(hostOf(peer)) ?? 0;
  }
}

/** `10.0.0.1` of `10.0.0.1:4711`, `::1` of `[::1]:4711`. */
export function hostOf(peer: string): string {
  const colon = peer.lastIndexOf(':');
  const host = colon < 0 ? peer : peer.slice(0, colon);
  return host.startsWith('[') ? host.slice(1, -1) : host;
}
