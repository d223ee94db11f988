import { OperatorError } from '@etsd/base';
import type { Value } from './values.ts';

/** Where spans go, and how many. */
export interface TracingConfig {
  readonly host: string;
  readonly port: number;
  readonly serviceName: string;
  /** Empty where it has none. */
  readonly instanceId: string;
  /** Requests in a million that are traced though their caller does not ask for it. */
  readonly rate: number;
}

/** When a log file is put aside, and what becomes of it. */
export interface LogRotation {
  readonly bytesMax: number;
  /** 0: whatever their age. */
  readonly daysMax: number;
  /** 0: however many. */
  readonly backupsMax: number;
  /** The names of old files tell local time. */
  readonly localTime: boolean;
  readonly compress: boolean;
}

/** What a member tells of its work. */
export interface ObserveConfig {
  /** A request that takes longer is told of, in milliseconds. */
  readonly slowMs: number;
  readonly tracing: TracingConfig | null;
  /** Null where log files grow as they will. */
  readonly logRotation: LogRotation | null;
}

const COLLECTOR_PORT = 4317;
const MILLION = 1_000_000;
/** What etcd takes where its JSON says 0, in megabytes. */
const ROTATION_MEGABYTES = 100;
const MEGABYTE = 1024 * 1024;
const NO_FILES = ['default', 'stderr', 'stdout', 'systemd/journal'];

export function observeConfig(values: ReadonlyMap<string, Value>): ObserveConfig {
  const text = (name: string): string => values.get(name) as string;
  const count = (name: string): number => values.get(name) as number;
  const flag = (name: string): boolean => values.get(name) as boolean;
  return {
    slowMs: Math.min(count('warning-apply-duration'), count('warning-unary-request-duration')),
    tracing: flag('enable-distributed-tracing')
      ? tracingConfig(text, count('distributed-tracing-sampling-rate'))
      : null,
    logRotation: flag('enable-log-rotation')
      ? logRotation(text('log-rotation-config-json'), values.get('log-outputs') as readonly string[])
      : null,
  };
}

function tracingConfig(text: (name: string) => string, rate: number): TracingConfig {
  // The bounds and the sentence are etcd's.
  const wrong = rate < 0 ? 'positive' : rate > MILLION ? `less than ${MILLION}` : '';
  if (wrong !== '') {
    throw new OperatorError(
      `distributed tracing configurition is not valid: (tracing sampling rate must be ${wrong})`,
      '--distributed-tracing-sampling-rate is a number of requests in a million.',
    );
  }
  const address = text('distributed-tracing-address');
  const [, host, port] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(address) as unknown as [string, string, string | undefined];
  if (host === '' || address.includes('/')) {
    throw new OperatorError(
      `--distributed-tracing-address "${address}" is no address`,
      'Write HOST:PORT of a collector that takes OTLP over gRPC.',
    );
  }
  return {
    host,
    port: port === undefined ? COLLECTOR_PORT : Number(port),
    serviceName: text('distributed-tracing-service-name'),
    instanceId: text('distributed-tracing-instance-id'),
    rate,
  };
}

function logRotation(json: string, outputs: readonly string[]): LogRotation {
  if (outputs.length !== 1 || NO_FILES.includes(outputs[0] as string)) {
    throw new OperatorError(
      '--log-outputs requires a single file path when --log-rotate-config-json is defined',
      'Name one file with --log-outputs, or leave out --enable-log-rotation.',
    );
  }
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch (error) {
    throw wrongRotation((error as Error).message);
  }
  if (typeof given !== 'object' || given === null) throw wrongRotation('it is no object');
  const fields = new Map(Object.entries(given).map(([name, value]) => [name.toLowerCase(), value as unknown]));
  const number = (name: string): number => {
    const value = fields.get(name) ?? 0;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) throw wrongRotation(`${name} is no number`);
    return value;
  };
  const truth = (name: string): boolean => {
    const value = fields.get(name) ?? false;
    if (typeof value !== 'boolean') throw wrongRotation(`${name} is neither true nor false`);
    return value;
  };
  return {
    bytesMax: (number('maxsize') || ROTATION_MEGABYTES) * MEGABYTE,
    daysMax: number('maxage'),
    backupsMax: number('maxbackups'),
    localTime: truth('localtime'),
    compress: truth('compress'),
  };
}

function wrongRotation(why: string): OperatorError {
  return new OperatorError(
    `improperly formatted log rotation config: ${why}`,
    'Write for example {"maxsize": 100, "maxage": 30, "maxbackups": 10, "localtime": false, "compress": true}.',
  );
}
