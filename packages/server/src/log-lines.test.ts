import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LineLogger } from './log-lines.ts';

function capture(format: 'json' | 'console'): { lines: string[]; logger: LineLogger } {
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line), wallMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 678) };
  return { lines, logger: new LineLogger(sink, 'info', format, () => 'a/b.ts') };
}

describe('log lines', () => {
  it('are JSON with the fields and order that tools expect', () => {
    const { lines, logger } = capture('json');
    logger.log('info', 'ready to serve client requests', { count: 1, error: new Error('why') });
    logger.log('warn', 'plain');
    assert.deepEqual(lines, [
      '{"level":"info","ts":"2026-01-02T03:04:05.678000Z","caller":"a/b.ts","msg":"ready to serve client requests","count":1,"error":"why"}\n',
      '{"level":"warn","ts":"2026-01-02T03:04:05.678000Z","caller":"a/b.ts","msg":"plain"}\n',
    ]);
  });

  it('below the level are dropped', () => {
    const { lines, logger } = capture('json');
    logger.log('debug', 'no');
    assert.deepEqual(lines, []);
    assert.equal(logger.enabled('debug'), false);
  });

  it('survive a field that cannot be shown', () => {
    const { lines, logger } = capture('json');
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    logger.log('error', 'odd', circle);
    assert.match(lines[0] as string, /"msg":"odd","unprintable"/);
  });

  it('for people are separated by tabs', () => {
    const { lines, logger } = capture('console');
    logger.log('info', 'hello', { a: 1 });
    assert.deepEqual(lines, ['2026-01-02T03:04:05.678000Z\tinfo\ta/b.ts\thello\t{"a":1}\n']);
  });
});
