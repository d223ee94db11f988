/** `etsdutl archive`: what an archive holds, whether it can be restored, and what of it is too old. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { joinPath } from '@etsd/runtime';
import {
  type Chain,
  type ChainProof,
  formatTime,
  type Manifest,
  outdated,
  proveChain,
  readArchive,
} from '@etsd/server/files';
import type { Command } from '../ctl/command.ts';
import type { Context } from '../ctl/context.ts';
import { ExitCode, Failure } from '../ctl/failure.ts';
import { type Flag, flag } from '../ctl/flags.ts';
import { formatSize } from '../ctl/go.ts';
import { jsonArray, jsonObject, jsonText } from '../ctl/go-json.ts';
import type { View } from '../ctl/view.ts';
import { field, textField } from '../ctl/views/fields.ts';
import { fileFailure, openLoader, openStore } from './files.ts';
import { requireFlags } from './point-in-time.ts';
import { world } from './world.ts';

const SHARED: readonly Flag[] = [
  flag('archive-dir', 'string', '', 'the archive, as the server was given it'),
  flag('cluster-id', 'string', '', 'only of this cluster'),
  flag('member-id', 'string', '', 'only of this member'),
];

/** The chains that the flags choose. */
async function chainsOf(context: Context, form: string): Promise<Chain[]> {
  requireFlags(context, ['archive-dir'], form);
  const { flags } = context;
  const [directory, cluster, member] = ['archive-dir', 'cluster-id', 'member-id'].map((name) => flags.text(name)) as [
    string,
    string,
    string,
  ];
  let chains: Chain[];
  try {
    chains = await readArchive(world.disk, directory);
  } catch (error) {
    throw fileFailure(error, directory, 'open');
  }
  const chosen = chains.filter(
    ({ name }) => (cluster === '' || name.clusterId === cluster) && (member === '' || name.memberId === member),
  );
  if (chosen.length > 0) return chosen;
  throw new Failure(ExitCode.ERROR, `nothing of that cluster and member in ${directory}`, 'see: etsdutl archive list');
}

// ── list ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A stretch of revisions that can be restored without a hole. */
interface Extent {
  readonly chain: Chain;
  readonly bases: number;
  readonly objects: number;
  readonly bytes: number;
  readonly fromRevision: number;
  readonly fromMs: number;
  readonly toRevision: number;
  readonly toMs: number;
}

/** From each base on to where its log ends; bases that lie within the log of one before belong to that. */
function extentsOf(chain: Chain): Extent[] {
  const extents: Extent[] = [];
  let pieces = new Set<Manifest>();
  for (const base of chain.bases) {
    const behind = chain.piecesBehind(base);
    const isContinued = behind.length > 0 && behind.every((piece) => pieces.has(piece));
    const before = extents.at(-1);
    if (isContinued && before !== undefined) {
      extents[extents.length - 1] = {
        ...before,
        bases: before.bases + 1,
        objects: before.objects + 1,
        bytes: before.bytes + base.bytes,
      };
      continue;
    }
    pieces = new Set(behind);
    const end = behind.flatMap(({ samples }) => samples).findLast(({ index }) => index >= base.at.index) ?? base.at;
    extents.push({
      chain,
      bases: 1,
      objects: 1 + behind.length,
      bytes: behind.reduce((sum, { bytes }) => sum + bytes, base.bytes),
      fromRevision: base.at.revision,
      fromMs: base.at.timeMs,
      toRevision: end.revision,
      toMs: end.timeMs,
    });
  }
  return extents;
}

function listView(extents: readonly Extent[]): View {
  const rows = extents.map(({ chain, ...extent }) => [
    chain.name.clusterId,
    chain.name.memberId,
    String(extent.fromRevision),
    formatTime(extent.fromMs),
    String(extent.toRevision),
    formatTime(extent.toMs),
    String(extent.bases),
    String(extent.objects),
    formatSize(extent.bytes),
  ]);
  const headings = [
    'CLUSTER',
    'MEMBER',
    'FROM REVISION',
    'FROM TIME',
    'TO REVISION',
    'TO TIME',
    'BASES',
    'FILES',
    'SIZE',
  ];
  return {
    simple: () => rows.map((row) => `${row.join(', ')}\n`).join(''),
    table: () => ({ headings, rows }),
    json: () =>
      jsonArray(
        extents.map(({ chain, fromMs, toMs, ...extent }) =>
          jsonObject({
            clusterId: jsonText(chain.name.clusterId),
            memberId: jsonText(chain.name.memberId),
            fromRevision: String(extent.fromRevision),
            fromTime: jsonText(formatTime(fromMs)),
            toRevision: String(extent.toRevision),
            toTime: jsonText(formatTime(toMs)),
            bases: String(extent.bases),
            objects: String(extent.objects),
            bytes: String(extent.bytes),
          }),
        ),
      ),
    fields: () =>
      extents
        .map(
          ({ chain, fromMs, toMs, ...extent }) =>
            textField('Cluster', chain.name.clusterId) +
            textField('Member', chain.name.memberId) +
            field('From revision', extent.fromRevision) +
            textField('From time', formatTime(fromMs)) +
            field('To revision', extent.toRevision) +
            textField('To time', formatTime(toMs)) +
            field('Bases', extent.bases) +
            field('Files', extent.objects) +
            field('Size', extent.bytes),
        )
        .join('\n'),
  };
}

