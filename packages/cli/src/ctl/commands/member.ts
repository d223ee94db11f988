import type { U64 } from '@etsd/base';
import type { Command } from '../command.ts';
import { badArguments, ExitCode, Failure } from '../failure.ts';
import { flag } from '../flags.ts';
import { parseHexId, quote } from '../go.ts';
import {
  memberAddView,
  memberListView,
  memberPromoteView,
  memberRemoveView,
  memberUpdateView,
  moveLeaderView,
} from '../views/cluster.ts';

function memberId(args: readonly string[], command: string): U64 {
  const [text] = args;
  if (text === undefined || args.length !== 1) {
    throw badArguments('member ID is not provided', `write: member ${command} MEMBER; ids are listed by: member list`);
  }
  const parsed = parseHexId(text, 'ParseUint');
  if ('id' in parsed) return parsed.id;
  throw badArguments(`bad member ID arg (${parsed.problem}), expecting ID in Hex`, 'ids are listed by: member list');
}

/** The server would take anything that has a scheme and a host; a typing error is better found here. */
function checkedUrls(text: string): string[] {
  const urls = text.split(',');
  for (const url of urls) {
    if (/^[^/a-zA-Z][^/]*:/.test(url)) {
      const text = `parse ${quote(Buffer.from(url))}: first path segment in URL cannot contain colon`;
      throw new Failure(ExitCode.ERROR, text, 'write --peer-urls=http://HOST:2380');
    }
    if (!/^(https?|unixs?):\/\//.test(url)) {
      throw new Failure(
        ExitCode.ERROR,
        `URL scheme must be http, https, unix, or unixs: ${url}`,
        'write --peer-urls=http://HOST:2380',
      );
    }
  }
  return urls;
}

const list: Command = {
  name: 'list',
  summary: 'List the members',
  description: 'In simple format: id, status, name, peer addresses, client addresses, is learner.',
  examples: [['As a table', 'member list -w table']],
  flags: [flag('consistency', 'string', 'l', 'l: confirmed by a majority; s: what one member knows')],
  async run(context) {
    const consistency = context.flags.text('consistency');
    if (consistency !== 'l' && consistency !== 's') {
      throw new Failure(
        ExitCode.BAD_FEATURE,
        `unknown consistency flag "${consistency}"`,
        'write --consistency=l or =s',
      );
    }
    const client = await context.client();
    const response = await client.cluster.list({ ...context.short, linearizable: consistency === 'l' });
    context.print(memberListView(response, context.style));
  },
};

const add: Command = {
  name: 'add',
  summary: 'Add a member',
  usage: 'NAME --peer-urls=URL[,URL…]',
  description: 'Prints the environment with which the new member is to be started.',
  examples: [
    ['A member', 'member add m4 --peer-urls=http://10.0.0.4:2380'],
    ['One that first learns, without a vote', 'member add m4 --peer-urls=http://10.0.0.4:2380 --learner'],
  ],
  flags: [
    flag('learner', 'bool', 'false', 'the member has no vote until it is promoted'),
    flag('peer-urls', 'string', '', 'where the other members reach it, with commas between'),
  ],
  async run(context) {
    const { args, flags } = context;
    const form = 'write: member add NAME --peer-urls=http://HOST:2380';
    const [name, extra] = args;
    if (name === undefined) throw badArguments('member name not provided', form);
    if (extra !== undefined) {
      const isUrl = /^https?:\/\//.test(extra);
      throw badArguments(isUrl ? `too many arguments, did you mean --peer-urls=${extra}` : 'too many arguments', form);
    }
    if (flags.text('peer-urls') === '') throw badArguments('member peer urls not provided', form);
    const urls = checkedUrls(flags.text('peer-urls'));
    const client = await context.client();
    const response = await client.cluster.add(urls, { ...context.short, learner: flags.flag('learner') });
    context.print(memberAddView(response, name, context.style));
  },
};

const remove: Command = {
  name: 'remove',
  summary: 'Remove a member',
  usage: 'MEMBER',
  examples: [['', 'member remove 8e9e05c52164694d']],
  async run(context) {
    const id = memberId(context.args, 'remove');
    const client = await context.client();
    context.print(memberRemoveView(await client.cluster.remove(id, context.short), id, context.style));
  },
};

const update: Command = {
  name: 'update',
  summary: 'Change the peer addresses of a member',
  usage: 'MEMBER --peer-urls=URL[,URL…]',
  examples: [['', 'member update 8e9e05c52164694d --peer-urls=http://10.0.0.5:2380']],
  flags: [flag('peer-urls', 'string', '', 'where the other members reach it, with commas between')],
  async run(context) {
    const id = memberId(context.args, 'update');
    const text = context.flags.text('peer-urls');
    if (text === '') {
      throw badArguments('member peer urls not provided', 'write: member update MEMBER --peer-urls=http://HOST:2380');
    }
    const client = await context.client();
    context.print(memberUpdateView(await client.cluster.update(id, text.split(','), context.short), id, context.style));
  },
};

const promote: Command = {
  name: 'promote',
  summary: 'Give a learner its vote',
  usage: 'MEMBER',
  examples: [['', 'member promote 8e9e05c52164694d']],
  async run(context) {
    const id = memberId(context.args, 'promote');
    const client = await context.client();
    context.print(memberPromoteView(await client.cluster.promote(id, context.short), id));
  },
};

export const MEMBER_COMMAND: Command = {
  name: 'member',
  summary: 'Members of the cluster',
  group: 'Cluster maintenance',
  commands: [add, list, promote, remove, update],
};

export const MOVE_LEADER_COMMAND: Command = {
  name: 'move-leader',
  summary: 'Make another member the leader',
  usage: 'MEMBER',
  group: 'Cluster maintenance',
  description: 'The leader has to be among --endpoints.',
  examples: [['', 'move-leader 8e9e05c52164694d --endpoints=m1:2379,m2:2379,m3:2379']],
  async run(context) {
    const { args } = context;
    const form = 'write: move-leader MEMBER; ids are listed by: member list';
    if (args.length !== 1) throw badArguments('move-leader command needs 1 argument', form);
    const parsed = parseHexId(args[0] as string, 'ParseUint');
    if ('problem' in parsed) throw badArguments(parsed.problem, form);
    const client = await context.client();
    for (const endpoint of client.endpoints) {
      const status = await client.maintenance.status({ ...context.short, endpoint });
      if (status.header === null || status.header.memberId !== status.leader) continue;
      const response = await client.maintenance.moveLeader(parsed.id, { ...context.short, endpoint });
      context.print(moveLeaderView(response, status.leader, parsed.id));
      return;
    }
    throw badArguments(
      `no leader endpoint given at [${client.endpoints.join(' ')}]`,
      'name all members with --endpoints',
    );
  },
};
