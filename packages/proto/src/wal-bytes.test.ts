import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { crc32c } from '@etsd/base';
import {
  ConfChange,
  Entry,
  EntryType,
  HardState,
  InternalRaftRequest,
  Message,
  MessageType,
  RaftSnapshot,
  V2Request,
  WalMetadata,
  WalRecord,
  WalSnapshot,
} from './gen/index.ts';

/** The beginning of a log file that etcd 3.5 wrote. */
function sample(): Buffer {
  const text = readFileSync(join(import.meta.dirname, 'testdata', 'wal-3.5.hex'), 'utf8');
  return Buffer.from(text.replace(/\s/g, ''), 'hex');
}

/** The records of a log file, each without its frame. */
function records(file: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let at = 0;
  while (at + 8 <= file.length) {
    const length = file.readUIntLE(at, 6);
    const padding = file[at + 7]! & 7;
    if (length === 0 || at + 8 + length + padding > file.length) break;
    found.push(file.subarray(at + 8, at + 8 + length));
    at += 8 + length + padding;
  }
  return found;
}

function sameBytes(ours: Buffer, theirs: Buffer, what: string): void {
  assert.equal(ours.toString('hex'), theirs.toString('hex'), what);
}

test('goal: log records are written byte for byte as etcd 3.5 does; method: decode and encode a real log file', () => {
  const found = records(sample());
  assert.ok(found.length >= 15);
  let crc = 0;
  const kinds: number[] = [];
  const v2Methods: string[] = [];
  const puts: string[] = [];
  for (const bytes of found) {
    const record = WalRecord.decode(bytes);
    sameBytes(WalRecord.encode(record), bytes, 'record');
    crc = crc32c(record.data, 0, record.data.length, crc);
    assert.equal(record.crc, crc);
    kinds.push(record.type);
    if (record.type === 1) sameBytes(WalMetadata.encode(WalMetadata.decode(record.data)), record.data, 'metadata');
    if (record.type === 3) sameBytes(HardState.encode(HardState.decode(record.data)), record.data, 'hard state');
    if (record.type === 5) sameBytes(WalSnapshot.encode(WalSnapshot.decode(record.data)), record.data, 'snapshot');
    if (record.type !== 2) continue;
    const entry = Entry.decode(record.data);
    sameBytes(Entry.encode(entry), record.data, 'entry');
    if (entry.type === EntryType.EntryConfChange) {
      sameBytes(ConfChange.encode(ConfChange.decode(entry.data)), entry.data, 'configuration change');
    } else if (entry.data.length > 0 && entry.data[0] === 0x08) {
      const request = V2Request.decode(entry.data);
      v2Methods.push(`${request.method} ${request.path}`);
      sameBytes(V2Request.encode(request), entry.data, 'v2 request');
    } else if (entry.data.length > 0) {
      const request = InternalRaftRequest.decode(entry.data);
      if (request.put !== null) puts.push(`${request.put.key} ${request.put.value}`);
      sameBytes(InternalRaftRequest.encode(request), entry.data, 'request');
    }
  }
  assert.deepEqual(kinds.slice(0, 5), [4, 1, 5, 2, 3]);
  assert.deepEqual(v2Methods, ['PUT /0/members/f7875276d5273a18/attributes', 'PUT /0/version']);
  assert.deepEqual(puts.slice(0, 3), ['foo bar', 'foo bar2', 'foo bar3']);
});

test('goal: ids of the metadata record are exact', () => {
  const metadata = WalMetadata.decode(WalRecord.decode(records(sample())[1]!).data);
  assert.equal(metadata.nodeId, 'f7875276d5273a18');
  assert.equal(metadata.clusterId, 'dcb73ccb4154c224');
});

test('goal: peer messages are those of etcd 3.5; method: heartbeats seen on a wire', () => {
  const link = '08081000180020002800300040004a0a12080a0228001000180050005800';
  sameBytes(Message.encode(Message.create({ type: MessageType.MsgHeartbeat })), Buffer.from(link, 'hex'), 'link');
  const heartbeat = Buffer.from(
    '080810befeffb78796a0e81b18f39e8bafafc28cca02200228003000401e4a0a12080a0228001000180050005800',
    'hex',
  );
  const message = Message.decode(heartbeat);
  assert.equal(message.to, u64('2004243329578958654'));
  assert.equal(message.term, 2);
  assert.equal(message.commit, 30);
  assert.equal(message.snapshot, null);
  sameBytes(Message.encode(message), heartbeat, 'heartbeat');
});

test('goal: the form of 3.7, without zeros and without the placeholder snapshot, is read as well', () => {
  const message = Message.decode(Buffer.from('08084a00', 'hex'));
  assert.deepEqual(message, Message.create({ type: MessageType.MsgHeartbeat }));
  const other = Message.decode(Buffer.from('08084a021200', 'hex'));
  assert.equal(other.snapshot, null);
  assert.equal(RaftSnapshot.isEmpty(RaftSnapshot.decode(Buffer.alloc(0))), true);
});

function u64(decimal: string): string {
  return BigInt(decimal).toString(16).padStart(16, '0');
}
