// Writing and reading a file of many small records: time a record, and memory.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeWorld } from '@etsd/runtime/node';
import { BoltFile } from './reader.ts';
import { BoltWriter } from './writer.ts';

const RECORDS = Number(process.argv[2] ?? 500_000);
const directory = mkdtempSync(join(tmpdir(), 'boltfile-bench-'));
const { disk, workers } = nodeWorld();
const path = join(directory, 'file.db');

function report(what: string, startMs: number, cpu: NodeJS.CpuUsage): void {
  const wall = performance.now() - startMs;
  const used = process.cpuUsage(cpu);
  const perRecord = (used.user + used.system) / RECORDS;
  const rss = Math.round(process.memoryUsage.rss() / 1024 / 1024);
  console.log(`${what}: ${wall.toFixed(0)} ms, ${perRecord.toFixed(2)} µs of processor a record, ${rss} MB resident`);
}

try {
  const value = Buffer.alloc(293, 7);
  const key = Buffer.alloc(17, 0x5f);
  let start = performance.now();
  let cpu = process.cpuUsage();
  const writer = await BoltWriter.create(disk, path);
  writer.beginBucket('key');
  for (let i = 0; i < RECORDS; i++) {
    key.writeUInt32BE(i, 4);
    writer.add(key, value);
    if (writer.isBacklogged) await writer.drain();
  }
  writer.endBucket();
  const size = await writer.finish(false);
  report(`written ${RECORDS} records, ${Math.round(size / 1024 / 1024)} MB`, start, cpu);

  start = performance.now();
  cpu = process.cpuUsage();
  const file = await BoltFile.open(disk, path);
  const bucket = await file.bucket('key');
  if (bucket === null) throw new Error('the bucket is gone');
  const cursor = file.leaves(bucket);
  let bytes = 0;
  for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
    for (let index = 0; index < leaf.count; index++) bytes += leaf.key(index).length + leaf.value(index).length;
  }
  await file.close();
  report(`read ${Math.round(bytes / 1024 / 1024)} MB`, start, cpu);
} finally {
  await workers.close();
  rmSync(directory, { recursive: true });
}
