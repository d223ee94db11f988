/**
 * Who is listened to. Of one address only so many connections are listened to before their handshake begins: what hundreds
 * of them say in one moment is all read in a few turns of the event loop, and everybody else waits for their end, though all
 * but a few of them have to wait for their turn anyway. The others are left alone by then, their bytes in the kernel. Where
 * some wait, those who stay silent have less time.
 */
import { RingQueue } from '@etsd/base';

class Places<T> {
  /** Listened to, the one that was first at the front, with the time of the beginning. */
  readonly silent = new Map<T, number>();
  /** Heard, and not yet begun with. */
  readonly spoken = new Set<T>();
  readonly waiting = new RingQueue<T>(2);
}

export interface HelloPlacesParts<T> {
  /** Connections of one address that are listened to, or were and wait for their turn. */
  readonly perAddress: number;
  /** Time for a hello where others wait for the place, in milliseconds. */
  readonly crowdedMs: number;
  /** Listens to it from now on. */
  readonly begin: (entry: T) => void;
  readonly isGone: (entry: T) => boolean;
}

export class HelloPlaces<T> {
  private readonly parts: HelloPlacesParts<T>;
  private readonly byAddress = new Map<string, Places<T>>();

  constructor(parts: HelloPlacesParts<T>) {
    this.parts = parts;
  }

  /** Listens to a connection, now or when there is a place. */
  add(address: string, entry: T, nowMs: number): void {
    let places = this.byAddress.get(address);
    if (places === undefined) {
      places = new Places<T>();
      this.byAddress.set(address, places);
    }
    if (this.hasPlace(places)) this.listen(places, entry, nowMs);
    else places.waiting.push(entry);
  }

  /** The connection has said its hello: it keeps its place, however long it has to wait. */
  spoke(address: string, entry: T): void {
    const places = this.byAddress.get(address);
    if (places?.silent.delete(entry) === true) places.spoken.add(entry);
  }

  /** The connection's handshake begins, or it is gone; another gets its place. */
  leave(address: string, entry: T, nowMs: number): void {
    const places = this.byAddress.get(address);
    if (places === undefined || !(places.silent.delete(entry) || places.spoken.delete(entry))) return;
    while (places.waiting.length > 0 && this.hasPlace(places)) {
      const next = places.waiting.take() as T;
      if (!this.parts.isGone(next)) this.listen(places, next, nowMs);
    }
    if (places.silent.size + places.spoken.size + places.waiting.length === 0) this.byAddress.delete(address);
  }

  private hasPlace({ silent, spoken }: Places<T>): boolean {
    return silent.size + spoken.size < this.parts.perAddress;
  }

  /** Those who keep others waiting by their silence. */
  overdue(nowMs: number): T[] {
    const found: T[] = [];
    for (const { silent, waiting } of this.byAddress.values()) {
      let due = waiting.length;
      for (const [entry, sinceMs] of silent) {
        if (due-- <= 0 || nowMs - sinceMs < this.parts.crowdedMs) break;
        found.push(entry);
      }
    }
    return found;
  }

  private listen(places: Places<T>, entry: T, nowMs: number): void {
    places.silent.set(entry, nowMs);
    this.parts.begin(entry);
  }
}
