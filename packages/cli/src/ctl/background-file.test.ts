// Goal: what is added to a file in pieces of any size is in it, in order, once it is finished, and a disk that refuses it is
// heard of.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { forSeeds } from '@etsd/testkit';
import { BackgroundFile } from './background-file.ts';

test('all that was added is in the file', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'background-file-'));
  const path = join(directory, 'file');
  try {
    await forSeeds(5, async (prng) => {
      const pieces = Array.from({ length: prng.between(0, 60) }, (_, i) =>
        Buffer.alloc(prng.chance(0.1) ? prng.below(5_000_000) : prng.below(40_000), i),
      );
      const file = await BackgroundFile.create(path);
      // What is added may change afterwards.
      for (const piece of pieces) {
        const memory = Buffer.from(piece);
        await file.add(memory);
        memory.fill(0xee);
      }
      await file.finish();
      await file.close();
      assert.ok(readFileSync(path).equals(Buffer.concat(pieces)));
      assert.equal(statSync(path).mode & 0o777, 0o600);
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a disk that is full is heard of', { skip: !existsSync('/dev/full') && 'no /dev/full' }, async () => {
  const adding = await BackgroundFile.create('/dev/full');
  await assert.rejects(async () => {
    for (let i = 0; i < 50; i++) await adding.add(Buffer.alloc(1024 * 1024));
  }, /ENOSPC/);
  await adding.close();
  const finishing = await BackgroundFile.create('/dev/full');
  await finishing.add(Buffer.alloc(10));
  await assert.rejects(finishing.finish(), /ENOSPC/);
  await finishing.close();
});
