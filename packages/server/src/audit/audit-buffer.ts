/**
 * Lines on their way to where they are kept. One buffer is filled while the other is written; when both are full, lines
 * are lost and counted. Nothing here waits.
 */
import type { Logger } from '@etsd/base';
import type { ApiWorld, TimerHandle } from '../context.ts';

/** Where lines end up. `write` is called again only after `done`; the bytes belong to the sink until then. */
export interface AuditSink {
  write(bytes: Buffer, length: number, done: (error: Error | null) => void): void;
  close(): Promise<void>;
}

/** Who has lines for the buffer that are not written out yet, a few at most. */
export interface LineSource {
  /** Bytes they take at most. */
  readonly bytesMax: number;
  /** Writes them out, by `begin` and `end`. */
  flush(): void;
}

/** Bytes of one of the two buffers. */
const BUFFER_BYTES = 4 * 1024 * 1024;
const LINE_END = 0x0a;
/** Bytes at which they are written without waiting for more. */
const WRITE_BYTES = 128 * 1024;
/** Longest that a line waits for others, in milliseconds. */
const GATHER_MS = 50;
/** Between two attempts after one that failed, in milliseconds. */
const RETRY_MS = 1000;
/** Room below which a strict log takes no more requests: those that are being served still write their lines. */
const STRICT_ROOM_BYTES = 1024 * 1024;

class Filling {
  readonly bytes: Buffer;
  readonly view: DataView;

  constructor(bytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(bytes);
    this.view = new DataView(this.bytes.buffer);
  }
}

export class AuditBuffer {
  written = 0;
  dropped = 0;
  failures = 0;
  private readonly world: ApiWorld;
  private readonly logger: Logger;
  private readonly sink: AuditSink;
  /** Asked for what it has before anything goes to the sink. */
  source: LineSource | null = null;
  private filling: Filling;
  private spare: Filling | null;
  private used = 0;
  private lines = 0;
  private linesUnderWay = 0;
  private isBroken = false;
  /** Something is to be done at the end of this turn, behind the answers. */
  private isDue = false;
  private timer: TimerHandle | null = null;
  private onIdle: (() => void) | null = null;
  private isStopped = false;

  constructor(world: ApiWorld, logger: Logger, sink: AuditSink, bytes: number = BUFFER_BYTES) {
    this.world = world;
    this.logger = logger;
    this.sink = sink;
    this.filling = new Filling(bytes);
    this.spare = new Filling(bytes);
  }

  /** Nothing can be written at present, or soon could not be. */
  get lacks(): boolean {
    const { length } = this.filling.bytes;
    const room = length - this.used - (this.source?.bytesMax ?? 0);
    return this.isBroken || room < Math.min(STRICT_ROOM_BYTES, length >> 2);
  }

  /** Where the next line goes, once `begin` has said that there is room. */
  get bytes(): Buffer {
    return this.filling.bytes;
  }

  /** The same, for numbers. */
  get view(): DataView {
    return this.filling.view;
  }

  /** Begins a line of at most so many bytes, its end included: where in `bytes`; −1, and counted as lost, without room. */
  begin(bytesMax: number): number {
    if (this.used + bytesMax <= this.filling.bytes.length) return this.used;
    this.dropped++;
    return -1;
  }

  /** Ends the line that was begun; `end` is behind its last byte. */
  end(end: number): void {
    this.filling.bytes[end] = LINE_END;
    this.used = end + 1;
    this.lines++;
    if (this.used >= WRITE_BYTES && this.spare !== null && !this.isBroken) this.beDue();
    else this.gather();
  }

  /** What the source has is written out at the end of this turn, behind the answers: clients go on meanwhile. */
  beDue(): void {
    if (this.isDue) return;
    this.isDue = true;
    this.world.timers.endOfTurn(this.turnEnds);
  }

  /** There is something to write, here or where it comes from: it waits for more, but not for long. */
  gather(): void {
    this.timer ??= this.world.timers.after(GATHER_MS, this.gathered);
  }

  /** Writes what there is, and ends. */
  async stop(): Promise<void> {
    this.isStopped = true;
    if (this.spare === null) await this.idle();
    this.source?.flush();
    if (this.used > 0) {
      this.pass();
      await this.idle();
    }
    this.timer?.cancel();
    this.timer = null;
    await this.sink.close();
  }

  private idle(): Promise<void> {
    return new Promise((resolve) => {
      this.onIdle = resolve;
    });
  }

  private readonly turnEnds = (): void => {
    this.source?.flush();
    this.isDue = false;
    if (this.used >= WRITE_BYTES && this.spare !== null && !this.isBroken) this.pass();
  };

  private readonly gathered = (): void => {
    this.timer = null;
    this.source?.flush();
    // What is under way comes back and takes the rest with it.
    if (this.used > 0 && this.spare !== null) this.pass();
  };

  private pass(): void {
    this.source?.flush();
    const filling = this.filling;
    const length = this.used;
    this.filling = this.spare as Filling;
    this.spare = null;
    this.used = 0;
    this.linesUnderWay = this.lines;
    this.lines = 0;
    this.timer?.cancel();
    this.timer = null;
    this.sink.write(filling.bytes, length, (error) => this.passed(filling, error));
  }

  private passed(filling: Filling, error: Error | null): void {
    this.spare = filling;
    if (error === null) this.written += this.linesUnderWay;
    else {
      this.dropped += this.linesUnderWay;
      this.failures++;
      if (!this.isBroken || this.failures % 60 === 0) {
        this.logger.log('error', 'the audit log can not be written', { error: error.message, dropped: this.dropped });
      }
    }
    if (error === null && this.isBroken)
      this.logger.log('info', 'the audit log is written again', { dropped: this.dropped });
    this.isBroken = error !== null;
    const idle = this.onIdle;
    this.onIdle = null;
    if (idle !== null || this.isStopped) idle?.();
    else if (this.isBroken) this.timer = this.world.timers.after(RETRY_MS, this.tryAgain);
    else if (this.used > 0) this.gather();
  }

  /** Also with nothing to write: a strict log must learn that its place is back. */
  private readonly tryAgain = (): void => {
    this.timer = null;
    if (this.spare !== null) this.pass();
  };
}
