/** A handshake that came to nothing costs its address as much as so many that did not. */
const FAILURE_COST = 4;
/** Debts are forgiven beyond so many seconds' worth: an address is never shut out for longer. */
const DEBT_SECONDS_MAX = 2;

interface Account {
  left: number;
  sinceMs: number;
}

/**
 * How many handshakes an address may have a second. A handshake costs the server a thousand times what it costs a client
 * that only says hello.
 */
export class HandshakePace {
  private readonly perSecond: number;
  private readonly atOnce: number;
  /** Addresses that have not all they may have left. */
  private readonly accounts = new Map<string, Account>();

  /** `perSecond` 0: no bound. `atOnce` is what an address may have that has rested. */
  constructor(perSecond: number, atOnce: number = perSecond) {
    this.perSecond = perSecond === 0 ? Number.POSITIVE_INFINITY : perSecond;
    this.atOnce = atOnce;
  }

  /** Whether the address may have another handshake now. */
  allows(address: string, nowMs: number): boolean {
    const account = this.accounts.get(address);
    return account === undefined || this.settled(account, nowMs) >= 1;
  }

  began(address: string, nowMs: number): void {
    if (this.perSecond === Number.POSITIVE_INFINITY) return;
    let account = this.accounts.get(address);
    if (account === undefined) {
      account = { left: this.atOnce, sinceMs: nowMs };
      this.accounts.set(address, account);
    }
    this.settled(account, nowMs);
    account.left--;
  }

  failed(address: string): void {
    const account = this.accounts.get(address);
    if (account === undefined) return;
    account.left = Math.max(account.left - FAILURE_COST + 1, -DEBT_SECONDS_MAX * this.perSecond);
  }

  /** Forgets addresses that have all they may have again. */
  sweep(nowMs: number): void {
    for (const [address, account] of this.accounts) {
      if (this.settled(account, nowMs) >= this.atOnce) this.accounts.delete(address);
    }
  }

  private settled(account: Account, nowMs: number): number {
    account.left = Math.min(this.atOnce, account.left + ((nowMs - account.sinceMs) * this.perSecond) / 1000);
    account.sinceMs = nowMs;
    return account.left;
  }
}
