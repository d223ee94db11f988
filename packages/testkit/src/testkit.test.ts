/** Goal: the helpers of tests can fail. Method: each is given something wrong. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Prng } from '@etsd/base';
import {
  assertSameShape,
  type Command,
  findPeerProgram,
  forSeeds,
  freePort,
  matchSnapshot,
  mutate,
  needsPeer,
  parseTranscript,
  runTranscript,
} from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'etsd-testkit-'));
after(() => rmSync(root, { recursive: true, force: true }));

const TRANSCRIPT = `# adds numbers
add a=1 b=(2, 3) loud
and
this
----
sum 6

echo
----
----
one

two
----
----

silent
----
`;

function answer(command: Command): string {
  if (command.name === 'silent') return '';
  if (command.name === 'echo') return 'one\n\ntwo\n';
  assert.equal(command.input, 'and\nthis');
  assert.ok(command.has('loud'));
  return `sum ${command.list('b').reduce((sum, text) => sum + Number(text), command.number('a'))}`;
}

async function withRewrite(work: () => void | Promise<void>): Promise<void> {
  process.env['REWRITE'] = '1';
  try {
    await work();
  } finally {
    delete process.env['REWRITE'];
  }
}

test('a transcript passes where it is right, fails where it is wrong, and can be rewritten', async () => {
  const path = join(root, 'transcript.txt');
  writeFileSync(path, TRANSCRIPT);
  await runTranscript(path, answer);
  writeFileSync(path, TRANSCRIPT.replace('sum 6', 'sum 7'));
  await assert.rejects(runTranscript(path, answer), /transcript.txt:2: add/);
  await withRewrite(() => runTranscript(path, answer));
  assert.equal(readFileSync(path, 'utf8'), TRANSCRIPT);
});

test('a transcript with a command that has no output mark is refused', () => {
  assert.throws(() => parseTranscript('put a\n', 'here'), /here:1: no ---- follows/);
});

test('arguments that are missing or no numbers are named', () => {
  const [only] = parseTranscript('x n=abc\n----\n', 'here');
  const command = only?.command as Command;
  assert.throws(() => command.number('n'), /n=abc is no number/);
  assert.throws(() => command.text('m'), /needs one value for m/);
  assert.equal(command.number('m', 5), 5);
});

test('a snapshot is compared, and missing ones are not made in passing', async () => {
  const path = join(root, 'deeper', 'snapshot.txt');
  assert.throws(() => matchSnapshot(path, 'text'), /is missing/);
  await withRewrite(() => matchSnapshot(path, 'text'));
  matchSnapshot(path, 'text');
  assert.throws(() => matchSnapshot(path, 'other'), /differs/);
});

test('a failing seed is named', async () => {
  await assert.rejects(
    forSeeds(10, (_prng, seed) => assert.notEqual(seed, 7)),
    /^Error: seed 7 \(FUZZ_SEED=7/,
  );
});

test('mutation leaves the input alone, follows from the seed and changes nearly always something', () => {
  const input = Buffer.from('0123456789abcdef0123456789abcdef');
  let changed = 0;
  for (let seed = 0; seed < 200; seed++) {
    const output = mutate(new Prng(seed), input);
    assert.deepEqual(output, mutate(new Prng(seed), input));
    if (!output.equals(input)) changed++;
  }
  assert.equal(input.toString(), '0123456789abcdef0123456789abcdef');
  assert.ok(changed > 150, `${changed} of 200`);
});

test('shapes: equal ones pass, different ones do not', () => {
  class Point {
    x = 1;
    y = 2;
  }
  assertSameShape(new Point(), new Point());
  const other = Object.assign(new Point(), { z: 3 });
  assert.throws(() => assertSameShape(new Point(), other), /differ in shape/);
});

// Goal: no two tests get the same. Of so many drawn at random some would be the same, nearly for certain.
test('no port is given twice, nor one that outgoing connections take', async () => {
  const ports = new Set<number>();
  // One after the other: those that are looked at together are in each other's way.
  for (let count = 0; count < 600; count++) ports.add(await freePort());
  assert.equal(ports.size, 600);
  assert.ok([...ports].every((port) => port >= 10_000 && port < 30_000));
});

test('a program of etcd: first where the variable says, then in PATH; what is missing is named', () => {
  const { PEER_ETCD_BIN, PATH } = process.env;
  const [given, onPath] = ['given', 'path'].map((name) => mkdtempSync(join(root, name))) as [string, string];
  for (const path of [join(given, 'etcd'), join(onPath, 'etcd'), join(onPath, 'etcdctl')]) writeFileSync(path, '');
  try {
    Object.assign(process.env, { PEER_ETCD_BIN: given, PATH: onPath });
    assert.deepEqual(['etcd', 'etcdctl'].map(findPeerProgram), [join(given, 'etcd'), join(onPath, 'etcdctl')]);
    assert.equal(needsPeer('etcd', 'etcdctl'), false);
    assert.equal(findPeerProgram('etcdutl'), null);
    assert.equal(needsPeer('etcd', 'etcdutl'), 'real etcdutl not found in PEER_ETCD_BIN or PATH');
  } finally {
    for (const [name, value] of Object.entries({ PEER_ETCD_BIN, PATH })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});
