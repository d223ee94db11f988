import { EMPTY } from '@etsd/base';
import { from, isError, type KeyRange, prefix } from '@etsd/client';
import * as proto from '@etsd/proto';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { badArguments } from '../failure.ts';
import { type FlagValues, flag } from '../flags.ts';
import { askPassword, LineReader } from '../terminal.ts';
import { authStatusView, doneView, openText, rolesView, roleView, usersView, userView } from '../views/auth.ts';

const GROUP = 'Users and roles';

/** These may take as long as it takes, as with etcdctl 3.5; a bcrypt hash is slow on purpose. */
const PATIENT = { timeoutMs: 0 };

function exactly(args: readonly string[], count: number, problem: string, form: string): void {
  if (args.length !== count) throw badArguments(problem, `write: ${form}`);
}

// ── auth ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const enable: Command = {
  name: 'enable',
  summary: 'Require users to log in',
  description: 'The user "root" has to exist, with a password; it is given the role "root" where it has it not.',
  examples: [['After: etsdctl user add root', 'auth enable']],
  async run(context) {
    exactly(context.args, 0, 'auth enable command does not accept any arguments', 'auth enable');
    const client = await context.client();
    try {
      await client.auth.enable(PATIENT);
    } catch (error) {
      if (!isError(error, proto.ErrRootRoleNotExist)) throw error;
      // The user is there and only lacks the role, which can be given at once.
      await client.auth.addRole('root', PATIENT).catch((problem: unknown) => {
        if (!isError(problem, proto.ErrRoleAlreadyExist)) throw problem;
      });
      await client.auth.grantRole('root', 'root', PATIENT);
      await client.auth.enable(PATIENT);
    }
    context.line('Authentication Enabled');
  },
};

const disable: Command = {
  name: 'disable',
  summary: 'Let everybody do everything',
  async run(context) {
    exactly(context.args, 0, 'auth disable command does not accept any arguments', 'auth disable');
    const client = await context.client();
    await client.auth.disable(PATIENT);
    context.line('Authentication Disabled');
  },
};

const status: Command = {
  name: 'status',
  summary: 'Print whether users have to log in',
  async run(context) {
    exactly(context.args, 0, 'auth status command does not accept any arguments', 'auth status');
    const client = await context.client();
    context.print(authStatusView(await client.auth.status(PATIENT)));
  },
};

export const AUTH_COMMAND: Command = {
  name: 'auth',
  summary: 'Whether users have to log in',
  group: GROUP,
  commands: [disable, enable, status],
};

// ── user ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A new password: typed twice, or with `--interactive=false` the first line of the standard input. */
async function newPassword(context: Context, user: string): Promise<string> {
  const { surroundings } = context;
  if (!context.flags.flag('interactive')) {
    const reader = new LineReader(surroundings.stdin);
    return (await reader.next()) ?? reader.rest;
  }
  const first = await askPassword(`Password of ${user}: `, surroundings);
  if (first === '') throw badArguments('empty password', 'with --interactive=false it is read from the standard input');
  const second = await askPassword(`Type password of ${user} again for confirmation: `, surroundings);
  if (first !== second) throw badArguments('given passwords are different');
  return first;
}

