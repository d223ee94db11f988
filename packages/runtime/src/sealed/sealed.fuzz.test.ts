/**
 * Goal: key rings are read as meant or refused with the line and without a word of a key; encrypted files give back what was
 * written into them in any order, and of one that was changed never anything else. Method: a plain file as the model, random
 * writes, reads and syncs, and files changed at random.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError, OperatorError, Prng } from '@etsd/base';
import { forSeeds, mutate } from '@etsd/testkit';
import { MemoryDisk } from '../memory/index.ts';
import { nodeWorld } from '../node/index.ts';
import { KeyRing } from './key-ring.ts';
import { SealedDisk } from './sealed-disk.ts';
import { CHUNK_BYTES, openContent, sealContent, sealedStream } from './sealed-file.ts';
import { isSealed, MissingKeyError, readSealHead, SEAL_HEAD_BYTES, Sealing, SealKind } from './sealing.ts';

const HEX = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeef';
const { random, timers } = nodeWorld();

function ring(...lines: readonly string[]): KeyRing {
  return KeyRing.parse(Buffer.from(lines.join('\n')), 'keys.txt');
}

test('a key ring: names, digits in either form, comments, the newest last', () => {
  const base64 = Buffer.from(`${HEX}1`, 'hex').toString('base64');
  const keys = ring('# made by hand', '', `2025 ${HEX}0 # old`, `  2026-b.c_d\t${base64}\r`, '');
  assert.deepEqual(
    keys.keys.map(({ id }) => id),
    ['2025', '2026-b.c_d'],
  );
  assert.equal(keys.newest?.id, '2026-b.c_d');
  assert.equal(keys.newest.bytes.toString('hex'), `${HEX}1`);
  assert.equal(keys.find('2025')?.bytes.toString('hex'), `${HEX}0`);
  assert.notDeepEqual(keys.keys[0]?.fingerprint, keys.keys[1]?.fingerprint);
  assert.equal(KeyRing.empty.newest, null);
});

test('a malformed key ring is refused with the line, and without its keys', () => {
  const cases: readonly [lines: readonly string[], wanted: RegExp][] = [
    [[], /there is no key in it/],
    [['# nothing'], /there is no key in it/],
    [[`${HEX}0`], /line 1 does not begin with the name of a key/],
    [['a'], /line 1: behind the name of key "a" there are no 32 bytes/],
    [['a 1234'], /line 1: behind the name of key "a" there are no 32 bytes/],
    [[`a ${HEX}0 more`], /line 1: behind the name of key "a"/],
    [[`a ${HEX}g`], /line 1: behind the name of key "a"/],
    [[`ä ${HEX}0`], /line 1 does not begin with the name/],
    [[`${'a'.repeat(33)} ${HEX}0`], /line 1 does not begin with the name/],
    [[`a ${HEX}0`, '', `a ${HEX}1`], /line 3: there is a key "a" above/],
    [[`a ${HEX}0`, `b ${HEX}0`], /line 2: key "b" is the same as "a"/],
    [[`a ${'00'.repeat(32)}`], /line 1: key "a" is not random/],
    [['x'.repeat(70_000)], /70000 bytes are no key ring/],
  ];
  for (const [lines, wanted] of cases) {
    assert.throws(
      () => ring(...lines),
      (error) =>
        error instanceof OperatorError && wanted.test(error.message) && !error.message.includes(HEX.slice(0, 8)),
      lines.join('|').slice(0, 80),
    );
  }
});

test('any text is a key ring, or refused as none', async () => {
  const whole = Buffer.from(`a ${HEX}0\nb ${HEX}1\n# the end\n`);
  await forSeeds(2000, (prng) => {
    try {
      const { keys } = KeyRing.parse(mutate(prng, whole), 'keys.txt');
      assert.ok(keys.length > 0 && keys.every(({ bytes, id }) => bytes.length === 32 && id.length <= 32));
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error;
      assert.match(error.message, /^keys\.txt: /);
    }
  });
});

class Files {
  readonly disk = new MemoryDisk(timers);
  readonly sealed = new SealedDisk(this.disk, new Sealing(ring(`a ${HEX}0`), random));
}

test('a file that is written in any order reads as a plain one does', async () => {
  await forSeeds(40, async (prng, seed) => {
    const { disk, sealed } = new Files();
    const file = await sealed.open('/f', 'create', { sealed: true });
    let model = Buffer.alloc(0);
    const write = (bytes: Buffer, position: number): Promise<void> =>
      new Promise((resolve, reject) => {
        file.write(bytes, 0, bytes.length, position, (error) => (error === null ? resolve() : reject(error)));
      });
    const waits: Promise<void>[] = [];
    const rounds = prng.between(0, 12);
    for (let round = 0; round < rounds; round++) {
      const position = prng.chance(0.6) ? model.length : prng.below(model.length + (prng.chance(0.2) ? 90_000 : 1));
      const bytes = prng.bytes(
        prng.chance(0.3) ? prng.pick([0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES]) : prng.below(100_000),
      );
      const grown = Buffer.alloc(Math.max(model.length, position + bytes.length));
      model.copy(grown);
      bytes.copy(grown, position);
      model = grown;
      waits.push(write(bytes, position));
      if (prng.chance(0.3)) waits.push(new Promise<void>((resolve) => file.sync(() => resolve())));
    }
    await Promise.all(waits);
    assert.equal(await file.size(), model.length);
    await file.close();
    const raw = await disk.readFile('/f');
    assert.ok(isSealed(raw) && readSealHead(raw, '/f').kind === SealKind.file);
    if (model.length > 100) assert.equal(raw.includes(model.subarray(20, 60)), false);
    assert.ok((await sealed.readFile('/f')).equals(model), `seed ${seed}: ${model.length} bytes`);
    const again = await sealed.open('/f', 'read');
    for (let round = 0; round < 20; round++) {
      const position = prng.below(model.length + 10);
      const target = Buffer.alloc(prng.below(200_000));
      const count = await new Promise<number>((resolve, reject) => {
        again.read(target, 0, target.length, position, (error, bytes) =>
          error === null ? resolve(bytes) : reject(error),
        );
      });
      const wanted = model.subarray(position, position + target.length);
      assert.equal(count, wanted.length);
      assert.ok(target.subarray(0, count).equals(wanted));
    }
    await again.close();
  });
});

test('a stream comes out as such a file, also at the edges of chunks', async () => {
  const sealing = new Sealing(ring(`a ${HEX}0`), random);
  for (const length of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 300_000]) {
    const content = new Prng(length + 1).bytes(length);
    async function* pieces(): AsyncGenerator<Buffer> {
      for (let at = 0; at < length; at += 50_000) yield content.subarray(at, at + 50_000);
    }
    const sealed: Buffer[] = [];
    for await (const piece of sealedStream(pieces(), sealing)) sealed.push(piece);
    assert.ok((await openContent(Buffer.concat(sealed), '/f', sealing)).equals(content), `${length} bytes`);
  }
});

test('plain files pass, and nothing is encrypted that was not asked for', async () => {
  const { disk, sealed } = new Files();
  const content = Buffer.from('plain');
  await sealed.writeFileAtomic('/plain', content);
  assert.deepEqual(await disk.readFile('/plain'), content);
  assert.deepEqual(await sealed.readFile('/plain'), content);
  await sealed.writeFileAtomic('/sealed', content, { sealed: true });
  assert.equal((await disk.readFile('/sealed')).includes(content), false);
  assert.deepEqual(await sealed.readFile('/sealed'), content);
  const keyless = new SealedDisk(disk, new Sealing(KeyRing.empty, random));
  await keyless.writeFileAtomic('/other', content, { sealed: true });
  assert.deepEqual(await disk.readFile('/other'), content);
  await assert.rejects(keyless.readFile('/sealed'), (error) => error instanceof MissingKeyError && error.keyId === 'a');
  await assert.rejects(keyless.open('/sealed', 'read'), /\/sealed is encrypted with key "a".*no key is given/);
});

test('a changed file is refused with its place, or reads as it was', async () => {
  const sealing = new Sealing(ring(`a ${HEX}0`), random);
  const content = new Prng(5).bytes(2 * CHUNK_BYTES + 500);
  const sealed = await sealContent(content, sealing);
  const slot = CHUNK_BYTES + 28;
  const at = (index: number): number => SEAL_HEAD_BYTES + index * slot;
  const changes: readonly [what: string, bytes: Buffer][] = [
    ['cut behind a chunk', sealed.subarray(0, at(2))],
    ['cut in a chunk', sealed.subarray(0, sealed.length - 1)],
    ['cut to its head', sealed.subarray(0, SEAL_HEAD_BYTES)],
    ['one byte more', Buffer.concat([sealed, Buffer.alloc(1)])],
    [
      'a chunk twice',
      Buffer.concat([sealed.subarray(0, at(1)), sealed.subarray(at(0), at(1)), sealed.subarray(at(2))]),
    ],
    [
      'chunks of another file',
      Buffer.concat([sealed.subarray(0, at(1)), (await sealContent(content, sealing)).subarray(at(1))]),
    ],
  ];
  for (const [what, bytes] of changes) await assert.rejects(openContent(bytes, '/f', sealing), CorruptionError, what);
  await forSeeds(400, async (prng) => {
    const changed = mutate(prng, sealed);
    if (!isSealed(changed)) return;
    try {
      assert.ok((await openContent(changed, '/f', sealing)).equals(content));
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      assert.match(error.where, /^\/f at byte \d+$/);
    }
  });
});
