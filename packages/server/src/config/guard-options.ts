/** Flags of etsd's own: limits that etcd does not have, and the audit log. */
import type { Option } from './options.ts';
import type { ValueKind } from './values.ts';

function own(kind: ValueKind, name: string, fallback: string, help: string): Option {
  return {
    name,
    kind,
    fallback,
    status: 'active',
    section: 'Limits and audit',
    help: `${help} Not in etcd.`,
    aliases: [],
  };
}

export const GUARD_OPTIONS: readonly Option[] = [
  own('unsigned', 'max-connections', '65536', 'Most connections of clients at once.'),
  own('unsigned', 'max-connections-per-address', '32768', 'The same from one address; 0 is no bound of its own.'),
  own(
    'unsigned',
    'offences-per-address',
    '100',
    'Beyond so many a second nobody new gets in from there; 0 is no bound.',
  ),
  own('unsigned', 'max-inflight-bytes', '536870912', 'Bytes of requests served at once; 0 is no bound.'),
  own('boolean', 'priority-lanes', 'true', 'Under overload leases come before writes, reads and scans.'),
  own('string', 'request-rate', '', 'Requests a second: user=500,address=2000,burst=1000.'),
  own('boolean', 'login-guard', 'true', 'Slow down who gives wrong passwords.'),
  own('string', 'audit-log', '', 'A file, unix:///PATH or tcp://HOST:PORT for a line per request.'),
  own('string', 'audit-level', 'write', 'auth, admin, write, read or all.'),
  own('string', 'audit-keys', 'escaped', 'How keys are written: escaped, base64 or omit.'),
  own('string', 'audit-rotation', 'size=104857600,age=0s,keep=10', 'When the file is put aside; files kept.'),
  own('boolean', 'audit-strict', 'false', 'Refuse requests while their lines can not be written.'),
];
