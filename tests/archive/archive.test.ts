// Goal: what a member archives can be restored to any moment, goes on over restarts, and never harms the member; what was
// damaged is found. Method: members with small segments in this process, a client that keeps its history, the real tool.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { type EtcdClient, prefix } from '@etsd/client';
import type { World } from '@etsd/runtime';
import { diskError } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { type CommandResult, type CommandRunner, planRestore, readArchive, startMember } from '@etsd/server';
import { run } from '../../packages/cli/src/ctl/main.ts';
import { CommandShell } from '../../packages/cli/src/etsd/command-shell.ts';
import { ETSDUTL } from '../../packages/cli/src/utl/program.ts';
import { eventually } from '../support/conditions.ts';
import { ArchivedMember } from './archived-member.ts';
import { RecordedClient, type SeenKey } from './history.ts';
import { archived, checkMoments, prove, restoredAt, writtenMember } from './point-in-time.ts';

const LONG = { timeout: 600_000 };
const WAIT_MS = 300_000;

async function utl(...words: string[]): Promise<{ exit: number; stdout: string; stderr: string }> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const exit = await run(ETSDUTL, words, { env: {}, stdin: stdin as never, stdout, stderr });
  return { exit, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

async function seenBy(client: EtcdClient): Promise<Map<string, SeenKey>> {
  const seen = new Map<string, SeenKey>();
  for await (const kv of client.kv.list(prefix('key/'))) {
    const { value, createRevision, modRevision, version, lease } = kv;
    const view = { value: value.toString(), create: createRevision, mod: modRevision, version, lease };
    seen.set(kv.key.toString(), view);
  }
  return seen;
}

test('any revision and any moment is what the client was told', LONG, async () => {
  const prepared = await writtenMember(700, 11, { flags: { 'archive-base-interval': '1s' } });
  const { member, history, chains } = prepared;
  try {
    const checked = await checkMoments(prepared, 50, 5);
    assert.equal(checked.revisions, 50);
    assert.equal(chains.length, 1);
    const proof = await prove(chains[0] as never, join(member.place, 'proof'));
    assert.deepEqual(proof.problems, []);
    assert.equal(proof.bases, chains[0]?.bases.length);
    assert.equal(proof.end?.revision, history.revision);
    assert.ok(proof.entries > 500 && proof.moments > 0);
    assert.ok((chains[0]?.runs.length ?? 0) === 1, 'without a gap');
  } finally {
    await member.dispose();
  }
});

// Goal: a disaster may come at any time: what the archive says it has it has at every moment, also while a copy of the store
// is on its way. Method: whenever there is one more copy, each revision up to the last one told is planned for.
test('what lies before a copy of the store is in the archive with it', LONG, async () => {
  const member = await new ArchivedMember({ flags: { 'archive-base-interval': '100ms' } }).start();
  try {
    const { disk } = nodeWorld();
    const history = new RecordedClient(19);
    await member.said('archived a copy of the store');
    let isOver = false;
    const written = (async () => {
      while (!isOver) await history.act(member.client);
    })();
    try {
      for (let bases = 1; bases < 6; ) {
        const chains = await readArchive(disk, member.archive);
        const count = chains[0]?.bases.length ?? 0;
        if (count <= bases) continue;
        bases = count;
        const first = chains[0]?.bases[0]?.at.revision ?? 0;
        const last = chains[0]?.end?.revision ?? 0;
        for (let revision = first; revision <= last; revision++) {
          planRestore(chains, { kind: 'revision', revision }, { clusterId: '', memberId: '' });
        }
      }
    } finally {
      isOver = true;
      await written;
    }
  } finally {
    await member.dispose();
  }
});

test('etsdutl restores, lists, proves and prunes', LONG, async () => {
  const { member, history } = await writtenMember(400, 12, { flags: { 'archive-base-interval': '500ms' } });
  try {
    await member.stop();
    const { archive, place } = member;
    const target = join(place, 'restored');
    const missing = await utl('restore', '--archive-dir', archive, '--data-dir', target, '--to-revision', '99999');
    assert.equal(missing.exit, 1);
    assert.match(missing.stderr, /does not have revision 99999; [0-9a-f-]+ has revision \d+ \(.*Z\) to \d+ \(/);
    const early = await utl(
      'restore',
      '--archive-dir',
      archive,
      '--data-dir',
      target,
      '--to-time',
      '2020-01-01T00:00:00Z',
    );
    assert.match(early.stderr, /does not have 2020-01-01T00:00:00\.000Z/);
    for (const words of [
      ['--to-time', '14:03'],
      ['--to-revision', '5', '--to-time', '1m'],
      ['--to-revision', '0'],
    ]) {
      assert.equal((await utl('restore', '--archive-dir', archive, '--data-dir', target, ...words)).exit, 128);
    }

    const kept = ['--to-revision', '300', '--keep-revision'];
    const done = await utl('restore', '--archive-dir', archive, '--data-dir', target, ...kept);
    assert.equal(done.exit, 0, done.stderr);
    assert.equal(done.stdout, `Restored revision 300 at ${target}\n`);
    assert.deepEqual(readdirSync(join(target, 'member')).sort(), ['snap', 'wal']);
    const again = await utl('restore', '--archive-dir', archive, '--data-dir', target, ...kept);
    assert.match(again.stderr, /data-dir ".*" not empty or could not be read/);
    await using restored = await startMember({ dataDir: target });
    assert.deepEqual(await seenBy(restored.client()), history.at(300));
    assert.equal((await restored.client().kv.put('next', '1')).header?.revision, 301);

    const safe = join(place, 'safe');
    const latest = await utl('restore', 'latest', '--archive-dir', archive, '--data-dir', safe);
    assert.match(latest.stderr, /revision lifted/);
    await using lifted = await startMember({ dataDir: safe });
    assert.deepEqual(await seenBy(lifted.client()), history.at(history.revision));
    await assert.rejects(lifted.client().kv.get('key/1', { revision: history.revision }), /has been compacted/);

    const listed = await utl('archive', 'list', '--archive-dir', archive, '-w', 'json');
    const [extent, ...others] = JSON.parse(listed.stdout);
    assert.deepEqual(others, [], 'one stretch without a gap');
    assert.equal(extent.toRevision, history.revision);
    assert.ok(extent.bases > 1);
    const proved = await utl('archive', 'verify', '--archive-dir', archive);
    assert.equal(proved.exit, 0, proved.stdout);
    assert.match(proved.stdout, new RegExp(`: good; .* restores up to revision ${history.revision}\\n$`));

    const before = readdirSync(join(archive, readdirSync(archive)[0] as string)).length;
    const dry = await utl('archive', 'prune', '--archive-dir', archive, '--older-than', '1ms', '--dry-run');
    const pruned = await utl('archive', 'prune', '--archive-dir', archive, '--older-than', '1ms');
    assert.equal(dry.stdout, pruned.stdout);
    const lines = pruned.stdout.trim().split('\n').length;
    assert.equal(readdirSync(join(archive, readdirSync(archive)[0] as string)).length, before - 2 * lines);
    assert.ok(lines >= 1);
    assert.equal((await utl('archive', 'verify', '--archive-dir', archive)).exit, 0, 'what is left can be restored');
    const chains = await archived(member, history.revision);
    const { seen } = await restoredAt(chains, { kind: 'latest' }, join(place, 'unpacked'));
    assert.deepEqual(seen, history.at(history.revision));
  } finally {
    await member.dispose();
  }
});

test('damage is found, and named', LONG, async () => {
  const { member, chains } = await writtenMember(150, 13, { flags: { 'archive-base-interval': '300ms' } });
  try {
    await member.stop();
    const [chain] = chains;
    assert.ok(chain !== undefined);
    const objects = readdirSync(chain.path).filter((name) => name.endsWith('.zst') || name.endsWith('.json'));
    let found = 0;
    for (let at = 0; at < objects.length; at += Math.ceil(objects.length / 5)) {
      const path = join(chain.path, objects[at] as string);
      const whole = readFileSync(path);
      const changed = Buffer.from(whole);
      const place = changed.length >> 1;
      changed[place] = (changed[place] as number) ^ 0x41;
      writeFileSync(path, changed);
      const result = await utl('archive', 'verify', '--archive-dir', member.archive);
      assert.equal(result.exit, 1, `${objects[at]}\n${result.stdout}`);
      assert.match(result.stdout, /DAMAGED/);
      writeFileSync(path, whole);
      found++;
    }
    assert.ok(found >= 4);
    assert.equal((await utl('archive', 'verify', '--archive-dir', member.archive)).exit, 0);
    // A piece in the middle is gone: what is behind it comes from the next base only.
    const gone = chain.runs[0]?.pieces[1];
    assert.ok(gone !== undefined);
    rmSync(join(chain.path, gone.name));
    const [reread] = await readArchive(nodeWorld().disk, member.archive);
    assert.equal(reread?.runs.length, 2);
  } finally {
    await member.dispose();
  }
});

test('it goes on over restarts, and apart from another log', LONG, async () => {
  const member = await new ArchivedMember().start();
  try {
    const history = new RecordedClient(14);
    await member.said('archived a copy of the store');
    for (let life = 1; life <= 3; life++) {
      while (history.revision < life * 120) await history.act(member.client);
      if (life === 2) await archived(member, history.revision);
      // A clean stop archives the rest.
      await member.stop();
      const chains = await archived(member, history.revision);
      assert.equal(chains.length, 1);
      assert.equal(chains[0]?.runs.length, 1, 'without a gap');
      const { seen } = await restoredAt(chains, { kind: 'latest' }, join(member.place, 'unpacked'));
      assert.deepEqual(seen, history.at(history.revision));
      await member.start();
    }
    // Another past under the same name.
    await member.stop();
    rmSync(member.dataDir, { recursive: true });
    const from = member.lines.length;
    await member.start();
    for (let i = 0; i < 50; i++) await member.client.kv.put(`key/${i}`, 'other');
    await member.said('it is archived apart', from);
    await member.said('archived a copy of the store', from);
    await member.stop();
    const chains = await archived(member, 51);
    assert.deepEqual(
      chains.map(({ name }) => name.generation),
      [1, 2],
    );
  } finally {
    await member.dispose();
  }
});

/** A machine whose archive has no room when it is told so. */
class FullArchive {
  isFull = false;
  refused = 0;

  world(machine: World, directory: () => string): World {
    const { disk } = machine;
    const refuse = (path: string): void => {
      if (!this.isFull || !path.startsWith(directory())) return;
      this.refused++;
      throw diskError('ENOSPC', `no space left on device, write '${path}'`);
    };
    const full = new Proxy(disk, {
      get: (target, name) => {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== 'function') return value;
        return async (...args: unknown[]) => {
          if (name === 'open' && args[1] === 'create') refuse(String(args[0]));
          if (name === 'writeFileAtomic') refuse(String(args[0]));
          return await (value as (...all: unknown[]) => unknown).apply(target, args);
        };
      },
    });
    // What is called for its result at once stays as it is.
    const sync = new Proxy(full, {
      get: (target, name) => (name === 'lockedFiles' ? disk.lockedFiles.bind(disk) : Reflect.get(target, name)),
    });
    return { ...machine, disk: sync };
  }
}

/** Writes up to a revision, no faster than it is archived: the log waits for nobody, and would leave a gap. */
async function actAsArchived(member: ArchivedMember, history: RecordedClient, revision: number) {
  let chains = await archived(member, history.revision);
  while (history.revision < revision) {
    const until = history.revision + 10;
    while (history.revision < until) await history.act(member.client);
    chains = await archived(member, history.revision);
  }
  return chains;
}

test('a full archive is said and does not harm the member; a gap begins with a new base', LONG, async () => {
  const full = new FullArchive();
  const member: ArchivedMember = new ArchivedMember({
    world: (machine) => full.world(machine, () => member.archive),
    flags: { 'snapshot-count': '100' },
    segmentBytes: 16 * 1024,
  });
  try {
    await member.start();
    const history = new RecordedClient(15);
    await member.said('archived a copy of the store');
    await actAsArchived(member, history, 100);
    full.isFull = true;
    const from = member.lines.length;
    for (let i = 0; i < 5; i++) await history.act(member.client);
    const failed = await member.said('cannot archive; the member goes on without', from);
    assert.match(String(failed.fields['error']), /ENOSPC/);
    // Until the log has lost what the archive lacks, and not only what it has and the log still had.
    const lackedFrom = 2 * history.revision + 200;
    const isCut = (): boolean =>
      member.lines.slice(from).some(({ message, fields }) => {
        const index = /-([0-9a-f]{16})\.wal$/.exec(String(fields['path']))?.[1] ?? '0';
        return message === 'purged a log segment' && Number.parseInt(index, 16) > lackedFrom;
      });
    for (let round = 0; !isCut() && round < 10_000; round++) await history.act(member.client);
    assert.ok(isCut(), 'the log was cut without waiting for the archive');
    assert.ok(full.refused > 0);
    full.isFull = false;
    await member.said('the archive is written again', from);
    await member.said('the log was cut before it was archived', from);
    await member.said('archived a copy of the store', from);
    const gapEnd = history.revision;
    await archived(member, gapEnd);
    const chains = await actAsArchived(member, history, gapEnd + 100);
    const gaps = member.lines.filter(({ message }) => message.startsWith('the log was cut before it was archived'));
    assert.equal(chains[0]?.runs.length, 2, JSON.stringify([gaps, gapEnd, chains[0]?.runs], null, 1));
    const place = join(member.place, 'unpacked');
    for (const revision of [50, 100, gapEnd + 60, history.revision]) {
      const { seen } = await restoredAt(chains, { kind: 'revision', revision }, place);
      assert.deepEqual(seen, history.at(revision), `revision ${revision}`);
    }
    await assert.rejects(
      restoredAt(chains, { kind: 'revision', revision: gapEnd - 5 }, place),
      /does not have|ends at/,
    );
  } finally {
    await member.dispose();
  }
});

/** Stores by copying; refuses when it is told to. */
class CopyingRunner implements CommandRunner {
  readonly shell = new CommandShell();
  readonly lines: string[] = [];
  refusals = 0;

  async run(line: string, timeoutMs: number): Promise<CommandResult> {
    this.lines.push(line);
    if (this.refusals-- > 0) return { status: 7, output: 'not now' };
    return await this.shell.run(line, timeoutMs);
  }

  close(): void {
    this.shell.close();
  }
}

test('the command stores everything, in order, and is called again where it fails', LONG, async () => {
  const runner = new CopyingRunner();
  runner.refusals = 2;
  const store = mkdtempSync(join(tmpdir(), 'archive-store-'));
  const member = new ArchivedMember({
    startCommands: () => runner,
    flags: { 'archive-command': `mkdir -p ${store}/$(dirname %f) && cp %p ${store}/%f`, 'archive-base-interval': '1s' },
  });
  try {
    await member.start();
    const history = new RecordedClient(16);
    while (history.revision < 200) await history.act(member.client);
    const chains = await archived(member, 200);
    const failed = await member.said('the command did not store what was archived');
    assert.deepEqual([failed.fields['status'], failed.fields['output']], [7, 'not now']);
    const objects = chains[0]?.manifests.length ?? 0;
    const directory = chains[0]?.name.directory as string;
    await eventually(WAIT_MS, 'everything stored', () => {
      const names = readdirSync(store, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));
      return names.length >= objects ? names : null;
    });
    assert.match(runner.lines[0] as string, new RegExp(`cp .*/${directory}/[^/]+ ${store}/${directory}/`));
    await eventually(WAIT_MS, 'the number of the last one noted', () =>
      Number(readFileSync(join(chains[0]?.path as string, 'sent'), 'utf8')) >= objects ? true : null,
    );
    // What was stored is an archive.
    const proved = await utl('archive', 'verify', '--archive-dir', store);
    assert.equal(proved.exit, 0, proved.stdout);
  } finally {
    await member.dispose();
    rmSync(store, { recursive: true, force: true });
  }
});

test('a command that hangs is ended, and the next one runs', LONG, async () => {
  const shell = new CommandShell();
  try {
    assert.deepEqual(await shell.run('echo some words; exit 3', 10_000), { status: 3, output: 'some words' });
    assert.deepEqual(await shell.run('sleep 1000', 50), { status: -1, output: 'it took too long' });
    assert.deepEqual(await shell.run('echo "a  b"', 10_000), { status: 0, output: 'a  b' });
  } finally {
    shell.close();
  }
});
