import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flagHelp, parseOptions } from './options.ts';

test("goal: flags of etcd's benchmark tool are understood", () => {
  const options = parseOptions([
    '--endpoints=a:1,b:2',
    '--conns=3',
    '--clients',
    '7',
    '--total=100',
    '--key-size=16',
    '--val-size=32',
    '--key-space-size=1000',
    '--sequential-keys',
    '--rate=50',
    '--consistency=s',
    'from',
    'to',
  ]);
  assert.deepEqual(options.endpoints, ['a:1', 'b:2']);
  assert.equal(options.conns, 3);
  assert.equal(options.clients, 7);
  assert.equal(options.keySpaceSize, 1000);
  assert.equal(options.sequentialKeys, true);
  assert.equal(options.rate, 50);
  assert.deepEqual(options.words, ['from', 'to']);
});

test('goal: there are never more connections than clients', () => {
  assert.equal(parseOptions(['--conns=10', '--clients=4']).conns, 4);
  assert.equal(parseOptions(['--clients=5']).conns, 5);
});

test('goal: mistakes are named', () => {
  assert.throws(() => parseOptions(['--clients=many']), /--clients wants a number/);
  assert.throws(() => parseOptions(['--rate=-1']), /--rate wants a number/);
  assert.throws(() => parseOptions(['--consistency=x']), /--consistency must be/);
  assert.throws(() => parseOptions(['--transport=x']), /--transport must be/);
  assert.throws(() => parseOptions(['--unknown=1']), /unknown/);
  assert.match(flagHelp(), /--key-space-size/);
});
