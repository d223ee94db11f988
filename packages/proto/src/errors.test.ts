import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  allCatalogueErrors,
  catalogueError,
  ErrCompacted,
  ErrNoSpace,
  EtcdError,
  GrpcCode,
  unknownError,
} from './errors.ts';

test('goal: a client finds the constant by the text that came over the wire', () => {
  assert.equal(catalogueError('etcdserver: mvcc: required revision has been compacted'), ErrCompacted);
  assert.equal(ErrCompacted.code, GrpcCode.OutOfRange);
  assert.equal(ErrNoSpace.code, 8);
  assert.equal(catalogueError('something else'), undefined);
});

test('goal: no two errors share a text, and each has a code other than OK', () => {
  const all = allCatalogueErrors();
  assert.ok(all.length >= 70);
  for (const error of all) {
    assert.ok(error instanceof EtcdError);
    assert.equal(catalogueError(error.message), error, error.message);
    assert.ok(error.code > 0 && error.code <= 16, error.message);
  }
});

test('goal: errors outside the catalogue are Unknown with their own text', () => {
  const error = unknownError('disk on fire');
  assert.equal(error.code, GrpcCode.Unknown);
  assert.equal(error.message, 'disk on fire');
});
