import { OperatorError } from '@etsd/base';
import type { Option } from '../config/options.ts';
import type { Value, ValueKind } from '../config/values.ts';

/** Where the keys of encryption at rest come from; one of the two is empty. */
export interface KeySource {
  readonly file: string;
  /** Of the shell; prints what would stand in the file. */
  readonly command: string;
}

function own(kind: ValueKind, name: string, help: string): Option {
  return {
    name,
    kind,
    fallback: '',
    status: 'active',
    section: 'Encryption at rest',
    help: `${help} Not in etcd.`,
    aliases: [],
  };
}

export const ENCRYPTION_OPTIONS: readonly Option[] = [
  own(
    'string',
    'encryption-key-file',
    'Keys that encrypt the log, snapshots and the archive, one "NAME HEX" per line, the last one writes. The store (store.mdb) is not encrypted: it needs an encrypted disk.',
  ),
  own(
    'string',
    'encryption-key-command',
    'Instead of the file: a line of the shell that prints what would stand in it.',
  ),
];

/** Null where nothing is encrypted. */
export function encryptionConfig(values: ReadonlyMap<string, Value>): KeySource | null {
  const file = values.get('encryption-key-file') as string;
  const command = values.get('encryption-key-command') as string;
  return keySource(file, command);
}

export function keySource(file: string, command: string): KeySource | null {
  if (file !== '' && command !== '') {
    throw new OperatorError(
      '--encryption-key-file and --encryption-key-command cannot be given together',
      'Give one of them.',
    );
  }
  return file === '' && command === '' ? null : { file, command };
}
