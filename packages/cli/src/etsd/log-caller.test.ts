import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineLogger } from '@etsd/server';
import { logCaller, placeOf } from './log-caller.ts';

// Goal: a line leads to the source that wrote it, as etcd's do. Method: this file logs; the line names it and its line.
test('a line tells where in the source it was written', () => {
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line), wallMs: () => 0 };
  const logger = new LineLogger(sink, 'info', 'json', logCaller);
  logger.log('debug', 'not written');
  logger.log('info', 'here');
  logger.setLevel('warn');
  const callers = lines.map((line) => (JSON.parse(line) as { caller: string }).caller);
  assert.match(callers[0] ?? '', /^cli\/etsd\/log-caller\.test\.ts:12$/);
  assert.match(callers[1] ?? '', /^cli\/etsd\/log-caller\.test\.ts:13$/, "what the logger says itself is its caller's");
});

// Goal: the same wherever the program lies: beside its sources, built, installed, in a folder of such a name.
for (const [path, place] of [
  ['file:///home/me/etsd/packages/server/src/member.ts', 'server/member.ts'],
  ['file:///home/me/src/etsd/packages/server/src/duties/disk-space.ts', 'server/duties/disk-space.ts'],
  ['file:///home/me/etsd/dist/packages/server/src/member.js', 'server/member.js'],
  ['/usr/lib/node_modules/etsd/node_modules/@etsd/wal/src/wal.js', 'wal/wal.js'],
  ['node:internal/timers', 'etsd'],
] as const) {
  test(`the place of ${path}`, () => assert.equal(placeOf(path), place));
}
