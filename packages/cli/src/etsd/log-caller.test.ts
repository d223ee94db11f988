import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineLogger } from '@etsd/server';
import { logCaller } from './log-caller.ts';

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
