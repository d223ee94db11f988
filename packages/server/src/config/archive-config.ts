import { OperatorError } from '@etsd/base';
import type { Option } from './options.ts';
import type { Value, ValueKind } from './values.ts';

/** Where a member archives its log, and how. */
export interface ArchiveConfig {
  readonly directory: string;
  /** Of the shell; empty where nothing is handed on. */
  readonly command: string;
  /** So much may be lost with the member, at most. */
  readonly intervalMs: number;
  readonly baseIntervalMs: number;
  /** 0: for ever. */
  readonly retentionMs: number;
}

function own(kind: ValueKind, name: string, fallback: string, help: string): Option {
  return { name, kind, fallback, status: 'active', section: 'Archive', help: `${help} Not in etcd.`, aliases: [] };
}

export const ARCHIVE_OPTIONS: readonly Option[] = [
  own('string', 'archive-dir', '', 'Where the log and copies of the store are archived; empty: nowhere.'),
  own('string', 'archive-command', '', 'Stores each archived file elsewhere: %p is its path, %f its name there.'),
  own('duration', 'archive-interval', '1m', 'The log is archived at least so often while it grows.'),
  own('duration', 'archive-base-interval', '24h', 'The store is copied so often while it changes.'),
  own('duration', 'archive-retention', '168h', 'How far back a restore can go; 0 is for ever.'),
];

const INTERVAL_MIN_MS = 100;

/** Null where nothing is archived. */
export function archiveConfig(values: ReadonlyMap<string, Value>): ArchiveConfig | null {
  const text = (name: string): string => values.get(name) as string;
  const duration = (name: string): number => values.get(name) as number;
  const directory = text('archive-dir');
  const command = text('archive-command');
  if (directory === '' && command !== '') {
    throw new OperatorError(
      '--archive-command needs --archive-dir',
      'Give the directory too: files are made there first, and removed after --archive-retention.',
    );
  }
  if (command.includes('\n')) throw new OperatorError('--archive-command must be one line');
  if (command !== '' && !command.includes('%p')) {
    throw new OperatorError(
      '--archive-command must name the file to store as %p',
      "Write for example: --archive-command 'cp %p /backup/$(basename %f)'",
    );
  }
  for (const name of ['archive-interval', 'archive-base-interval']) {
    if (duration(name) >= INTERVAL_MIN_MS) continue;
    throw new OperatorError(`--${name} must be 100ms or more`);
  }
  if (duration('archive-retention') < 0) throw new OperatorError('--archive-retention must not be below zero');
  if (directory === '') return null;
  return {
    directory,
    command,
    intervalMs: duration('archive-interval'),
    baseIntervalMs: duration('archive-base-interval'),
    retentionMs: duration('archive-retention'),
  };
}
