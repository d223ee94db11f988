/**
 * Who is let in at all. An address from which connections come that break the protocol, flood or come to nothing is in
 * debt; beyond a bound nobody new is let in from it until some of the debt is forgiven, a second or two after the last
 * offence. Then its connections cost next to nothing, where each of them took the event loop for as long as a put, or for
 * a thousand requests that were never meant. Who is in stays in.
 */
import { hostOf } from '@etsd/rpc';
import { type HandshakeRefusal, networkOf } from '@etsd/runtime';

/** What may stand of an address's debt before it is shut out, in seconds' worth of what is forgiven … */
const FREE_SECONDS = 2;
/** … and how much beyond: it is never shut out for longer than the difference. */
const DEBT_SECONDS_MAX = 4;
/** Addresses in debt that are remembered; of more, those are forgiven that came first. */
const ADDRESSES_MAX = 50_000;
/** Between two looks for those that are forgiven, in milliseconds. */
const SWEEP_MS = 10_000;

/** A connection that was cut for what it sent without end: it has cost what a thousand small requests do. */
const FLOOD = 50;
/** One that breaks the protocol otherwise. */
const BREACH = 10;
/** One that pings too often: more often a mistake than malice, made by many clients alike. */
const PINGS = 5;
const SMALL = 1;

/**
 * Of handshakes those count that cost us no handshake. The others have a pace of their own, and a certificate that has
 * run out is its owner's trouble, not that of all who share an address with it.
 */
const HANDSHAKES = new Set<HandshakeRefusal>(['not-tls', 'protocol', 'hang-up', 'timeout', 'overload']);

export interface DoorParts {
  readonly clock: { nowMs(): number };
  /** Offences of one address that are forgiven a second; 0: nobody is ever shut out. */
  readonly perSecond: number;
}

class Debt {
  owed = 0;
  atMs: number;

  constructor(nowMs: number) {
    this.atMs = nowMs;
  }
}

export class Door {
  /** Told of each connection that was not let in. */
  onRefused: ((address: string) => void) | null = null;
  /** Told of each connection of an address whose next ones have to wait, because so many of them ask for nothing. */
  onSlowed: ((peer: string) => void) | null = null;
  private readonly parts: DoorParts;
  private readonly debts = new Map<string, Debt>();
  private sweptMs: number;

  constructor(parts: DoorParts) {
    this.parts = parts;
    this.sweptMs = parts.clock.nowMs();
  }

  /** Whether somebody may come in from this address. */
  readonly admits = (address: string): boolean => {
    if (this.debts.size === 0) return true;
    const debt = this.debts.get(networkOf(address));
    if (debt === undefined) return true;
    this.settle(debt, this.parts.clock.nowMs());
    if (debt.owed < FREE_SECONDS * this.parts.perSecond) return true;
    this.onRefused?.(address);
    return false;
  };

  /** A connection from there did not get through its handshake. */
  handshakeRefused(peer: string, refusal: HandshakeRefusal): void {
    if (HANDSHAKES.has(refusal)) this.offend(peer, SMALL);
  }

  /** So many connections from there ask for nothing that others have to wait for their handshakes. It is no offence. */
  handshakesSlowed(peer: string): void {
    this.onSlowed?.(peer);
  }

  /** A connection from there was refused or cut; in the transport's words. */
  misused(kind: string, peer: string, reason: string): void {
    if (kind === 'answers_unread') return;
    if (!kind.startsWith('http2_') || kind === 'http2_header_list') this.offend(peer, SMALL);
    else if (reason === 'too_many_pings') this.offend(peer, PINGS);
    else this.offend(peer, kind === 'http2_enhance_your_calm' ? FLOOD : BREACH);
  }

  private offend(peer: string, weight: number): void {
    const { perSecond, clock } = this.parts;
    // Who connects through a file has no address; the file says who may.
    if (perSecond === 0 || peer === '@' || peer === '') return;
    const nowMs = clock.nowMs();
    const address = networkOf(hostOf(peer));
    let debt = this.debts.get(address);
    if (debt === undefined) {
      this.makeRoom(nowMs);
      debt = new Debt(nowMs);
      this.debts.set(address, debt);
    }
    this.settle(debt, nowMs);
    debt.owed = Math.min(debt.owed + weight, DEBT_SECONDS_MAX * perSecond);
  }

  private settle(debt: Debt, nowMs: number): void {
    debt.owed = Math.max(0, debt.owed - ((nowMs - debt.atMs) * this.parts.perSecond) / 1000);
    debt.atMs = nowMs;
  }

  private makeRoom(nowMs: number): void {
    if (nowMs - this.sweptMs >= SWEEP_MS) {
      this.sweptMs = nowMs;
      for (const [address, debt] of this.debts) {
        this.settle(debt, nowMs);
        if (debt.owed === 0) this.debts.delete(address);
      }
    }
    if (this.debts.size < ADDRESSES_MAX) return;
    const [oldest] = this.debts.keys();
    this.debts.delete(oldest as string);
  }
}
