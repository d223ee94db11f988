import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonToWire } from './json-to-wire.ts';
import { planOf } from './plan.ts';
import { COMPACT, Cursor, JsonFields, SPACED, wireToJson } from './wire-to-json.ts';

const range = planOf('etcdserverpb.RangeRequest');
const txn = planOf('etcdserverpb.TxnRequest');

/** The message that the input stands for, as output; or what is wrong with it. */
function read(text: string | Buffer, plan = range): string {
  try {
    return wireToJson(plan, jsonToWire(plan, Buffer.from(text)), SPACED);
  } catch (error) {
    return (error as Error).message;
  }
}

test('goal: input in all forms: spellings, numbers or text, both alphabets of base64, names or numbers, null', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['', '{}'],
    [' \n\t\r ', '{}'],
    ['{}', '{}'],
    ['{ } trailing', '{}'],
    ['{"key":"Zm9v"}{"key":"YQ=="}', '{"key":"Zm9v"}'],
    ['{"range_end":"Zg=="}', '{"range_end":"Zg=="}'],
    ['{"rangeEnd":"Zg"}', '{"range_end":"Zg=="}'],
    ['{"key":"_-8="}', '{"key":"/+8="}'],
    ['{"key":"_-8"}', '{"key":"/+8="}'],
    ['{"key":"Z\\nm9v"}', '{"key":"Zm9v"}'],
    ['{"key":"Zm\\r\\n9v\\n\\n"}', '{"key":"Zm9v"}'],
    ['{"\\u006bey":"\\u005am9v"}', '{"key":"Zm9v"}'],
    ['{"limit":5}', '{"limit":"5"}'],
    ['{"limit":"5"}', '{"limit":"5"}'],
    ['{"limit":1e2}', '{"limit":"100"}'],
    ['{"limit":"1.50e1"}', '{"limit":"15"}'],
    ['{"limit":500e-2}', '{"limit":"5"}'],
    ['{"limit":-0}', '{}'],
    ['{"limit":0.0}', '{}'],
    ['{"limit":"-9223372036854775808"}', '{"limit":"-9223372036854775808"}'],
    ['{"limit":9223372036854775807}', '{"limit":"9223372036854775807"}'],
    ['{"limit":9007199254740993}', '{"limit":"9007199254740993"}'],
    ['{"sort_order":"DESCEND","sortTarget":2}', '{"sort_order":"DESCEND", "sort_target":"CREATE"}'],
    ['{"sort_order":7}', '{"sort_order":7}'],
    ['{"sort_order":-7}', '{"sort_order":-7}'],
    ['{"sort_order":"SIDEWAYS"}', '{}'],
    ['{"serializable":true,"limit":null,"key":null}', '{"serializable":true}'],
    ['{"unknown":[{"a":[]},"b",1e9,null,true,{}],"key":"Zm9v"}', '{"key":"Zm9v"}'],
    ['{"__proto__":{"key":"YQ=="},"constructor":{"prototype":{}},"key":"Zm9v"}', '{"key":"Zm9v"}'],
    ['{"toString":1,"hasOwnProperty":2}', '{}'],
  ];
  for (const [text, wanted] of rows) {
    assert.equal(read(text), wanted, text);
  }
  assert.equal(Object.getPrototypeOf({}), Object.prototype);
});

