/** Random messages there and back, and hostile texts: SEED and ROUNDS choose. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { messageToJson } from '../json.ts';
import { METHODS } from '../methods.ts';
import { randomMessage } from '../testing/schema.ts';
import { JsonScanner, ScanStep } from './json-scanner.ts';
import { jsonToWire } from './json-to-wire.ts';
import { JsonError } from './json-tokens.ts';
import { planOf } from './plan.ts';
import { COMPACT, SPACED, wireToJson } from './wire-to-json.ts';

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const ROUNDS = Number(process.env['ROUNDS'] ?? 40);
const classes = [...new Set(METHODS.flatMap(({ request, response }) => [request, response]))];

test('goal: JSON and wire say the same; method: random messages there and back, beside the mapping over objects', (t) => {
  t.diagnostic(`SEED=${seed} ROUNDS=${ROUNDS}`);
  const random = new Prng(seed);
  for (const each of classes) {
    const plan = planOf(each.typeName);
    for (let round = 0; round < ROUNDS; round++) {
      const message = randomMessage(each, random);
      const bytes = each.encode(message);
      const spaced = wireToJson(plan, bytes, SPACED);
      const compact = wireToJson(plan, bytes, COMPACT);
      const context = `${each.typeName} ${bytes.toString('hex')} SEED=${seed}`;
      assert.deepEqual(JSON.parse(spaced), messageToJson(each, message), context);
      assert.deepEqual(JSON.parse(compact), JSON.parse(spaced), context);
      assert.equal(jsonToWire(plan, Buffer.from(spaced)).toString('hex'), bytes.toString('hex'), context);
      assert.equal(jsonToWire(plan, Buffer.from(compact)).toString('hex'), bytes.toString('hex'), context);
    }
  }
});

const SHARDS = ['{', '}', '[', ']', ':', ',', '"', '\\', '\\u00', 'null', 'true', '-', '1e', '0', '\n', ' ', '"key":'];

/** A text that is nearly, or not at all, JSON of the message. */
function hostile(text: string, random: Prng): Buffer {
  let out = text;
  for (let changes = random.between(1, 4); changes > 0; changes--) {
    const at = random.below(out.length + 1);
    const kept = random.chance(0.5) ? at : Math.min(out.length, at + random.below(6));
    out = out.slice(0, at) + (random.chance(0.7) ? random.pick(SHARDS) : '') + out.slice(kept);
  }
  const bytes = Buffer.from(out);
  if (random.chance(0.1) && bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256);
  return bytes;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test('goal: hostile texts are refused or read, never more; method: the grammar beside the platform’s', (t) => {
  t.diagnostic(`SEED=${seed} ROUNDS=${ROUNDS}`);
  const random = new Prng(seed);
  let refused = 0;
  for (const each of classes) {
    const plan = planOf(each.typeName);
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = hostile(wireToJson(plan, each.encode(randomMessage(each, random)), SPACED), random);
      const context = `${each.typeName} ${JSON.stringify(bytes.toString('latin1'))} SEED=${seed}`;
      const scanner = new JsonScanner();
      const end = scanner.scan(bytes, 0, bytes.length);
      const isComplete = scanner.outcome === ScanStep.END || scanner.outcome === ScanStep.END_BEFORE;
      if (isComplete || (scanner.outcome === ScanStep.CONTINUE && scanner.isCompleteAtEnd)) {
        assert.ok(isJson(bytes.toString('utf8', 0, end)), context);
      } else assert.ok(!isJson(bytes.toString('utf8')), context);
      try {
        each.decode(jsonToWire(plan, bytes));
      } catch (error) {
        assert.ok(error instanceof JsonError, `${context}: ${error}`);
        refused++;
      }
    }
  }
  assert.ok(refused > classes.length, 'the texts were not hostile enough');
});
