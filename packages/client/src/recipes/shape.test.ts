/** Goal: what a shape lets pass has its type, and what it does not is named, all of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { anyText, oneOf, optional, parsed, shape, wholeNumber, yesNo } from './shape.ts';

const parse = shape({
  level: oneOf('debug', 'info'),
  workers: wholeNumber(1, 64),
  isOpen: optional(yesNo(), false),
  title: optional(anyText(), null),
  limits: optional(
    parsed((value) => {
      if (!Array.isArray(value)) throw new TypeError('is no list');
      return value as unknown[];
    }),
    [],
  ),
});

test('settings become what their fields make of them', () => {
  const config: { level: 'debug' | 'info'; workers: number; isOpen: boolean; title: string | null } = parse({
    level: 'debug',
    workers: '64',
    isOpen: 'true',
    title: '',
    limits: '[1, 2]',
    unknown: 'does not count',
  });
  assert.deepEqual(config, { level: 'debug', workers: 64, isOpen: true, title: '', limits: [1, 2] });
  assert.deepEqual(parse({ level: 'info', workers: '1' }), {
    level: 'info',
    workers: 1,
    isOpen: false,
    title: null,
    limits: [],
  });
});

test('everything that is wrong is named at once', () => {
  for (const workers of ['0', '65', '1.5', '', ' ', 'many', '1e400']) {
    assert.throws(
      () => parse({ level: 'info', workers }),
      /^TypeError: workers is ".*", not a whole number from 1 to 64$/,
    );
  }
  assert.throws(
    () => parse({ workers: 'x', isOpen: 'yes', limits: '{}' }),
    /^TypeError: level is not set; workers is "x", .*; isOpen is "yes", not one of true, false; limits is no list$/,
  );
  // A name that every object has is no setting.
  assert.throws(() => shape({ toString: anyText() })({}), /toString is not set/);
});
