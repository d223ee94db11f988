/**
 * Hidden classes, asked of V8 itself: objects on hot paths must all have the same one, or every place that touches them
 * becomes slower for all.
 */
import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';

type Question = (a: unknown, b: unknown) => boolean;

let sameMap: Question | null = null;
let fastProperties: Question | null = null;

function ask(): void {
  setFlagsFromString('--allow-natives-syntax');
  sameMap = new Function('a', 'b', 'return %HaveSameMap(a, b)') as Question;
  fastProperties = new Function('a', 'return %HasFastProperties(a)') as Question;
}

/** All of them have one hidden class, with properties in fixed places. */
export function assertSameShape(...objects: readonly object[]): void {
  if (sameMap === null) ask();
  const first = objects[0];
  assert.ok(first !== undefined, 'objects to compare');
  for (const object of objects) {
    assert.ok((fastProperties as Question)(object, null), `${object.constructor.name} has become a dictionary`);
    assert.ok((sameMap as Question)(first, object), `${object.constructor.name} objects differ in shape`);
  }
}
