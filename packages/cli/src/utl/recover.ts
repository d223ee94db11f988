/** `etsdutl recover`: a cluster that lost its majority goes on from the best of the directories that are left. */
import { u64ToHex } from '@etsd/base';
import { judge, planRecovery, type RecoveryPlan, recoverMember } from '@etsd/server/files';
import type { Command } from '../ctl/command.ts';
import type { Context } from '../ctl/context.ts';
import { badArguments, ExitCode, Failure } from '../ctl/failure.ts';
import { flag } from '../ctl/flags.ts';
import { jsonObject, jsonText } from '../ctl/go-json.ts';
import type { View } from '../ctl/view.ts';
import { StderrLogger, world } from './files.ts';
import { describeDirectory, inspect, inspectionJson } from './inspection.ts';
import { rescueFailure } from './rescue-failure.ts';

const FORM = 'recover DIRECTORY… [--target-dir NEW] [--execute]';

async function recover(context: Context): Promise<void> {
  context.prepare();
  const { args, flags } = context;
  if (args.length === 0) throw badArguments('recover requires at least one directory', `write: ${FORM}`);
  try {
    const inspections = [];
    for (const dataDir of args) inspections.push(await inspect(dataDir.replace(/\/+$/, ''), '', true));
    const plan = planRecovery(inspections);
    const targetDir = flags.text('target-dir') === '' ? `${plan.best.dataDir}.recovered` : flags.text('target-dir');
    const isWanted = flags.flag('execute');
    if (isWanted && plan.hasQuorum && !flags.flag('force')) {
      const text = `${plan.survivors.length} of ${plan.voters.length} voting members are here: a majority`;
      throw new Failure(ExitCode.ERROR, text, 'start them as they are, nothing is lost; or give --force');
    }
    if (isWanted) {
      const { name, peerUrls } = plan.best;
      await recoverMember({
        world,
        logger: new StderrLogger(context),
        best: plan.best,
        targetDir,
        name: name === '' ? 'default' : name,
        peerUrls,
      });
    }
    context.print(planView(context, plan, { inspections, targetDir, isDone: isWanted }));
  } catch (error) {
    throw rescueFailure(error);
  } finally {
    await world.workers.close();
  }
}

interface Shown {
  readonly inspections: readonly RecoveryPlan['best'][];
  readonly targetDir: string;
  readonly isDone: boolean;
}

function planView(context: Context, plan: RecoveryPlan, { inspections, targetDir, isDone }: Shown): View {
  const { best, voters, survivors, hasQuorum, losses, uncommitted } = plan;
  const next = nextCommands(plan, targetDir);
  const lines: string[] = [];
  for (const inspection of inspections) {
    lines.push(...describeDirectory(inspection));
    for (const { severity, where, what } of judge(inspection)) lines.push(`  ${severity}: ${what} (${where})`);
  }
  lines.push(`${survivors.length} of ${voters.length} voting members are here, undamaged`);
  if (hasQuorum) lines.push('that is a majority: start them as they are, nothing that was acknowledged is lost');
  else {
    lines.push(`best: ${best.dataDir}, up to entry ${best.reach.index} of term ${best.reach.term}`);
    if (uncommitted > 0) lines.push(`its last ${uncommitted} entries may never have been acknowledged; they are kept`);
    lines.push(...losses);
    lines.push(
      isDone
        ? `done: ${targetDir} is a member of a cluster of its own; ${best.dataDir} is as it was`
        : `plan: copy ${best.dataDir} to ${targetDir}, remove all other members from its list; with --execute it is done`,
    );
    lines.push('never start the old directories again: they would be a second cluster with the same ids', 'then:');
    lines.push(...next.map((line) => `  ${line}`));
  }
  void context;
  return {
    simple: () => `${lines.join('\n')}\n`,
    json: () =>
      jsonObject({
        directories: `[${inspections.map(inspectionJson).join(',')}]`,
        best: jsonText(best.dataDir),
        voters: `[${voters.map((id) => jsonText(u64ToHex(id))).join(',')}]`,
        survivors: `[${survivors.map((id) => jsonText(u64ToHex(id))).join(',')}]`,
        majority: String(hasQuorum),
        uncommitted: String(uncommitted),
        losses: `[${losses.map(jsonText).join(',')}]`,
        target: jsonText(targetDir),
        done: String(isDone),
        next: `[${next.map(jsonText).join(',')}]`,
      }),
  };
}

function nextCommands({ best }: RecoveryPlan, targetDir: string): string[] {
  const { name, peerUrls, store, memberId } = best;
  const clientUrls = store?.state.members.find(({ id }) => id === memberId)?.clientURLs ?? [];
  const peers = peerUrls.join(',') || 'http://HOST:2380';
  const clients = clientUrls.join(',') || 'http://HOST:2379';
  return [
    `etsd --name ${name === '' ? 'default' : name} --data-dir ${targetDir} --listen-client-urls ${clients} --advertise-client-urls ${clients} --listen-peer-urls ${peers} --initial-advertise-peer-urls ${peers}`,
    `etsdctl --endpoints ${clients} endpoint status`,
    `etsdctl --endpoints ${clients} member add NAME --learner --peer-urls http://OTHER:2380    # one by one, each on an empty directory`,
  ];
}

export const RECOVER: Command = {
  name: 'recover',
  summary: 'Go on after the majority of a cluster is lost, from the best directory that is left',
  usage: 'DIRECTORY…',
  group: 'Files of a cluster',
  description: [
    'Says which of the directories reaches furthest and what at most is lost, and prints the plan. With --execute a copy of',
    'that directory becomes a cluster of one, with the same ids and revisions; the directories given are never changed.',
  ].join('\n'),
  examples: [
    ['What could be done', 'recover /mnt/m1 /mnt/m2'],
    ['Do it', 'recover /mnt/m1 /mnt/m2 --target-dir /var/lib/etsd --execute'],
  ],
  flags: [
    flag('execute', 'bool', 'false', 'do it'),
    flag('force', 'bool', 'false', 'do it also where a majority is at hand'),
    flag('target-dir', 'string', '', 'directory to be made; default the best one with .recovered behind'),
  ],
  run: recover,
};