/** Name and password of a new user, from wherever they are given. */
async function newUser(context: Context, text: string): Promise<{ name: string; password: string | null }> {
  const { flags } = context;
  if (flags.flag('no-password')) return { name: text, password: null };
  const given = flags.text('new-user-password');
  if (given !== '') return { name: text, password: given };
  const colon = text.indexOf(':');
  if (colon < 0) return { name: text, password: await newPassword(context, text) };
  if (colon === 0) throw badArguments('empty user name is not allowed', 'write: user add NAME:PASSWORD');
  return { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

const userAdd: Command = {
  name: 'add',
  summary: 'Add a user',
  usage: 'NAME[:PASSWORD]',
  examples: [
    ['Asking for the password', 'user add alice'],
    ['With the password from a file', 'user add alice --interactive=false < password'],
    ['Who comes with a certificate only', 'user add alice --no-password'],
  ],
  flags: [
    flag('interactive', 'bool', 'true', 'ask for the password; otherwise it is read from the standard input'),
    flag('new-user-password', 'string', '', 'the password'),
    flag('no-password', 'bool', 'false', 'the user comes with a certificate only'),
  ],
  async run(context) {
    const { args } = context;
    exactly(args, 1, 'user add command requires user name as its argument', 'user add NAME');
    const { name, password } = await newUser(context, args[0] as string);
    const client = await context.client();
    const response = await client.auth.addUser(name, password, PATIENT);
    context.print(doneView(proto.AuthUserAddResponse, response, `User ${name} created`));
  },
};

const userDelete: Command = {
  name: 'delete',
  summary: 'Delete a user',
  usage: 'NAME',
  async run(context) {
    exactly(context.args, 1, 'user delete command requires user name as its argument', 'user delete NAME');
    const name = context.args[0] as string;
    const client = await context.client();
    const response = await client.auth.deleteUser(name, PATIENT);
    context.print(doneView(proto.AuthUserDeleteResponse, response, `User ${name} deleted`));
  },
};

const userGet: Command = {
  name: 'get',
  summary: 'Print the roles of a user',
  usage: 'NAME',
  examples: [['With what the roles allow', 'user get alice --detail']],
  flags: [flag('detail', 'bool', 'false', 'print what the roles allow')],
  async run(context) {
    exactly(context.args, 1, 'user get command requires user name as its argument', 'user get NAME');
    const name = context.args[0] as string;
    const client = await context.client();
    const response = await client.auth.user(name, PATIENT);
    if (!context.flags.flag('detail')) {
      context.print(userView(response, name));
      return;
    }
    context.line(`User: ${name}`);
    for (const role of response.roles) {
      context.line('');
      context.print(roleView(await client.auth.role(role, PATIENT), role));
    }
  },
};

const userList: Command = {
  name: 'list',
  summary: 'List the users',
  async run(context) {
    exactly(context.args, 0, 'user list command requires no arguments', 'user list');
    const client = await context.client();
    context.print(usersView(await client.auth.users(PATIENT)));
  },
};

const userPasswd: Command = {
  name: 'passwd',
  summary: 'Change the password of a user',
  usage: 'NAME',
  flags: [flag('interactive', 'bool', 'true', 'ask for the password; otherwise it is read from the standard input')],
  async run(context) {
    exactly(context.args, 1, 'user passwd command requires user name as its argument', 'user passwd NAME');
    const name = context.args[0] as string;
    const password = await newPassword(context, name);
    const client = await context.client();
    const response = await client.auth.changePassword(name, password, PATIENT);
    context.print(doneView(proto.AuthUserChangePasswordResponse, response, 'Password updated'));
  },
};

const userGrantRole: Command = {
  name: 'grant-role',
  summary: 'Give a user a role',
  usage: 'USER ROLE',
  async run(context) {
    const problem = 'user grant command requires user name and role name as its argument';
    exactly(context.args, 2, problem, 'user grant-role USER ROLE');
    const [user, role] = context.args as [string, string];
    const client = await context.client();
    const response = await client.auth.grantRole(user, role, PATIENT);
    context.print(doneView(proto.AuthUserGrantRoleResponse, response, `Role ${role} is granted to user ${user}`));
  },
};

const userRevokeRole: Command = {
  name: 'revoke-role',
  summary: 'Take a role from a user',
  usage: 'USER ROLE',
  async run(context) {
    const problem = 'user revoke-role requires user name and role name as its argument';
    exactly(context.args, 2, problem, 'user revoke-role USER ROLE');
    const [user, role] = context.args as [string, string];
    const client = await context.client();
    const response = await client.auth.revokeRole(user, role, PATIENT);
    const sentence = `Role ${role} is revoked from user ${user}`;
    context.print(doneView(proto.AuthUserRevokeRoleResponse, response, sentence));
  },
};

export const USER_COMMAND: Command = {
  name: 'user',
  summary: 'Users',
  group: GROUP,
  commands: [userAdd, userDelete, userGet, userGrantRole, userList, userPasswd, userRevokeRole],
};

// ── role ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function permittedRange(args: readonly string[], flags: FlagValues): KeyRange {
  const [key = '', end] = args;
  const isPrefix = flags.flag('prefix');
  const isOpen = flags.flag('from-key');
  if (isPrefix && isOpen) throw badArguments('--from-key and --prefix flags are mutually exclusive');
  if (end !== undefined && isPrefix) throw badArguments('unexpected endkey argument with --prefix flag');
  if (end !== undefined && isOpen) throw badArguments('unexpected endkey argument with --from-key flag');
  if (isPrefix) return prefix(key);
  if (isOpen) return from(key);
  return { key: Buffer.from(key), rangeEnd: end === undefined ? EMPTY : Buffer.from(end) };
}

const RANGE_FLAGS = [
  flag('from-key', 'bool', 'false', 'all keys from KEY on'),
  flag('prefix', 'bool', 'false', 'all keys that begin with KEY'),
];

const roleAdd: Command = {
  name: 'add',
  summary: 'Add a role',
  usage: 'NAME',
  async run(context) {
    exactly(context.args, 1, 'role add command requires role name as its argument', 'role add NAME');
    const name = context.args[0] as string;
    const client = await context.client();
    const response = await client.auth.addRole(name, PATIENT);
    context.print(doneView(proto.AuthRoleAddResponse, response, `Role ${name} created`));
  },
};

const roleDelete: Command = {
  name: 'delete',
  summary: 'Delete a role',
  usage: 'NAME',
  async run(context) {
    exactly(context.args, 1, 'role delete command requires role name as its argument', 'role delete NAME');
    const name = context.args[0] as string;
    const client = await context.client();
    const response = await client.auth.deleteRole(name, PATIENT);
    context.print(doneView(proto.AuthRoleDeleteResponse, response, `Role ${name} deleted`));
  },
};

const roleGet: Command = {
  name: 'get',
  summary: 'Print what a role allows',
  usage: 'NAME',
  async run(context) {
    exactly(context.args, 1, 'role get command requires role name as its argument', 'role get NAME');
    const name = context.args[0] as string;
    const client = await context.client();
    context.print(roleView(await client.auth.role(name, PATIENT), name));
  },
};

const roleList: Command = {
  name: 'list',
  summary: 'List the roles',
  async run(context) {
    exactly(context.args, 0, 'role list command requires no arguments', 'role list');
    const client = await context.client();
    context.print(rolesView(await client.auth.roles(PATIENT)));
  },
};

const roleGrant: Command = {
  name: 'grant-permission',
  summary: 'Allow a role to read or write keys',
  usage: 'ROLE read|write|readwrite KEY [RANGE_END]',
  examples: [['Everything that begins with "app/"', 'role grant-permission app readwrite app/ --prefix']],
  flags: RANGE_FLAGS,
  async run(context) {
    const [name, type, ...keys] = context.args;
    if (name === undefined || type === undefined || keys.length === 0) {
      const problem = 'role grant command requires role name, permission type, and key [endkey] as its argument';
      throw badArguments(problem, 'write: role grant-permission ROLE readwrite KEY');
    }
    const permission = type.toUpperCase();
    if (permission !== 'READ' && permission !== 'WRITE' && permission !== 'READWRITE') {
      throw badArguments(`invalid permission type: ${type}`, 'it is read, write or readwrite');
    }
    const range = permittedRange(keys, context.flags);
    const client = await context.client();
    const response = await client.auth.grantPermission(name, permission, range, PATIENT);
    context.print(doneView(proto.AuthRoleGrantPermissionResponse, response, `Role ${name} updated`));
  },
};

const roleRevoke: Command = {
  name: 'revoke-permission',
  summary: 'Take a permission from a role',
  usage: 'ROLE KEY [RANGE_END]',
  description: 'The range has to be exactly one that was granted.',
  flags: RANGE_FLAGS,
  async run(context) {
    const [name, ...keys] = context.args;
    if (name === undefined || keys.length === 0) {
      const problem = 'role revoke-permission command requires role name and key [endkey] as its argument';
      throw badArguments(problem, 'write: role revoke-permission ROLE KEY');
    }
    const range = permittedRange(keys, context.flags);
    const client = await context.client();
    const response = await client.auth.revokePermission(name, range, PATIENT);
    const what =
      range.rangeEnd.length === 0
        ? `key ${keys[0]}`
        : `range ${Buffer.from(openText(range.key, range.rangeEnd), 'latin1')}`;
    const sentence = `Permission of ${what} is revoked from role ${name}`;
    context.print(doneView(proto.AuthRoleRevokePermissionResponse, response, sentence));
  },
};

export const ROLE_COMMAND: Command = {
  name: 'role',
  summary: 'Roles and what they allow',
  group: GROUP,
  commands: [roleAdd, roleDelete, roleGet, roleGrant, roleList, roleRevoke],
};
