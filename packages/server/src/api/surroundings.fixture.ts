/** A stand-in for the world, the transport and the log, for tests of single services. */
import { type U64, U64_ZERO } from '@etsd/base';
import type { ConfChange } from '@etsd/proto';
import type { ApiCall, ApiHandler, ApiReplication, ApiServer, ApiWaiter, ApiWorld, TimerHandle } from '../context.ts';

interface Pending {
  at: number;
  order: number;
  every: number;
  fn: () => void;
}

/** Time that passes only when told to. */
export class FakeWorld implements ApiWorld {
  now = 1000;
  private readonly pending: Pending[] = [];
  private turn: (() => void)[] = [];
  private order = 0;

  readonly clock = { nowMs: () => this.now, wallMs: () => this.now };
  readonly random = { u32: () => 0x8000_0000, bytes: (count: number) => Buffer.alloc(count, 7) };
  readonly timers = {
    after: (ms: number, fn: () => void) => this.add(ms, 0, fn),
    every: (ms: number, fn: () => void) => this.add(ms, ms, fn),
    endOfTurn: (fn: () => void) => {
      this.turn.push(fn);
    },
    soon: (fn: () => void) => fn(),
  };

  private add(ms: number, every: number, fn: () => void): TimerHandle {
    const entry: Pending = { at: this.now + ms, order: this.order++, every, fn };
    this.pending.push(entry);
    return {
      cancel: () => {
        const place = this.pending.indexOf(entry);
        if (place >= 0) this.pending.splice(place, 1);
      },
    };
  }

  get timerCount(): number {
    return this.pending.length;
  }

  /** Runs what was put off to the end of the turn, and of the turns that follow from it. */
  endTurns(): void {
    for (let rounds = 0; this.turn.length > 0; rounds++) {
      if (rounds > 10_000) throw new Error('the turns do not end');
      const turn = this.turn;
      this.turn = [];
      for (const fn of turn) fn();
    }
  }

  /** Runs what was put off to the end of this turn, and nothing that follows from it. */
  endTurn(): void {
    for (const fn of this.turn.splice(0)) fn();
  }

  /** Lets time pass, timer by timer. */
  advance(ms: number): void {
    const until = this.now + ms;
    this.endTurns();
    for (;;) {
      this.pending.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.pending[0];
      if (next === undefined || next.at > until) break;
      this.now = Math.max(this.now, next.at);
      if (next.every > 0) next.at = this.now + next.every;
      else this.pending.splice(0, 1);
      next.fn();
      this.endTurns();
    }
    this.now = until;
  }

  /** The process does not run for this long: time jumps, and everything overdue happens once. */
  stall(ms: number): void {
    this.now += ms;
    this.advance(0);
  }
}

export class FakeCall implements ApiCall {
  context: unknown = null;
  guard: unknown = null;
  guardBytes = 0;
  audit: unknown = null;
  ofPeer: unknown = null;
  notes: ApiCall['notes'] = null;
  entry: Buffer | null = null;
  readonly receivedMs = -1;
  outcome = -1;
  peer = '10.0.0.1:4711';
  isOpen = true;
  queuedBytes = 0;
  isCopying = true;
  isCongested = false;
  isShut = false;
  /** `awaitWindow` was called and the window is shut still. */
  awaitsWindow = false;
  target = { buffer: Buffer.alloc(0), offset: 0 };
  readonly messages: Buffer[] = [];
  /** `end` as 0, `fail` as its code. */
  status: { code: number; message: string } | null = null;
  private readonly headers: Record<string, string>;
  private readonly handler: ApiHandler;

  readonly peerCommonName: string;

  constructor(handler: ApiHandler, headers: Record<string, string> = {}, peerCommonName = '') {
    this.handler = handler;
    this.headers = headers;
    this.peerCommonName = peerCommonName;
    handler.opened?.(this);
  }

  header(name: string): string | undefined {
    return this.headers[name];
  }

  begin(size: number): void {
    this.target = { buffer: Buffer.alloc(size + 8, 0xee), offset: 8 };
  }

  commit(): void {
    this.send(Buffer.from(this.target.buffer.subarray(8)));
  }

  send(message: Buffer): void {
    this.messages.push(message);
    this.queuedBytes += message.length;
  }

