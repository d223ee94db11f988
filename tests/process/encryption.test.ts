/**
 * Goal: with keys nothing that a member writes beside its store can be read without them or changed unseen, and a process
 * that is killed loses nothing. Method: real processes with their keys in a file, killed; every file searched for what was
 * put; files changed and keys exchanged; the tools with and without keys.
 */
import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { run as runProgram } from '../../packages/cli/src/ctl/main.ts';
import { ETSDCTL } from '../../packages/cli/src/ctl/program.ts';
import { ETSDUTL } from '../../packages/cli/src/utl/program.ts';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { run, scratch } from './program.ts';

const LONG = { timeout: 300_000 };
const WAIT_MS = 120_000;
const SECRET = 'this-stands-in-no-file';

async function tool(program: typeof ETSDUTL, ...words: string[]): Promise<{ exit: number; text: string }> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const exit = await runProgram(program, words, { env: {}, stdin: stdin as never, stdout, stderr });
  return { exit, text: `${stdout.read() ?? ''}${stderr.read() ?? ''}` };
}

function utl(...words: string[]): Promise<{ exit: number; text: string }> {
  return tool(ETSDUTL, ...words);
}

/** A place with a key file of one key, and a member that uses it. */
class Place {
  readonly path = scratch();
  readonly keys = join(this.path, 'keys');
  readonly dataDir = join(this.path, 'data');
  readonly archive = join(this.path, 'archive');
  readonly member = join(this.dataDir, 'member.etcd');

  static async make(): Promise<Place> {
    const place = new Place();
    writeFileSync(place.keys, (await utl('encryption', 'new-key', 'one')).text, { mode: 0o600 });
    return place;
  }

  async addKey(name: string): Promise<void> {
    appendFileSync(this.keys, (await utl('encryption', 'new-key', name)).text);
  }

  start(flags: readonly string[] = ['--encryption-key-file', this.keys]): Promise<TestServer> {
    const archive = ['--archive-dir', this.archive, '--archive-interval', '200ms', '--snapshot-count', '50'];
    return startServer({ product: 'etsd', dataDir: this.dataDir, flags: [...flags, ...archive] });
  }

  get segments(): string[] {
    const wal = join(this.member, 'member/wal');
    const names = readdirSync(wal).filter((name) => name.endsWith('.wal'));
    return names.sort().map((name) => join(wal, name));
  }

  /** Files but those of the store in which the text stands. */
  holding(text: string): string[] {
    const found: string[] = [];
    for (const root of [this.member, this.archive]) {
      for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
        const path = join(root, name);
        if (!statSync(path).isFile() || name.includes('store.mdb')) continue;
        if (readFileSync(path).includes(text)) found.push(path);
      }
    }
    return found;
  }
}

async function put(server: TestServer, first: number, last: number): Promise<void> {
  const client = server.connect();
  for (let at = first; at <= last; at++) {
    await client.expect('KV/Put', { key: Buffer.from(`key-${at}`), value: Buffer.from(`${SECRET} ${at}`) });
  }
  client.close();
}

async function count(server: TestServer): Promise<number> {
  const client = server.connect();
  const range = { key: Buffer.from('key-'), range_end: Buffer.from('key.'), count_only: true };
  const answer = await client.expect('KV/Range', range);
  client.close();
  return Number(answer['count']);
}

/** Starts `etsd` on the directory, which is to refuse it, and gives what it says. */
async function refusal(place: Place, flags: readonly string[]): Promise<string> {
  const { code, stderr } = await run([
    '--data-dir',
    place.member,
    '--listen-client-urls',
    'http://127.0.0.1:0',
    '--advertise-client-urls',
    'http://127.0.0.1:0',
    '--listen-peer-urls',
    'http://127.0.0.1:0',
    ...flags,
  ]);
  assert.equal(code, 1, stderr);
  return stderr;
}

