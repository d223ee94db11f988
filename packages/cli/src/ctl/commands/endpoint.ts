import type { EtcdClient } from '@etsd/client';
import { AlarmType } from '@etsd/proto';
import type { Command } from '../command.ts';
import { type Context, failureOf } from '../context.ts';
import { ExitCode, Failure, Silent } from '../failure.ts';
import { flag } from '../flags.ts';
import {
  alarmName,
  type EndpointHash,
  type EndpointStatus,
  type Health,
  hashView,
  healthView,
  statusView,
} from '../views/cluster.ts';

/** The endpoints to ask: those given, or with `--cluster` those the members say. */
export async function endpointsOf(context: Context, client: EtcdClient): Promise<readonly string[]> {
  if (!context.flags.flag('cluster')) return client.endpoints;
  const { members } = await client.cluster.list(context.short);
  const urls = members.flatMap((member) => member.clientURLs);
  client.useEndpoints(urls);
  return urls;
}

function messageOf(error: unknown): string {
  return failureOf(error).message;
}

const health: Command = {
  name: 'health',
  summary: 'Ask every endpoint whether it can commit',
  examples: [['Every member of the cluster', 'endpoint health --cluster']],
  async run(context) {
    const client = await context.client();
    const endpoints = await endpointsOf(context, client);
    const list = await Promise.all(endpoints.map((endpoint) => healthOf(context, client, endpoint)));
    context.print(healthView(list));
    const sick = list.filter((each) => each.problem !== '');
    if (context.style.format === 'simple') {
      for (const { endpoint, problem } of sick) {
        context.warn(`${endpoint} is unhealthy: failed to commit proposal: ${problem}`);
      }
    }
    if (sick.length > 0) throw new Failure(ExitCode.ERROR, 'unhealthy cluster');
  },
};

async function healthOf(context: Context, client: EtcdClient, endpoint: string): Promise<Health> {
  const startMs = performance.now();
  const options = { ...context.short, endpoint };
  let problem = '';
  try {
    await client.kv.range({ key: Buffer.from('health') }, options);
  } catch (error) {
    // Not being allowed to read the key shows that the member works.
    const message = messageOf(error);
    if (message !== 'etcdserver: permission denied') problem = message;
  }
  const tookMs = performance.now() - startMs;
  if (problem === '') {
    try {
      const raised = (await client.maintenance.alarms(options)).alarms.filter(({ alarm }) => alarm !== AlarmType.NONE);
      if (raised.length > 0) problem = `Active Alarm(s): ${raised.map(({ alarm }) => `${alarmName(alarm)} `).join('')}`;
    } catch {
      problem = 'Unable to fetch the alarm list';
    }
  }
  return { endpoint, tookMs, problem };
}

const status: Command = {
  name: 'status',
  summary: 'Print the state of every endpoint',
  description:
    'In simple format: endpoint, id, version, size of the database, is leader, is learner, raft term, raft index,\nraft applied index, errors. With --compat=3.6 also: storage version, what is in use, quota, downgrade.',
  examples: [['Every member of the cluster, as a table', 'endpoint status --cluster -w table']],
  async run(context) {
    const client = await context.client();
    const list: EndpointStatus[] = [];
    let failed = false;
    for (const endpoint of await endpointsOf(context, client)) {
      try {
        list.push({ endpoint, status: await client.maintenance.status({ ...context.short, endpoint }) });
      } catch (error) {
        context.warn(`Failed to get the status of endpoint ${endpoint} (${messageOf(error)})`);
        failed = true;
      }
    }
    context.print(statusView(list, context.style));
    if (failed) throw new Silent(ExitCode.ERROR);
  },
};

const hashkv: Command = {
  name: 'hashkv',
  summary: 'Print a checksum of keys and history of every endpoint',
  description: 'Members that agree have the same checksum for the same revision.',
  examples: [['Of everything up to revision 7', 'endpoint hashkv --cluster --rev=7']],
  flags: [flag('rev', 'int', '0', 'only up to this revision; 0 for all')],
  async run(context) {
    const client = await context.client();
    const revision = context.flags.number('rev');
    const list: EndpointHash[] = [];
    let failure: Failure | null = null;
    for (const endpoint of await endpointsOf(context, client)) {
      try {
        list.push({ endpoint, hash: await client.maintenance.hashKv(revision, { ...context.short, endpoint }) });
      } catch (error) {
        failure = failureOf(error);
        context.warn(`Failed to get the hash of endpoint ${endpoint} (${failure.message})`);
      }
    }
    if (list.length > 0 || failure === null) context.print(hashView(list, context.style));
    if (failure !== null) throw failure;
  },
};

export const ENDPOINT_COMMAND: Command = {
  name: 'endpoint',
  summary: 'Health, state and checksum of members',
  group: 'Cluster maintenance',
  sharedFlags: [flag('cluster', 'bool', 'false', 'ask all members of the cluster instead of --endpoints')],
  commands: [hashkv, health, status],
};
