/** `etsdutl rebuild`: a member whose data is damaged gets all of it from its peers. */
import { type U64, u64ToHex } from '@etsd/base';
import { type EtcdClient, EtcdError } from '@etsd/client';
import type { Member } from '@etsd/proto';
import { hasCode, type Lock } from '@etsd/runtime';
import type { Command } from '../ctl/command.ts';
import { type Context, failureOf } from '../ctl/context.ts';
import { badArguments, ExitCode, Failure } from '../ctl/failure.ts';
import { flag } from '../ctl/flags.ts';
import { GLOBAL_FLAGS } from '../ctl/global-flags.ts';
import { parseHexId } from '../ctl/go.ts';
import { jsonObject, jsonText } from '../ctl/go-json.ts';
import type { View } from '../ctl/view.ts';
import { world } from './files.ts';
import { inspect } from './inspection.ts';
import { rescueFailure } from './rescue-failure.ts';

const FORM = 'rebuild DIRECTORY --endpoints HOST:2379,…';
/** A cluster that just lost a member, or got one, calls itself unhealthy for some seconds. */
const ADD_TRIES = 20;
const ADD_PAUSE_MS = 1000;

interface Wanted {
  /** As the log in the directory says. */
  readonly memberId: U64;
  readonly clusterId: U64 | null;
  readonly name: string;
  readonly peerUrls: readonly string[];
}

interface Rebuilt {
  readonly memberId: U64;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly members: readonly Member[];
  /** Where the damaged directory is now. */
  readonly asidePath: string;
}

async function rebuild(context: Context): Promise<void> {
  context.prepare();
  const { args } = context;
  const [given] = args;
  if (given === undefined || args.length !== 1) throw badArguments('rebuild requires one directory', `write: ${FORM}`);
  const dataDir = given.replace(/\/+$/, '');
  let lock: Lock | null = null;
  try {
    lock = await lockOf(dataDir);
    const wanted = await identify(context, dataDir);
    const client = await context.client();
    const rebuilt = await exchange(context, client, wanted, dataDir);
    context.print(rebuiltView(context, rebuilt, dataDir));
  } catch (error) {
    throw error instanceof EtcdError ? failureOf(error) : rescueFailure(error);
  } finally {
    await lock?.release();
    await world.workers.close();
  }
}

async function lockOf(dataDir: string): Promise<Lock> {
  if ((await world.disk.stat(`${dataDir}/member`)) === null) {
    throw new Failure(ExitCode.ERROR, `${dataDir} is no data directory of a member`, `write: ${FORM}`);
  }
  try {
    return await world.disk.lock(`${dataDir}/member/lock`);
  } catch (error) {
    if (!hasCode(error, 'ELOCKED')) throw error;
    throw new Failure(ExitCode.ERROR, `a member is using ${dataDir}`, 'stop the member first');
  }
}

/** Who the member is: its log says so, or the operator where the log cannot be read. */
async function identify({ flags }: Context, dataDir: string): Promise<Wanted> {
  const { memberId, clusterId, name, peerUrls } = await inspect(dataDir, flags.text('wal-dir'));
  if (flags.isGiven('member')) {
    const parsed = parseHexId(flags.text('member'), 'ParseUint');
    if (!('id' in parsed))
      throw badArguments(`bad --member (${parsed.problem})`, 'ids are listed by: etsdctl member list');
    return { memberId: parsed.id, clusterId, name, peerUrls };
  }
  if (memberId !== null) return { memberId, clusterId, name, peerUrls };
  const hint = 'give --member ID; ids are listed by: etsdctl member list';
  throw new Failure(ExitCode.ERROR, `the log in ${dataDir} does not say which member it was`, hint);
}

/**
 * Takes the member out of its cluster and announces it anew, as a learner: it must not vote before it has what it once
 * promised. Where an earlier attempt was interrupted, it goes on.
 */