test('what is written is in no file, outlives a kill, and is refused when it was changed', LONG, async () => {
  const place = await Place.make();
  let server = await place.start();
  await put(server, 1, 60);
  await eventually(WAIT_MS, 'something is archived', () =>
    readdirSync(place.archive, { recursive: true, encoding: 'utf8' }).some((name) => name.endsWith('.db.zst.json'))
      ? true
      : null,
  );
  const saved = join(place.path, 'saved.db');
  const save = await tool(
    ETSDCTL,
    'snapshot',
    'save',
    saved,
    '--endpoints',
    server.address,
    '--encryption-key-file',
    place.keys,
  );
  assert.equal(save.exit, 0, save.text);
  await server.kill();
  assert.deepEqual(place.holding(SECRET.slice(0, 12)), []);
  assert.equal(readFileSync(saved).includes(SECRET.slice(0, 12)), false);

  // The tools read all of it with the key, and say which one is missing without.
  const keyed = ['--encryption-key-file', place.keys];
  const status = await utl('encryption', 'status', place.member, place.archive, saved, ...keyed);
  assert.equal(status.exit, 0, status.text);
  assert.match(status.text, /^key "one": \d+ files; it writes\nplain: 0 files\n$/m);
  for (const words of [
    ['doctor', place.member],
    ['snapshot', 'status', saved],
    ['hashkv', saved],
    ['archive', 'verify', '--archive-dir', place.archive],
  ]) {
    const done = await utl(...words, ...keyed);
    assert.equal(done.exit, 0, `${words.join(' ')}: ${done.text}`);
    const refused = await utl(...words);
    assert.equal(refused.exit, 1, words.join(' '));
    assert.match(
      refused.text,
      /is encrypted with key "one", which is not at hand \(no key is given\)/,
      words.join(' '),
    );
  }
  assert.match((await utl('doctor', place.member, ...keyed)).text, /^ {2}encrypted with "one": \S+\.wal$/m);
  const restored = join(place.path, 'restored');
  assert.equal((await utl('restore', '--archive-dir', place.archive, '--data-dir', restored, ...keyed)).exit, 0);
  assert.match((await utl('encryption', 'status', restored)).text, /^key "one": \d+ files\nplain: 0 files\n$/m);

  const again = await utl('snapshot', 'restore', saved, '--data-dir', join(place.path, 'again'), ...keyed);
  assert.equal(again.exit, 0, again.text);
  assert.match(
    (await utl('snapshot', 'restore', saved, '--data-dir', join(place.path, 'not'))).text,
    /no key is given/,
  );

  // Without the key, with another one of that name, with a file that others may read: no start.
  assert.match(await refusal(place, []), /0\.wal is encrypted with key \\"one\\", and no key is given/);
  const other = join(place.path, 'other');
  writeFileSync(other, (await utl('encryption', 'new-key', 'one')).text, { mode: 0o600 });
  assert.match(await refusal(place, ['--encryption-key-file', other]), /another key \\"one\\" than the one given/);
  chmodSync(other, 0o640);
  assert.match(await refusal(place, ['--encryption-key-file', other]), /has mode 0640: others may get at the keys/);
  assert.match(await refusal(place, ['--encryption-key-command', 'echo nonsense']), /line 1: behind the name of key/);

  // One changed bit anywhere in what was acknowledged.
  const [segment] = place.segments as [string];
  const bytes = readFileSync(segment);
  const changed = Buffer.from(bytes);
  changed[3000] = (changed[3000] as number) ^ 4;
  writeFileSync(segment, changed);
  assert.match(await refusal(place, keyed), /a frame that is not what was written \(.*\.wal at byte \d+\)/);
  assert.match(
    (await utl('doctor', place.member, ...keyed)).text,
    /\.wal, byte \d+.*a frame that is not what was written/s,
  );
  writeFileSync(segment, bytes);

  server = await place.start(['--encryption-key-command', `cat ${place.keys}`]);
  assert.equal(await count(server), 60);
  await server.dispose();
});

test('keys are exchanged under load, the old one goes, and everything can be made plain', LONG, async () => {
  const place = await Place.make();
  let server = await place.start([]);
  await put(server, 1, 10);
  await server.kill();
  assert.notDeepEqual(place.holding(SECRET), [], 'what was written before is plain');
  server = await place.start();
  const load = put(server, 11, 300);
  await place.addKey('two');
  process.kill(server.pid, 'SIGHUP');
  await eventually(WAIT_MS, 'the new key is taken', () =>
    server.logs.some((line) => line.includes('took over keys')) ? true : null,
  );
  await load;
  await put(server, 301, 310);
  await server.kill();
  const keyed = ['--encryption-key-file', place.keys];
  const before = (await utl('encryption', 'status', place.member, ...keyed)).text;
  assert.match(before, /^plain: .*0\.wal$/m);
  assert.match(before, /^encrypted with "two": .*\.wal$/m);

  const rotated = await utl('encryption', 'rotate', place.member, place.archive, ...keyed);
  assert.equal(rotated.exit, 0, rotated.text);
  assert.deepEqual(place.holding(SECRET.slice(0, 12)), []);
  const after = (await utl('encryption', 'status', place.member, place.archive, ...keyed)).text;
  assert.match(
    after,
    /^key "one": 0 files; nothing here needs it\nkey "two": \d+ files; it writes\nplain: 0 files\n$/m,
  );
  writeFileSync(place.keys, `${readFileSync(place.keys, 'utf8').split('\n')[1]}\n`);
  const verified = await utl('archive', 'verify', '--archive-dir', place.archive, ...keyed);
  assert.equal(verified.exit, 0, verified.text);
  server = await place.start();
  assert.equal(await count(server), 310);
  await server.stop();

  const plain = await utl('encryption', 'decrypt', place.member, place.archive, ...keyed);
  assert.equal(plain.exit, 0, plain.text);
  server = await place.start([]);
  assert.equal(await count(server), 310);
  await server.dispose();
  assert.equal((await utl('archive', 'verify', '--archive-dir', place.archive)).exit, 0);
});
