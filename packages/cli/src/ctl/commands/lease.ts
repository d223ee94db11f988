import type { U64 } from '@etsd/base';
import type { Command } from '../command.ts';
import { failureOf } from '../context.ts';
import { badArguments, ExitCode, Failure } from '../failure.ts';
import { flag } from '../flags.ts';
import { parseHexId, parseInteger } from '../go.ts';
import { grantView, keepAliveView, leasesView, revokeView, timeToLiveView } from '../views/lease.ts';

function leaseId(text: string): U64 {
  const parsed = parseHexId(text, 'ParseInt');
  if ('id' in parsed) return parsed.id;
  throw badArguments(`bad lease ID arg (${parsed.problem}), expecting ID in Hex`, 'leases are listed by: lease list');
}

const grant: Command = {
  name: 'grant',
  summary: 'Create a lease',
  usage: 'TTL',
  description: 'TTL is in seconds; a server gives no less than its minimum.',
  examples: [['A lease of a minute', 'lease grant 60']],
  async run(context) {
    const [text] = context.args;
    if (text === undefined || context.args.length !== 1) {
      throw badArguments('lease grant command needs TTL argument', 'write: lease grant SECONDS');
    }
    const ttl = parseInteger(text);
    if (typeof ttl === 'string') throw badArguments(`bad TTL (${ttl})`, 'write: lease grant SECONDS');
    const client = await context.client();
    try {
      context.print(grantView(await client.leases.grant(ttl, context.short)));
    } catch (error) {
      if (error instanceof Failure) throw error;
      const { hint, message } = failureOf(error);
      throw new Failure(ExitCode.ERROR, `failed to grant lease (${message})`, hint);
    }
  },
};

const revoke: Command = {
  name: 'revoke',
  summary: 'End a lease, and its keys with it',
  usage: 'LEASE',
  examples: [['', 'lease revoke 32698142c52a170a']],
  async run(context) {
    const [text] = context.args;
    if (text === undefined || context.args.length !== 1) {
      throw badArguments('lease revoke command needs 1 argument', 'write: lease revoke LEASE');
    }
    const id = leaseId(text);
    const client = await context.client();
    try {
      context.print(revokeView(await client.leases.revoke(id, context.short), id));
    } catch (error) {
      if (error instanceof Failure) throw error;
      const { hint, message } = failureOf(error);
      throw new Failure(ExitCode.ERROR, `failed to revoke lease (${message})`, hint);
    }
  },
};

/** etcdctl takes whatever fails in these commands for a bad connection. */
function noConnection(error: unknown): never {
  throw failureOf(error, ExitCode.BAD_CONNECTION);
}

const timeToLive: Command = {
  name: 'timetolive',
  summary: 'Print what is left of a lease',
  usage: 'LEASE',
  examples: [['With the keys that hang on it', 'lease timetolive 32698142c52a170a --keys']],
  flags: [flag('keys', 'bool', 'false', 'print the keys that the lease holds')],
  async run(context) {
    const [text] = context.args;
    if (text === undefined || context.args.length !== 1) {
      throw badArguments('lease timetolive command needs lease ID as argument', 'write: lease timetolive LEASE');
    }
    const id = leaseId(text);
    const keys = context.flags.flag('keys');
    const client = await context.client();
    const asked = client.leases.timeToLive(id, { ...context.short, keys });
    context.print(timeToLiveView(await asked.catch(noConnection), keys, context.style));
  },
};

const list: Command = {
  name: 'list',
  summary: 'List all leases',
  async run(context) {
    const client = await context.client();
    context.print(leasesView(await client.leases.list(context.short).catch(noConnection)));
  },
};

const keepAlive: Command = {
  name: 'keep-alive',
  summary: 'Keep a lease alive',
  usage: 'LEASE',
  description: 'Renews the lease again and again until interrupted, or until the lease is gone.',
  examples: [['Renew it once', 'lease keep-alive --once 32698142c52a170a']],
  flags: [flag('once', 'bool', 'false', 'renew it once and end')],
  async run(context) {
    const [text] = context.args;
    if (text === undefined || context.args.length !== 1) {
      throw badArguments('lease keep-alive command needs lease ID as argument', 'write: lease keep-alive LEASE');
    }
    const id = leaseId(text);
    const client = await context.client();
    if (context.flags.flag('once')) {
      context.print(keepAliveView(await client.leases.keepAliveOnce(id).catch(noConnection)));
      return;
    }
    for await (const response of client.leases.keepAlive(id)) context.print(keepAliveView(response));
    context.line(`lease ${id} expired or revoked.`);
  },
};

export const LEASE_COMMAND: Command = {
  name: 'lease',
  summary: 'Leases: keys that go when their owner does',
  group: 'Keys and values',
  commands: [grant, keepAlive, list, revoke, timeToLive],
};
