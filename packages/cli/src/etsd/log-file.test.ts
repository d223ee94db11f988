import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { LogFile } from './log-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'etsd-log-file-'));
after(() => rmSync(folder, { recursive: true }));

const ROTATION = { bytesMax: 100, daysMax: 0, backupsMax: 0, localTime: false, compress: false };
const START = Date.UTC(2026, 10, 21, 23, 36, 37, 4);

// Goal: no line is lost or cut by a rotation, files are named by their time, and a short log is left alone.
test('a file that grows too long is put aside, whole lines in each', async () => {
  const path = join(folder, 'whole', 'a.log');
  assert.throws(() => new LogFile(path, ROTATION), /--log-outputs .*a\.log cannot be opened/);
  const file = new LogFile(join(folder, 'a.log'), ROTATION, () => START);
  const lines = Array.from({ length: 9 }, (_, at) => `line ${at} ${'x'.repeat(30)}\n`);
  for (const line of lines) file.write(line);
  file.close();
  await file.settled();
  const names = readdirSync(folder)
    .filter((name) => name.startsWith('a'))
    .sort();
  const [first, , , last] = names;
  assert.equal(names.length, 5);
  assert.equal(first, 'a-2026-11-21T23-36-37.004.log');
  assert.equal(last, 'a-2026-11-21T23-36-37.007.log');
  const whole = names.map((name) => readFileSync(join(folder, name), 'utf8')).join('');
  assert.equal(whole, lines.join(''));
});

test('old files are compressed and removed by number and age; files of others stay', async () => {
  let now = START;
  const rotation = { ...ROTATION, backupsMax: 2, daysMax: 3, compress: true };
  const path = join(folder, 'b.log');
  writeFileSync(path, `of before ${'y'.repeat(90)}\n`);
  writeFileSync(join(folder, 'b-2026-11-15T00-00-00.000.log'), 'old\n');
  writeFileSync(join(folder, 'b-notes.log'), 'not ours\n');
  const file = new LogFile(path, rotation, () => now);
  const names = (): string[] =>
    readdirSync(folder)
      .filter((name) => name.startsWith('b'))
      .sort();
  file.write('first\n');
  await file.settled();
  assert.deepEqual(names(), ['b-2026-11-21T23-36-37.004.log.gz', 'b-notes.log', 'b.log']);
  assert.match(gunzipSync(readFileSync(join(folder, names()[0] as string))).toString(), /^of before y+\n$/);
  for (let round = 0; round < 3; round++) {
    now += 1000;
    file.write(`${'z'.repeat(99)}\n`);
    await file.settled();
  }
  assert.deepEqual(names(), [
    'b-2026-11-21T23-36-39.004.log.gz',
    'b-2026-11-21T23-36-40.004.log.gz',
    'b-notes.log',
    'b.log',
  ]);
  now += 5 * 24 * 60 * 60_000;
  file.write(`${'z'.repeat(99)}\n`);
  await file.settled();
  assert.deepEqual(names(), ['b-2026-11-26T23-36-40.004.log.gz', 'b-notes.log', 'b.log']);
  file.close();
});
