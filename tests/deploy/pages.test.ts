/** Goal: pages for operators name flags that exist, and advise values that etsd takes. Method: etsd's own parser. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findOption } from '../../packages/server/src/config/options.ts';
import { ROOT } from '../support/binaries.ts';
import { settingsOf } from './settings.ts';

const page = (name: string): string => readFileSync(join(ROOT, 'docs', name), 'utf8');

/** Flags of the first column of the tables in a section. */
function flagsOf(text: string, section: string): string[] {
  const from = text.indexOf(`\n${section}\n`);
  assert.ok(from >= 0, section);
  const end = text.indexOf('\n## ', from + section.length);
  const rows = text.slice(from, end < 0 ? undefined : end).match(/^\| .*$/gm) ?? [];
  return rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`--([a-z0-9-]+)`/g)].map(([, name]) => name as string),
  );
}

test('flags that are advised exist', () => {
  const flags = [...flagsOf(page('operations.md'), '## Tuning'), ...flagsOf(page('kubernetes.md'), '### Settings')];
  assert.ok(flags.length > 20, `${flags.length} flags`);
  for (const flag of flags) assert.notEqual(findOption(flag), undefined, `--${flag}`);
});

test('values that are advised are taken, together', () => {
  const config = settingsOf([
    ...['--heartbeat-interval=500', '--election-timeout=5000', '--snapshot-count=100000'],
    ...['--max-request-bytes=33554432', '--max-concurrent-streams=10000', '--quota-backend-bytes=8589934592'],
    ...['--auto-compaction-mode=revision', '--auto-compaction-retention=10000', '--max-txn-ops=1024'],
    ...['--watch-progress-notify-interval=5s', '--auto-promote-learners', '--grpc-keepalive-min-time=1s'],
    ...['--wal-dir=/log', '--listen-metrics-urls=http://127.0.0.1:2381'],
  ]);
  assert.equal(config.electionTimeoutMs, 10 * config.heartbeatIntervalMs);
});