const list: Command = {
  name: 'list',
  summary: 'Print from when to when an archive can be restored',
  usage: '--archive-dir DIRECTORY',
  description:
    'One line for each stretch without a gap: cluster, member, first and last revision and time, files, size.',
  flags: SHARED,
  async run(context) {
    context.prepare();
    const chains = await chainsOf(context, 'write: archive list --archive-dir DIRECTORY');
    context.print(listView(chains.flatMap(extentsOf)));
    for (const { message } of chains.flatMap(({ problems }) => problems)) context.warn(message);
  },
};

// ── verify ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function proofText({ chain, ...proof }: ChainProof): string {
  const end = proof.end === null ? 'nothing can be restored' : `restores up to revision ${proof.end.revision}`;
  return (
    `${chain.name.directory}: ${proof.problems.length === 0 ? 'good' : 'DAMAGED'}; ${proof.bases} bases read, ` +
    `${proof.agreed} agree with the log before, ${proof.entries} entries applied, ${proof.moments} revisions checked; ${end}`
  );
}

const verify: Command = {
  name: 'verify',
  summary: 'Prove that an archive can be restored, by restoring it in a temporary place',
  usage: '--archive-dir DIRECTORY',
  description: [
    'Reads every copy of the store, applies the log behind it, and compares what comes out with the next copy and with the',
    'revisions that the member noted. Needs room for a copy of the store in --temporary-dir. Exit status 1: damaged.',
  ].join('\n'),
  flags: [...SHARED, flag('temporary-dir', 'string', '', "where to restore; default the system's temporary directory")],
  async run(context) {
    const chains = await chainsOf(context, 'write: archive verify --archive-dir DIRECTORY');
    const parent = context.flags.text('temporary-dir');
    const temporary = mkdtempSync(join(parent === '' ? tmpdir() : parent, 'etsdutl-verify-'));
    const { disk, timers } = world;
    const pause = (): Promise<void> => new Promise((resolve) => timers.endOfTurn(resolve));
    let problems = 0;
    try {
      for (const chain of chains) {
        const proof = await proveChain(chain, { disk, temporary, pause, openBackend: openStore, openLoader });
        context.line(proofText(proof));
        for (const problem of proof.problems) context.line(`  ${problem}`);
        problems += proof.problems.length;
      }
    } finally {
      rmSync(temporary, { recursive: true, force: true });
      await world.workers.close();
    }
    if (problems === 0) return;
    throw new Failure(
      ExitCode.ERROR,
      `the archive is damaged: ${problems} problems`,
      'restore from before or behind them',
    );
  },
};

// ── prune ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const prune: Command = {
  name: 'prune',
  summary: 'Remove from an archive what is too old',
  usage: '--archive-dir DIRECTORY --older-than DURATION',
  description: [
    'What is needed for any moment since stays: the last copy of the store before, and the log behind it. The server does',
    'the same for its own archive by --archive-retention; this is for those of members that are gone, and for copies.',
  ].join('\n'),
  examples: [['Keep a week', 'archive prune --archive-dir /backup/etsd --older-than 168h']],
  flags: [
    ...SHARED,
    flag('older-than', 'duration', '0s', 'what is older than this'),
    flag('dry-run', 'bool', 'false', 'only print what would go'),
  ],
  async run(context) {
    const form = 'write: archive prune --archive-dir DIRECTORY --older-than 168h';
    const chains = await chainsOf(context, form);
    const ageMs = context.flags.milliseconds('older-than');
    if (ageMs <= 0) throw new Failure(ExitCode.ERROR, 'required flag(s) "older-than" not set', form);
    const isDry = context.flags.flag('dry-run');
    let bytes = 0;
    for (const chain of chains) {
      for (const manifest of outdated(chain.manifests, world.clock.wallMs() - ageMs)) {
        const path = joinPath(chain.path, manifest.name);
        // The manifest first: an object without one is none.
        if (!isDry) for (const each of [`${path}.json`, path]) await world.disk.remove(each);
        context.line(`${chain.name.directory}/${manifest.name}`);
        bytes += manifest.bytes;
      }
    }
    context.warn(`${isDry ? 'would free' : 'freed'} ${formatSize(bytes)}`);
  },
};

export const ARCHIVE_COMMAND: Command = {
  name: 'archive',
  summary: 'Archives that servers write with --archive-dir',
  group: 'Files of a cluster',
  commands: [list, prune, verify],
};
