import { AlarmResponse } from '@etsd/proto';
import type { Command } from '../command.ts';
import { failureOf } from '../context.ts';
import { badArguments, ExitCode, Silent } from '../failure.ts';
import { flag } from '../flags.ts';
import { formatDuration } from '../go.ts';
import { alarmView } from '../views/cluster.ts';
import { endpointsOf } from './endpoint.ts';

// ── alarm ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const alarmList: Command = {
  name: 'list',
  summary: 'List the alarms',
  async run(context) {
    if (context.args.length > 0) throw badArguments('alarm list command accepts no arguments');
    const client = await context.client();
    context.print(alarmView(await client.maintenance.alarms(context.short)));
  },
};

const alarmDisarm: Command = {
  name: 'disarm',
  summary: 'Clear all alarms',
  description: 'Does not remove what raised them: a full store raises its alarm again.',
  async run(context) {
    if (context.args.length > 0) throw badArguments('alarm disarm command accepts no arguments');
    const client = await context.client();
    const cleared = AlarmResponse.create();
    for (const { alarm, memberID } of (await client.maintenance.alarms(context.short)).alarms) {
      const response = await client.maintenance.disarm(memberID, alarm, context.short);
      cleared.alarms.push(...response.alarms);
    }
    context.print(alarmView(cleared));
  },
};

export const ALARM_COMMAND: Command = {
  name: 'alarm',
  summary: 'Alarms that keep members from writing',
  group: 'Cluster maintenance',
  commands: [alarmDisarm, alarmList],
};

// ── defrag ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export const DEFRAG_COMMAND: Command = {
  name: 'defrag',
  summary: 'Give back the space that deleted data held',
  group: 'Cluster maintenance',
  description: 'A member may answer slowly meanwhile; do it one member after the other, as this command does.',
  examples: [['Every member of the cluster', 'defrag --cluster']],
  flags: [
    flag('cluster', 'bool', 'false', 'all members of the cluster instead of --endpoints'),
    flag('data-dir', 'string', '', 'a data directory that no member uses (see etsdutl defrag)'),
  ],
  async run(context) {
    const directory = context.flags.text('data-dir');
    if (directory !== '') {
      const { defragment } = await import('../../utl/data-directory.ts');
      await defragment(context, directory);
      return;
    }
    const client = await context.client();
    let failures = 0;
    for (const endpoint of await endpointsOf(context, client)) {
      const startMs = performance.now();
      const took = (): string =>
        context.style.compat === '3.6' ? `. took ${formatDuration(performance.now() - startMs)}` : '';
      try {
        await client.maintenance.defragment({ ...context.short, endpoint });
        context.line(`Finished defragmenting etcd member[${endpoint}]${took()}`);
      } catch (error) {
        const end = context.style.compat === '3.6' ? `${took()}.` : '';
        context.warn(`Failed to defragment etcd member[${endpoint}]${end} (${failureOf(error).message})`);
        failures++;
      }
    }
    if (failures > 0) throw new Silent(ExitCode.ERROR);
  },
};

// ── downgrade ───────────────────────────────────────────────────────────────────────────────────────────────────────

function downgradeCommand(name: 'validate' | 'enable', summary: string): Command {
  return {
    name,
    summary,
    usage: 'VERSION',
    examples: [['', `downgrade ${name} 3.5`]],
    async run(context) {
      const { args } = context;
      const form = `write: downgrade ${name} MAJOR.MINOR`;
      if (args.length === 0) throw badArguments('TARGET_VERSION not provided', form);
      if (args.length > 1) throw badArguments('too many arguments', form);
      if (args[0] === '') throw badArguments('target version not provided', form);
      const client = await context.client();
      const { version } = await client.maintenance.downgrade(name, args[0] as string, context.short);
      context.line(`Downgrade ${name} success, cluster version ${version}`);
    },
  };
}

const downgradeCancel: Command = {
  name: 'cancel',
  summary: 'Stop a downgrade that is under way',
  async run(context) {
    const client = await context.client();
    const { version } = await client.maintenance.downgrade('cancel', '', context.short);
    context.line(`Downgrade cancel success, cluster version ${version}`);
  },
};

export const DOWNGRADE_COMMAND: Command = {
  name: 'downgrade',
  summary: 'Prepare the cluster for an older version',
  group: 'Cluster maintenance',
  commands: [
    downgradeCancel,
    downgradeCommand('enable', 'Allow members of an older version'),
    downgradeCommand('validate', 'Check whether the cluster could be downgraded'),
  ],
};