test('goal: the words for what is wrong are those of etcd; method: answers seen on a wire', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['bad', "invalid character 'b' looking for beginning of value"],
    ['{"key"', 'unexpected EOF'],
    ['{"key":"Zm9v"', 'unexpected EOF'],
    ['{"key" "Zm9v"}', "invalid character '\"' after object key"],
    ['{"key":"Zm9v" "a"}', "invalid character '\"' after object key:value pair"],
    ['{key:1}', "invalid character 'k' looking for beginning of object key string"],
    ['{"key":"Zm9v",}', "invalid character '}' looking for beginning of object key string"],
    ['{"a":[1 2]}', "invalid character '2' after array element"],
    ['{"a":[1,]}', "invalid character ']' looking for beginning of value"],
    ['{"a":"\u0001"}', "invalid character '\\x01' in string literal"],
    ['{"a":"\n"}', "invalid character '\\n' in string literal"],
    ['{"a":"\\x"}', "invalid character 'x' in string escape code"],
    ['{"a":"\\u12g4"}', "invalid character 'g' in \\u hexadecimal character escape"],
    ['{"a":-x}', "invalid character 'x' in numeric literal"],
    ['{"a":1.x}', "invalid character 'x' after decimal point in numeric literal"],
    ['{"a":1ex}', "invalid character 'x' in exponent of numeric literal"],
    ['{"a":01}', "invalid character '1' after object key:value pair"],
    ['{"a":trux}', "invalid character 'x' in literal true (expecting 'e')"],
    ['{"a":é}', "invalid character 'Ã' looking for beginning of value"],
    ['{"a":}', "invalid character '}' looking for beginning of value"],
    ['{"x":[1,}', "invalid character '}' looking for beginning of value"],
    ['5', 'proto:\u00a0syntax error (line 1:1): unexpected token 5'],
    ['null', 'proto:\u00a0syntax error (line 1:1): unexpected token null'],
    ['[]', 'proto:\u00a0syntax error (line 1:1): unexpected token ['],
    ['"a"', 'proto:\u00a0syntax error (line 1:1): unexpected token "a"'],
    ['{"key":"!!!"}', 'proto:\u00a0(line 1:8): invalid value for bytes field key: "!!!"'],
    ['{\n "key":\n  5}', 'proto:\u00a0(line 3:3): invalid value for bytes field key: 5'],
    ['  \n{"key":5}', 'proto:\u00a0(line 1:8): invalid value for bytes field key: 5'],
    ['{"é":1,"key":5}', 'proto:\u00a0(line 1:14): invalid value for bytes field key: 5'],
    ['{"range_end":{}}', 'proto:\u00a0(line 1:14): invalid value for bytes field rangeEnd: {'],
    ['{"limit":true}', 'proto:\u00a0(line 1:10): invalid value for int64 field limit: true'],
    ['{"limit":"5 "}', 'proto:\u00a0(line 1:10): invalid value for int64 field limit: "5 "'],
    ['{"limit":1.5}', 'proto:\u00a0(line 1:10): invalid value for int64 field limit: 1.5'],
    ['{"limit":"01"}', 'proto:\u00a0(line 1:10): invalid value for int64 field limit: "01"'],
    [
      '{"limit":"9223372036854775808"}',
      'proto:\u00a0(line 1:10): invalid value for int64 field limit: "9223372036854775808"',
    ],
    ['{"serializable":"true"}', 'proto:\u00a0(line 1:17): invalid value for bool field serializable: "true"'],
    ['{"sort_order":true}', 'proto:\u00a0(line 1:15): invalid value for enum field sortOrder: true'],
    ['{"sort_order":1.5}', 'proto:\u00a0(line 1:15): invalid value for enum field sortOrder: 1.5'],
    ['{"key":"Zm9v","key":"Zm9v"}', 'proto:\u00a0(line 1:15): duplicate field "key"'],
    ['{"rangeEnd":"","range_end":""}', 'proto:\u00a0(line 1:16): duplicate field "range_end"'],
    ['{"x":"\\ud800"}', 'proto:\u00a0unexpected EOF'],
  ];
  for (const [text, wanted] of rows) assert.equal(read(text), wanted, text);
  assert.equal(
    read(Buffer.from('{"x":"\xff"}', 'latin1')),
    'proto:\u00a0syntax error (line 1:6): invalid UTF-8 in string',
  );
  const twice = '{"compare":[{"version":"1","createRevision":"0"}]}';
  const wanted =
    'proto:\u00a0(line 1:28): error parsing "createRevision", oneof etcdserverpb.Compare.target_union is already set';
  assert.equal(read(twice, txn), wanted);
  assert.equal(read('{"compare":{}}', txn), 'proto:\u00a0syntax error (line 1:12): unexpected token {');
  assert.equal(read('{"compare":[5]}', txn), 'proto:\u00a0syntax error (line 1:13): unexpected token 5');
});

test('goal: nothing nested too deep is followed', () => {
  const nested = (depth: number): string => `${'{"success":[{"request_txn":'.repeat(depth)}{}${'}]}'.repeat(depth)}`;
  assert.match(read(nested(10), txn), /^\{"success"/);
  assert.equal(read(nested(2000), txn), 'proto:\u00a0exceeded max recursion depth');
  assert.equal(read(`{"x":${'['.repeat(20_000)}`), 'exceeded max depth');
});

test('goal: no text makes much work of little', () => {
  for (const text of ['{"x":[1,2,3]}', '{"a":1,"b":2}', '{"key":"","range_end":""}']) {
    const read = (valuesMax: number): Buffer => jsonToWire(range, Buffer.from(text), valuesMax);
    assert.throws(() => read(3), /too many values/);
    assert.doesNotThrow(() => read(8));
  }
  assert.equal(read(`{"x":[${'1,'.repeat(200_000)}1]}`), 'too many values');
  assert.equal(read(`{"compare":[${'{},'.repeat(200_000)}{}]}`, txn), 'too many values');
});

test('goal: a member of a oneof is written though it be zero, anything else is not; fields go by number', () => {
  const bytes = jsonToWire(
    txn,
    Buffer.from('{"compare":[{"key":"YQ==","mod_revision":0,"target":"MOD","result":"EQUAL"}]}'),
  );
  assert.equal(bytes.toString('hex'), '0a0710021a01613000');
  assert.equal(wireToJson(txn, bytes, SPACED), '{"compare":[{"target":"MOD", "key":"YQ==", "mod_revision":"0"}]}');
});

test('goal: texts of a stream can stand in a page, those of single answers are as they are', () => {
  const plan = planOf('etcdserverpb.StatusResponse');
  const bytes = jsonToWire(plan, Buffer.from('{"errors":["<a> & \\u2028\\u0001","é"]}'));
  assert.equal(wireToJson(plan, bytes, SPACED), '{"errors":["<a> & \u2028\\u0001", "é"]}');
  assert.equal(wireToJson(plan, bytes, COMPACT), '{"errors":["\\u003ca\\u003e \\u0026 \\u2028\\u0001","é"]}');
});

test('goal: a message can be turned into JSON field by field', () => {
  const plan = planOf('etcdserverpb.RangeResponse');
  const text = '{"header":{"revision":"7"}, "kvs":[{"key":"YQ=="}, {"key":"Yg=="}], "more":true, "count":"2"}';
  const bytes = jsonToWire(plan, Buffer.from(text));
  const fields = new JsonFields(plan, SPACED);
  const cursor = new Cursor(bytes, 0, bytes.length);
  let out = '{';
  while (cursor.at < bytes.length) out += fields.field(cursor);
  assert.equal(`${out}${fields.close()}}`, text);
});
