/** A handshake that came to nothing costs its address as much as so many that did not. */
const NOTHING_COST = 4;
/** By so much is the pace of an address divided that has many connections open which asked for nothing. */
const UNASKED_COST = 10;
/** Debts are forgiven beyond so many seconds' worth: an address is never shut out for longer. */
const DEBT_SECONDS_MAX = 2;
/**
 * Less than so many seconds' worth of an address's connections may be open without ever having asked for something; from there
 * on further ones have the smaller pace. Clients ask as soon as they are connected: within a twentieth of a second they have all
 * of the pace, within a fifth of one four fifths of it. A longer burst of handshakes makes others wait, and shows in their p99.
 */
const UNASKED_SECONDS = 0.25;

class Account {
  left: number;
  sinceMs: number;
  /** Open connections that have asked for nothing yet. */
  unasked = 0;

  constructor(left: number, nowMs: number) {
    this.left = left;
    this.sinceMs = nowMs;
  }
}

/**
 * How many handshakes an address may have a second. A handshake costs the server a thousand times what it costs a client
 * that only says hello. It was for something when its connection asks for something: an address that opens connections and
 * leaves it at that has a tenth of the pace, and one that fails, or whose connection ends without a question, counts as four.
 */
export class HandshakePace {
  private readonly perSecond: number;
  private readonly atOnce: number;
  private readonly unaskedFree: number;
  /** Addresses that have not all they may have left, or connections that have asked for nothing. */
  private readonly accounts = new Map<string, Account>();

  /** `perSecond` 0: no bound. `atOnce` is what an address may have that has rested. */
  constructor(perSecond: number, atOnce: number = perSecond) {
    this.perSecond = perSecond === 0 ? Number.POSITIVE_INFINITY : perSecond;
    this.atOnce = atOnce;
    this.unaskedFree = this.perSecond * UNASKED_SECONDS;
  }

  /** Whether the address may have another handshake now. */
  allows(address: string, nowMs: number): boolean {
    const account = this.accounts.get(address);
    return account === undefined || this.settled(account, nowMs) >= 1;
  }

  began(address: string, nowMs: number): void {
    if (this.perSecond !== Number.POSITIVE_INFINITY) this.settledOf(address, nowMs).left--;
  }

  /** The handshake came to nothing. */
  failed(address: string): void {
    const account = this.accounts.get(address);
    if (account !== undefined) this.owesForNothing(account);
  }

  /**
   * The handshake is done; `asked` or `endedUnasked` follows. Returns whether its address has so many connections by now that
   * have asked for nothing that it goes at a tenth of the pace.
   */
  shaken(address: string, nowMs: number): boolean {
    if (this.perSecond === Number.POSITIVE_INFINITY) return false;
    return ++this.settledOf(address, nowMs).unasked >= this.unaskedFree;
  }

  /** The connection has asked for something. */
  asked(address: string, nowMs: number): void {
    if (this.perSecond !== Number.POSITIVE_INFINITY) this.settledOf(address, nowMs).unasked--;
  }

  /** The connection is closed, and has never asked for anything. */
  endedUnasked(address: string, nowMs: number): void {
    if (this.perSecond === Number.POSITIVE_INFINITY) return;
    const account = this.settledOf(address, nowMs);
    account.unasked--;
    this.owesForNothing(account);
  }

  /** Forgets addresses that have all they may have again. */
  sweep(nowMs: number): void {
    for (const [address, account] of this.accounts) {
      if (this.settled(account, nowMs) >= this.atOnce && account.unasked === 0) this.accounts.delete(address);
    }
  }

  private settledOf(address: string, nowMs: number): Account {
    let account = this.accounts.get(address);
    if (account === undefined) {
      account = new Account(this.atOnce, nowMs);
      this.accounts.set(address, account);
    }
    this.settled(account, nowMs);
    return account;
  }

  private owesForNothing(account: Account): void {
    account.left = Math.max(account.left - NOTHING_COST + 1, -DEBT_SECONDS_MAX * this.perSecond);
  }

  private settled(account: Account, nowMs: number): number {
    const pace = account.unasked < this.unaskedFree ? this.perSecond : this.perSecond / UNASKED_COST;
    account.left = Math.min(this.atOnce, account.left + ((nowMs - account.sinceMs) * pace) / 1000);
    account.sinceMs = nowMs;
    return account.left;
  }
}