  private partsLeft = 0;
  private readonly parts: Buffer[] = [];

  beginParts(totalBytes: number): boolean {
    this.partsLeft = totalBytes;
    return true;
  }

  sendPart(bytes: Buffer): void {
    this.partsLeft -= bytes.length;
    if (this.partsLeft < 0) throw new Error('more bytes than announced');
    // The sender uses its buffers again.
    this.parts.push(Buffer.from(bytes));
    this.queuedBytes += bytes.length;
    if (this.partsLeft === 0) this.messages.push(Buffer.concat(this.parts.splice(0)));
  }

  sendChunks(chunks: Buffer[], totalBytes: number): void {
    const message = Buffer.concat(chunks);
    if (message.length !== totalBytes) throw new Error('the size said and the bytes given differ');
    this.send(message);
  }

  awaitWindow(): void {
    this.awaitsWindow = true;
  }

  /** The client opens its window. */
  openWindow(): void {
    this.isShut = false;
    if (this.awaitsWindow) this.handler.drained?.(this);
    this.awaitsWindow = false;
  }

  end(): void {
    this.finish(0, '');
  }

  fail(code: number, message: string): void {
    this.finish(code, message);
  }

  /** A request comes in. */
  receive(bytes: Buffer): void {
    this.handler.message(this, bytes, 0, bytes.length);
  }

  halfClose(): void {
    this.handler.halfClosed?.(this);
  }

  /** The client reads everything there is. */
  drain(): void {
    this.queuedBytes = 0;
    this.handler.drained?.(this);
  }

  /** The client goes away. */
  hangUp(): void {
    if (this.isOpen) this.finish(1, 'gone');
  }

  take(): Buffer[] {
    return this.messages.splice(0);
  }

  private finish(code: number, message: string): void {
    if (!this.isOpen) throw new Error('finished twice');
    if (code === 0 && this.partsLeft > 0) throw new Error('fewer bytes than announced');
    this.isOpen = false;
    this.outcome = code;
    this.status = { code, message };
    this.handler.closed?.(this);
  }
}

export class FakeServer implements ApiServer {
  readonly handlers = new Map<string, ApiHandler>();
  flushes = 0;

  handle(path: string, handler: ApiHandler): void {
    this.handlers.set(path, handler);
  }

  flush(): void {
    this.flushes++;
  }

  handler(path: string): ApiHandler {
    const handler = this.handlers.get(path);
    if (handler === undefined) throw new Error(`nobody handles ${path}`);
    return handler;
  }
}

/** A log whose entries the test applies. */
export class FakeReplication implements ApiReplication {
  memberId: U64 = '00000000000000aa';
  leader: U64 = '00000000000000aa';
  term = 2;
  commitIndex = 0;
  appliedIndex = 0;
  readonly proposals: { data: Buffer; waiter: ApiWaiter }[] = [];
  readonly changes: { change: ConfChange; waiter: ApiWaiter }[] = [];
  private lastId = 0;

  get isLeader(): boolean {
    return this.leader === this.memberId && this.leader !== U64_ZERO;
  }

  propose(data: Buffer, waiter: ApiWaiter): void {
    this.proposals.push({ data: Buffer.from(data), waiter });
  }

  readonly companions: (() => void)[] = [];

  accompanyWrites(companion: () => void): void {
    this.companions.push(companion);
  }

  /** Leads, and hands over: takes nothing. */
  isHandingOver = false;

  proposeAsLeader(data: Buffer, waiter: ApiWaiter): boolean {
    if (!this.isLeader || this.isHandingOver) return false;
    this.propose(data, waiter);
    return true;
  }

  proposeConfChange(change: ConfChange, waiter: ApiWaiter): void {
    this.changes.push({ change, waiter });
  }

  /** What `matchShare` answers of everybody. */
  share: number | null = null;

  matchShare(): number | null {
    return this.share;
  }

  moveLeader(to: U64, waiter: ApiWaiter): void {
    this.leader = to;
    waiter.done(null);
  }

  readBarrier(waiter: ApiWaiter): void {
    waiter.done(null);
  }

  nextRequestId(): { high: number; low: number } {
    return { high: 1, low: ++this.lastId };
  }
}
