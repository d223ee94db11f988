import { setTimeout as rest } from 'node:timers/promises';
import type { EtcdClient } from '@etsd/client';
import type { Command } from '../command.ts';
import { type Context, failureOf } from '../context.ts';
import { badArguments, ExitCode, Silent } from '../failure.ts';
import { flag } from '../flags.ts';
import { BOLD, type MemberUsage, NO_INK, topView } from '../views/top.ts';
import { endpointsOf } from './endpoint.ts';

/** To the upper left corner, and everything from there on gone. */
const CLEAR = '\x1b[H\x1b[J';
const INTERVAL_MS_MIN = 100;

async function usageOf(context: Context, client: EtcdClient, endpoint: string): Promise<MemberUsage> {
  try {
    const usage = await client.maintenance.usage(context.flags.number('limit'), { ...context.short, endpoint });
    return { endpoint, usage, problem: '' };
  } catch (error) {
    return { endpoint, usage: null, problem: failureOf(error).message };
  }
}

export const TOP_COMMAND: Command = {
  name: 'top',
  summary: 'Show who uses what: space by prefix, and the busiest keys, users and addresses',
  description:
    'Busy is who was so in the last five minutes; the figures are estimates from a sample. Keys and sizes by prefix are\nexact and leave history out. Only etsd knows this; where there are users, only root is told.',
  group: 'Cluster maintenance',
  examples: [
    ['Live, of every member of the cluster', 'top --cluster'],
    ['Once, for a program', 'top --once -w json'],
  ],
  flags: [
    flag('cluster', 'bool', 'false', 'ask all members of the cluster instead of --endpoints'),
    flag('once', 'bool', 'false', 'print once and end'),
    flag('interval', 'duration', '2s', 'time between two looks'),
    flag('limit', 'uint', '10', 'lines of each list'),
  ],
  async run(context) {
    const { flags, style, surroundings } = context;
    const limit = flags.number('limit');
    if (limit < 1 || limit > 1000) throw badArguments('--limit is a number from 1 to 1000', 'write --limit=10');
    const client = await context.client();
    const endpoints = await endpointsOf(context, client);
    const isLive = surroundings.stdout.isTTY === true && style.format === 'simple' && !flags.flag('once');
    const ink = surroundings.stdout.isTTY === true ? BOLD : NO_INK;
    for (;;) {
      const list = await Promise.all(endpoints.map((endpoint) => usageOf(context, client, endpoint)));
      if (isLive) context.write(CLEAR);
      context.print(topView(list, limit, ink));
      if (flags.flag('once')) {
        if (list.every(({ usage }) => usage === null)) throw new Silent(ExitCode.ERROR);
        return;
      }
      await rest(Math.max(INTERVAL_MS_MIN, flags.milliseconds('interval')));
      if (!isLive && style.format === 'simple') context.line('');
    }
  },
};

export const LOG_LEVEL_COMMAND: Command = {
  name: 'log-level',
  summary: 'Show which lines members log, or change that until their next start',
  usage: '[LEVEL]',
  description:
    'Levels are debug, info, warn, error, panic and fatal. Only etsd can do this; where there are users, only root may.',
  group: 'Cluster maintenance',
  examples: [['Everything, of all members', 'log-level debug --cluster']],
  flags: [flag('cluster', 'bool', 'false', 'ask all members of the cluster instead of --endpoints')],
  async run(context) {
    if (context.args.length > 1) throw badArguments('log-level takes one level at most', 'write: log-level debug');
    const client = await context.client();
    for (const endpoint of await endpointsOf(context, client)) {
      try {
        const { level } = await client.maintenance.logLevel(context.args[0] ?? '', { ...context.short, endpoint });
        context.line(`${endpoint}: ${level}`);
      } catch (error) {
        throw failureOf(error);
      }
    }
  },
};
