import { OperatorError } from '@etsd/base';
import type { SocketAddress } from '@etsd/runtime';
import { AUDIT_LEVELS, type AuditLevel } from '../audit/audit-log.ts';
import type { RotationChoice } from '../audit/file-sink.ts';
import { KEY_STYLES, type KeyStyle } from '../audit/request-fields.ts';
import { parseRates, type RateChoice } from '../guard/rates.ts';
import { parseDuration, type Value } from './values.ts';

/** Where the audit log goes. */
export type AuditPlace = { readonly file: string } | { readonly address: SocketAddress };

export interface AuditConfig {
  readonly place: AuditPlace;
  readonly level: AuditLevel;
  readonly keys: KeyStyle;
  readonly rotation: RotationChoice;
  readonly strict: boolean;
}

/** Limits that etcd does not have, and the audit log. */
export interface GuardConfig {
  readonly maxConnections: number;
  /** 0: no bound of its own. */
  readonly maxConnectionsPerAddress: number;
  /** Of connections that come to nothing, break the protocol or flood, a second; 0: no bound. */
  readonly offencesPerAddress: number;
  /** 0: no bound. */
  readonly maxInflightBytes: number;
  readonly priorityLanes: boolean;
  /** Null: no bound. */
  readonly requestRate: RateChoice | null;
  readonly loginGuard: boolean;
  /** Null: none is kept. */
  readonly audit: AuditConfig | null;
}

export function guardConfig(values: ReadonlyMap<string, Value>): GuardConfig {
  const text = (name: string): string => values.get(name) as string;
  const count = (name: string): number => values.get(name) as number;
  const flag = (name: string): boolean => values.get(name) as boolean;
  const maxConnections = count('max-connections');
  if (maxConnections === 0) throw new OperatorError('--max-connections must be above zero');
  return {
    maxConnections,
    maxConnectionsPerAddress: count('max-connections-per-address'),
    offencesPerAddress: count('offences-per-address'),
    maxInflightBytes: count('max-inflight-bytes'),
    priorityLanes: flag('priority-lanes'),
    requestRate: parseRates(text('request-rate')),
    loginGuard: flag('login-guard'),
    audit: auditConfig(text, flag('audit-strict')),
  };
}

function auditConfig(text: (name: string) => string, strict: boolean): AuditConfig | null {
  const level = oneOf('audit-level', text('audit-level'), AUDIT_LEVELS) as AuditLevel;
  const keys = oneOf('audit-keys', text('audit-keys'), KEY_STYLES) as KeyStyle;
  const rotation = parseRotation(text('audit-rotation'));
  const place = text('audit-log');
  return place === '' ? null : { place: parsePlace(place), level, keys, rotation, strict };
}

function oneOf(name: string, value: string, choices: readonly string[]): string {
  if (choices.includes(value)) return value;
  throw new OperatorError(`--${name} "${value}" must be one of ${choices.join(', ')}`);
}

function parsePlace(text: string): AuditPlace {
  if (text.startsWith('unix://')) return { address: { path: text.slice(7) } };
  const tcp = /^tcp:\/\/(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})$/.exec(text);
  if (tcp !== null) return { address: { host: tcp[1] ?? (tcp[2] as string), port: Number(tcp[3]) } };
  if (/^[a-z]+:\/\//.test(text)) {
    throw new OperatorError(`--audit-log ${text}: not a place`, 'Give a path, unix:///PATH or tcp://HOST:PORT.');
  }
  return { file: text };
}

function parseRotation(text: string): RotationChoice {
  const values = new Map<string, number>();
  for (const pair of text.split(',')) {
    const [name, value] = pair.split('=', 2) as [string, string?];
    const number =
      name === 'age' ? parseDuration(value ?? '') : /^\d{1,15}$/.test(value ?? '') ? Number(value) : undefined;
    if (number === undefined || number < 0 || !['size', 'age', 'keep'].includes(name)) {
      throw new OperatorError(
        `--audit-rotation can not be read at "${pair}"`,
        'Write for example size=104857600,age=24h,keep=10: bytes, time, and files kept (0: all).',
      );
    }
    values.set(name, number);
  }
  const sizeBytes = values.get('size') ?? 0;
  return {
    sizeBytes: sizeBytes === 0 ? Number.POSITIVE_INFINITY : sizeBytes,
    ageMs: values.get('age') ?? 0,
    keep: values.get('keep') ?? 0,
  };
}
