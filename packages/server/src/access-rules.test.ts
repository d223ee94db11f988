import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METHODS } from '@etsd/proto';
import { ACCESS_RULES } from './access-rules.ts';

// Goal: a method can not be added without saying who may call it, and no rule outlives its method.
test('every method of the schema has a rule, and every rule a method', () => {
  const paths = METHODS.map(({ path }) => path);
  assert.deepEqual(Object.keys(ACCESS_RULES).sort(), [...paths].sort());
});

// Goal: what needs no credentials is a short list that nobody extends by accident.
test('only logging in and asking for health is open to everybody', () => {
  const open = Object.entries(ACCESS_RULES).flatMap(([path, right]) => (right === 'open' ? [path] : []));
  assert.deepEqual(open.sort(), [
    '/etcdserverpb.Auth/Authenticate',
    '/grpc.health.v1.Health/Check',
    '/grpc.health.v1.Health/Watch',
  ]);
});