async function exchange(context: Context, client: EtcdClient, wanted: Wanted, dataDir: string): Promise<Rebuilt> {
  // Confirmed by a majority, which the damaged member, being stopped, is no part of.
  const { header, members } = await client.cluster.list(context.short);
  if (wanted.clusterId !== null && header?.clusterId !== wanted.clusterId) {
    const text = `${dataDir} belongs to cluster ${u64ToHex(wanted.clusterId)}, the endpoints to ${u64ToHex(header?.clusterId ?? wanted.clusterId)}`;
    throw new Failure(ExitCode.ERROR, text, 'name endpoints of its own cluster');
  }
  const old = members.find(({ ID }) => ID === wanted.memberId);
  const peerUrls = old?.peerURLs ?? wanted.peerUrls;
  const name = context.flags.text('name') || old?.name || wanted.name;
  if (name === '' || peerUrls.length === 0) {
    const hint = 'add it by hand: etsdctl member add NAME --learner --peer-urls=URL';
    throw new Failure(
      ExitCode.ERROR,
      `member ${u64ToHex(wanted.memberId)} is not in the cluster, nor known by its store`,
      hint,
    );
  }
  if (old !== undefined && !members.some(({ ID, isLearner }) => ID !== wanted.memberId && !isLearner)) {
    const text = `${name} is the only voting member: it has no peers`;
    throw new Failure(ExitCode.ERROR, text, 'etsdutl recover makes a member of what is left');
  }
  if (old !== undefined) {
    context.warn(`removing member ${u64ToHex(wanted.memberId)} (${name})`);
    await client.cluster.remove(wanted.memberId, context.short);
  }
  const memberId = await announce(context, client, peerUrls);
  const asidePath = await freePath(`${dataDir}.damaged`);
  await world.disk.rename(dataDir, asidePath);
  const after = await client.cluster.list(context.short);
  return { memberId, name, peerUrls, clientUrls: old?.clientURLs ?? [], members: after.members, asidePath };
}

async function announce(context: Context, client: EtcdClient, peerUrls: readonly string[]): Promise<U64> {
  const { members } = await client.cluster.list(context.short);
  const known = members.find(
    ({ name, peerURLs }) => name === '' && [...peerURLs].sort().join() === [...peerUrls].sort().join(),
  );
  if (known !== undefined) return known.ID;
  for (let attempt = 1; ; attempt++) {
    try {
      context.warn(`adding it again as a learner, at ${peerUrls.join(',')}`);
      const { member } = await client.cluster.add([...peerUrls], { ...context.short, learner: true });
      return member?.ID as U64;
    } catch (error) {
      if (!(error instanceof EtcdError) || !/unhealthy/.test(error.message) || attempt >= ADD_TRIES) throw error;
      context.warn(`${error.message}; trying again`);
      await new Promise<void>((resolve) => world.timers.after(ADD_PAUSE_MS, resolve));
    }
  }
}

async function freePath(path: string): Promise<string> {
  let free = path;
  for (let at = 2; (await world.disk.stat(free)) !== null; at++) free = `${path}-${at}`;
  return free;
}

function rebuiltView({ flags }: Context, rebuilt: Rebuilt, dataDir: string): View {
  const { memberId, name, peerUrls, clientUrls, members, asidePath } = rebuilt;
  const cluster = members.flatMap((member) => {
    const called = member.ID === memberId ? name : member.name || `m-${u64ToHex(member.ID)}`;
    return member.peerURLs.map((url) => `${called}=${url}`);
  });
  const clients = clientUrls.join(',') || 'http://HOST:2379';
  const start = [
    `etsd --name ${name} --data-dir ${dataDir} --initial-cluster-state existing --initial-cluster ${cluster.join(',')}`,
    `--initial-advertise-peer-urls ${peerUrls.join(',')} --listen-peer-urls ${peerUrls.join(',')}`,
    `--advertise-client-urls ${clients} --listen-client-urls ${clients}`,
  ].join(' ');
  const promote = `etsdctl --endpoints ${flags.list('endpoints').join(',')} member promote ${u64ToHex(memberId)}`;
  const lines = [
    `${name} is member ${u64ToHex(memberId)} now, a learner without data; what it had is in ${asidePath}`,
    'start it with its other flags as they were:',
    `  ${start}`,
    'and when it has caught up, give it its vote:',
    `  ${promote}`,
  ];
  return {
    simple: () => `${lines.join('\n')}\n`,
    json: () =>
      jsonObject({
        memberID: jsonText(u64ToHex(memberId)),
        name: jsonText(name),
        aside: jsonText(asidePath),
        start: jsonText(start),
        promote: jsonText(promote),
      }),
  };
}

/** Those of etsdctl that say how to reach a cluster. */
const CONNECTION_FLAGS = GLOBAL_FLAGS.filter(({ name }) => name !== 'compat' && name !== 'write-out');

export const REBUILD: Command = {
  name: 'rebuild',
  summary: 'Let a damaged member fetch everything from its peers',
  usage: 'DIRECTORY --endpoints HOST:2379,…',
  group: 'Files of a cluster',
  description: [
    'Takes the stopped member out of its cluster, announces it anew as a learner, sets its directory aside and prints the',
    'command to start it. The others must be a majority. Can be repeated where it was interrupted.',
  ].join('\n'),
  examples: [['', 'rebuild /var/lib/etsd --endpoints 10.0.0.2:2379,10.0.0.3:2379']],
  flags: [
    ...CONNECTION_FLAGS,
    flag('member', 'string', '', 'id of the member, where its log cannot be read'),
    flag('name', 'string', '', 'its name, where nobody knows it any more'),
    flag('wal-dir', 'string', '', 'directory of its log, where it is not below the data directory'),
  ],
  run: rebuild,
};
