/**
 * Goal: what is read now and then, from clients, operators and archives, is read or refused in the reader's own words.
 * Method: good ones with a few things wrong.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError, type Prng } from '@etsd/base';
import { forSeeds, mutate } from '@etsd/testkit';
import { decodeManifest, encodeManifest, type Manifest, parseChainName } from './archive/manifest.ts';
import { V2Error } from './http/v2/errors.ts';
import { percentDecode, readForm } from './http/v2/form.ts';
import { readKeyRequest } from './http/v2/key-request.ts';
import { DerError, DerTag, derElement, derInteger, derTime, pemOf } from './tls/der.ts';
import { readRevocations } from './tls/revocations.ts';
import { markOf, parseTraceparent, SpanContext, withMark } from './tracing/span-context.ts';

/** What the reader gives, or null where it refused with an error of this kind. */
function attempt<T>(kind: new (...args: never[]) => Error, read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof kind)) throw error;
    return null;
  }
}

function text(prng: Prng, from: readonly string[]): string {
  return mutate(prng, Buffer.from(prng.pick(from), 'latin1')).toString('latin1');
}

test('requests to the API of etcd 2', async () => {
  let taken = 0;
  await forSeeds(3000, (prng) => {
    const type = prng.chance(0.8) ? 'application/x-www-form-urlencoded' : text(prng, ['a/b; c="d\\"e"; f=g', ';']);
    const fields = ['value=v&ttl=5&prevExist=false', 'dir=true', 'wait=true&waitIndex=18446744073709551615', 'a=%41+%'];
    const query = text(prng, ['?recursive=true&sorted=1', '?quorum=f&stream=true', '?prevIndex=7;x', '']);
    const method = prng.pick(['GET', 'PUT', 'POST', 'DELETE']);
    const form = readForm(method, query, type, mutate(prng, Buffer.from(prng.pick(fields))));
    const path = text(prng, ['/a/b', '/', '/%2e%2e/x', `/${'d/'.repeat(300)}`]);
    const decoded = /%(?![0-9a-fA-F]{2})/.test(path) ? path : percentDecode(path);
    if (attempt(V2Error, () => readKeyRequest(method, decoded, form, 1.7e12)) !== null) taken++;
  });
  assert.ok(taken > 500, `${taken} were taken`);
});

function revocations(prng: Prng): Buffer {
  const empty = derElement(DerTag.SEQUENCE);
  const entry = (): Buffer =>
    derElement(DerTag.SEQUENCE, derInteger(prng.bytes(prng.between(1, 20))), derTime(1.6e12), empty);
  const body = derElement(
    DerTag.SEQUENCE,
    ...(prng.chance(0.5) ? [derInteger(Buffer.from([1]))] : []),
    empty,
    empty,
    derTime(1.7e12),
    ...(prng.chance(0.7) ? [derTime(prng.pick([1.8e12, 3e12]))] : []),
    derElement(DerTag.SEQUENCE, ...Array.from({ length: prng.below(20) }, entry)),
  );
  return derElement(DerTag.SEQUENCE, body, empty, derElement(DerTag.BIT_STRING, Buffer.alloc(1)));
}

test('lists of revoked certificates', async () => {
  let read = 0;
  await forSeeds(2000, (prng) => {
    const list = revocations(prng);
    assert.ok(readRevocations(list).nextUpdateMs > 1.7e12);
    const damaged = mutate(prng, prng.chance(0.5) ? list : Buffer.from(pemOf('X509 CRL', list).repeat(2)));
    if (attempt(DerError, () => readRevocations(damaged)) !== null) read++;
  });
  assert.ok(read > 100, `${read} were read`);
});

const SAMPLE = { timeMs: 1.7e12, index: 7, term: 2, revision: 5 };
const COMMON = { serial: 3, bytes: 100, sha256: 'ab'.repeat(32), rawBytes: 16, timeMs: 1.7e12 };
const MANIFESTS: readonly Manifest[] = [
  { kind: 'base', name: '000000000000a1f0.db.zst', ...COMMON, at: SAMPLE, leaseTtlMinSeconds: 2 },
  {
    ...{ kind: 'piece', name: '03-a1.00-10.wal.zst', ...COMMON, sequence: 3, index: 0xa1, from: 0, to: 16 },
    ...{ isEnd: false, samples: [SAMPLE, SAMPLE] },
  },
];

test('manifests of archives, and the names of their directories', async () => {
  await forSeeds(2000, (prng) => {
    const manifest = prng.pick(MANIFESTS);
    const bytes = encodeManifest(manifest);
    assert.deepEqual(decodeManifest(bytes, 'm.json'), manifest);
    const read = attempt(CorruptionError, () => decodeManifest(mutate(prng, bytes), 'm.json'));
    if (read !== null) assert.doesNotMatch(read.name, /\/|^\./, 'no name leads out of its directory');
    const directory = text(prng, ['00000000000000ab-00000000000000cd', '00000000000000ab-00000000000000cd.12']);
    assert.ok((parseChainName(directory)?.generation ?? 1) >= 1);
  });
});

test('headers that name a trace, and the marks of entries', async () => {
  await forSeeds(2000, (prng) => {
    const parent = parseTraceparent(text(prng, ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01']));
    if (parent !== null) assert.deepEqual([parent.traceId.length, parent.spanId.length], [16, 8]);
    const entry = prng.bytes(prng.between(1, 60));
    const context = new SpanContext(prng.bytes(16), prng.bytes(8));
    assert.deepEqual(markOf(withMark(entry, context)), context);
    const found = markOf(mutate(prng, withMark(entry, context)));
    if (found !== null) assert.deepEqual([found.traceId.length, found.spanId.length], [16, 8]);
  });
});
