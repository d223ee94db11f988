/** etsdctl and all its commands. */
import type { Command, Program } from './command.ts';
import { AUTH_COMMAND, ROLE_COMMAND, USER_COMMAND } from './commands/auth.ts';
import { CHECK_COMMAND } from './commands/check.ts';
import { CONCURRENCY_COMMANDS } from './commands/concurrency.ts';
import { ENDPOINT_COMMAND } from './commands/endpoint.ts';
import { COMPACTION_COMMAND, KV_COMMANDS } from './commands/kv.ts';
import { LEASE_COMMAND } from './commands/lease.ts';
import { ALARM_COMMAND, DEFRAG_COMMAND, DOWNGRADE_COMMAND } from './commands/maintenance.ts';
import { MAKE_MIRROR_COMMAND } from './commands/make-mirror.ts';
import { MEMBER_COMMAND, MOVE_LEADER_COMMAND } from './commands/member.ts';
import { SNAPSHOT_COMMAND } from './commands/snapshot.ts';
import { LOG_LEVEL_COMMAND, TOP_COMMAND } from './commands/top.ts';
import { TXN_COMMAND } from './commands/txn.ts';
import { VERSION_COMMAND } from './commands/version.ts';
import { WATCH_COMMAND } from './commands/watch.ts';
import { GLOBAL_FLAGS } from './global-flags.ts';
import { generalCommands } from './tree.ts';

const COMMANDS: readonly Command[] = [
  ...KV_COMMANDS,
  TXN_COMMAND,
  WATCH_COMMAND,
  LEASE_COMMAND,
  ...CONCURRENCY_COMMANDS,
  ALARM_COMMAND,
  CHECK_COMMAND,
  COMPACTION_COMMAND,
  DEFRAG_COMMAND,
  DOWNGRADE_COMMAND,
  ENDPOINT_COMMAND,
  MAKE_MIRROR_COMMAND,
  MEMBER_COMMAND,
  MOVE_LEADER_COMMAND,
  LOG_LEVEL_COMMAND,
  SNAPSHOT_COMMAND,
  TOP_COMMAND,
  AUTH_COMMAND,
  ROLE_COMMAND,
  USER_COMMAND,
  VERSION_COMMAND,
];

export const ETSDCTL: Program = {
  name: 'etsdctl',
  summary: 'etsdctl reads, writes and looks after an etcd or etsd cluster.',
  commands: [...COMMANDS, ...generalCommands(() => ETSDCTL)],
  globalFlags: GLOBAL_FLAGS,
  groups: ['Keys and values', 'Locks and elections', 'Cluster maintenance', 'Users and roles', 'Other'],
  examples: ['put foo bar', 'get foo', 'watch app/ --prefix'],
};
