import { LOG_LEVELS, type LogFields, type Logger, type LogLevel } from '@etsd/base';

/** Where finished lines go, and what time it is. */
export interface LogSink {
  write(line: string): void;
  wallMs(): number;
}

/**
 * Log lines in the form that etcd's operators and tools read: one JSON object a line with `level`, `ts`, `caller` and
 * `msg` first, then the fields in the order given; or the same for people, separated by tabs.
 */
export class LineLogger implements Logger {
  private threshold: number;
  private readonly sink: LogSink;
  private readonly format: 'json' | 'console';
  private readonly caller: () => string;

  /** `caller`: the place in the source that writes a line, asked once for each line that is written. */
  constructor(sink: LogSink, level: LogLevel, format: 'json' | 'console', caller: () => string = () => 'etsd') {
    this.sink = sink;
    this.threshold = LOG_LEVELS.indexOf(level);
    this.format = format;
    this.caller = caller;
  }

  /** The least that is written. */
  get level(): LogLevel {
    return LOG_LEVELS[this.threshold] as LogLevel;
  }

  /** Changes that, and says so where either level lets it, so that a log tells why it falls silent. */
  setLevel(level: LogLevel): void {
    const before = this.threshold;
    const after = LOG_LEVELS.indexOf(level);
    const fields = { from: this.level, to: level };
    this.threshold = Math.min(before, after);
    this.log('info', 'changed the level of the log', fields);
    this.threshold = after;
  }

  enabled(level: LogLevel): boolean {
    return LOG_LEVELS.indexOf(level) >= this.threshold;
  }

  log(level: LogLevel, message: string, fields?: LogFields): void {
    if (!this.enabled(level)) return;
    const time = new Date(this.sink.wallMs()).toISOString().replace('Z', '000Z');
    if (this.format === 'console') {
      const rest = fields === undefined ? '' : `\t${toJson(fields)}`;
      this.sink.write(`${time}\t${level}\t${this.caller()}\t${message}${rest}\n`);
      return;
    }
    const head = toJson({ level, ts: time, caller: this.caller(), msg: message });
    const tail = fields === undefined ? '' : toJson(fields).slice(1, -1);
    this.sink.write(`${head.slice(0, -1)}${tail === '' ? '' : ','}${tail}}\n`);
  }
}

function toJson(value: object): string {
  try {
    return JSON.stringify(value, (_key, inner: unknown) => (inner instanceof Error ? inner.message : inner)) ?? '{}';
  } catch (error) {
    // A field that cannot be shown must not take the line with it.
    return JSON.stringify({ unprintable: String(error) });
  }
}
