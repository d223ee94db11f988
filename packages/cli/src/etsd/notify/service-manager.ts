/**
 * What a member tells the service manager that started it (sd_notify(3)): when it serves, how it is, that it stops, and
 * now and then that it is alive.
 *
 *   starting ──ready()──▶ serving ──stopping()──▶ stopping
 *       └──────────failed()─────┴──────────────────┘
 *
 * The watchdog is told nothing while the member is not well: systemd then ends it and starts it anew.
 */
import type { Logger } from '@etsd/base';

/** How often the line about the member is looked at, in milliseconds, where no watchdog asks more often. */
const STATUS_INTERVAL_MS = 5000;
/** Said at least twice in the time after which the watchdog gives up. */
const PINGS_PER_TIMEOUT = 2;

/** Somewhere to send to. Answers 0, or the system's number of the error. */
export interface NotifySender {
  send(text: string): number;
}

/** How a member is. */
export interface Wellbeing {
  /** One line for whoever looks at the service. */
  readonly status: string;
  /** False where it would be better started anew. */
  readonly isHealthy: boolean;
}

/** Time, as far as it is needed here. */
export interface NotifyClock {
  /** Calls every so often until cancelled; keeps no process alive. */
  every(ms: number, callback: () => void): { cancel(): void };
  /** Calls once the event loop has gone round. */
  afterTurn(callback: () => void): void;
}

export interface ServiceManagerParts {
  readonly sender: NotifySender;
  readonly clock: NotifyClock;
  readonly logger: Logger;
  /** Milliseconds after which the service manager takes silence for death; null where it does not mind. */
  readonly watchdogMs: number | null;
}

export class ServiceManager {
  private readonly parts: ServiceManagerParts;
  private look: (() => Wellbeing) | null = null;
  private timer: { cancel(): void } | null = null;
  private lastStatus = '';
  /** What could not be sent, to go with the next. */
  private undelivered = '';
  private wasHealthy = true;

  constructor(parts: ServiceManagerParts) {
    this.parts = parts;
  }

  starting(): void {
    this.tell('STATUS=Starting; it serves once the cluster has a leader');
  }

  /** The member serves; from now on `look` tells how it is. */
  ready(look: () => Wellbeing): void {
    this.look = look;
    const { status } = look();
    this.lastStatus = status;
    this.tell(`READY=1\nSTATUS=${status}`);
    const { watchdogMs, clock } = this.parts;
    const intervalMs = watchdogMs === null ? STATUS_INTERVAL_MS : watchdogMs / PINGS_PER_TIMEOUT;
    // Behind the turn: what the sockets hold has been looked at as well then, not this timer alone.
    this.timer = clock.every(Math.min(intervalMs, STATUS_INTERVAL_MS), () => clock.afterTurn(this.report));
    this.report();
  }

  stopping(reason: string): void {
    this.end();
    this.tell(`STOPPING=1\nSTATUS=${reason}`);
  }

  failed(reason: string): void {
    this.end();
    this.tell(`STATUS=${oneLine(reason)}`);
  }

  private end(): void {
    this.timer?.cancel();
    this.timer = null;
    this.look = null;
  }

  private readonly report = (): void => {
    if (this.look === null) return;
    const { status, isHealthy } = this.look();
    const lines: string[] = [];
    if (status !== this.lastStatus) lines.push(`STATUS=${status}`);
    this.lastStatus = status;
    if (this.parts.watchdogMs !== null) {
      if (isHealthy) lines.push('WATCHDOG=1');
      else if (this.wasHealthy) {
        this.parts.logger.log('warn', 'not well: the watchdog of the service manager is told nothing', { status });
      }
    }
    this.wasHealthy = isHealthy;
    if (lines.length > 0 || this.undelivered !== '') this.tell(lines.join('\n'));
  };

  private tell(text: string): void {
    const message = [this.undelivered, text].filter((part) => part !== '').join('\n');
    const error = this.parts.sender.send(message);
    if (error === 0) {
      this.undelivered = '';
      return;
    }
    if (this.undelivered === '') {
      this.parts.logger.log('warn', 'the service manager could not be told', { message, errno: error });
    }
    // Pings grow old; what they said is said anew by the next.
    this.undelivered = message
      .split('\n')
      .filter((line) => line !== 'WATCHDOG=1')
      .slice(-4)
      .join('\n');
  }
}

/** What is told is told in lines. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
