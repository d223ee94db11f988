/**
 * Who is listened to. Of one address only so many connections are listened to that have not yet said their hello: what
 * thousands of them say in one moment is all read in one turn of the event loop, and everybody else waits for its end. The
 * others are left alone by then, their bytes in the kernel. Where some wait, those who stay silent have less time.
 */
import { RingQueue } from '@etsd/base';

class Places<T> {
  /** Listened to, the one that was first at the front, with the time of the beginning. */
  readonly silent = new Map<T, number>();
  readonly waiting = new RingQueue<T>(2);
}

export interface HelloPlacesParts<T> {
  /** Connections of one address that are listened to at a time. */
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
    if (places.silent.size < this.parts.perAddress) this.listen(places, entry, nowMs);
    else places.waiting.push(entry);
  }

  /** The connection has said its hello, or is gone; another gets its place. */
  leave(address: string, entry: T, nowMs: number): void {
    const places = this.byAddress.get(address);
    if (places === undefined || !places.silent.delete(entry)) return;
    while (places.waiting.length > 0 && places.silent.size < this.parts.perAddress) {
      const next = places.waiting.take() as T;
      if (!this.parts.isGone(next)) this.listen(places, next, nowMs);
    }
    if (places.silent.size === 0 && places.waiting.length === 0) this.byAddress.delete(address);
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
