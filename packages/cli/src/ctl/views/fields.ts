/** `"Name" : value` lines. */
import { type U64, U64_ZERO, u64IsNegative, u64ToDecimal, u64ToSignedDecimal } from '@etsd/base';
import type { KeyValue, ResponseHeader } from '@etsd/proto';
import { quote } from '../go.ts';

export function field(name: string, value: string | number | boolean): string {
  return `"${name}" : ${value}\n`;
}

export function textField(name: string, text: string): string {
  return field(name, quote(Buffer.from(text)));
}

export function header(of: ResponseHeader | null): string {
  return (
    field('ClusterID', u64ToDecimal(of?.clusterId ?? U64_ZERO)) +
    field('MemberID', u64ToDecimal(of?.memberId ?? U64_ZERO)) +
    field('Revision', of?.revision ?? 0) +
    field('RaftTerm', of?.raftTerm ?? 0)
  );
}

/** A record, each name with this in front. */
export function record(prefix: string, kv: KeyValue): string {
  return (
    field(`${prefix}Key`, quote(kv.key)) +
    field(`${prefix}CreateRevision`, kv.createRevision) +
    field(`${prefix}ModRevision`, kv.modRevision) +
    field(`${prefix}Version`, kv.version) +
    field(`${prefix}Value`, quote(kv.value)) +
    field(`${prefix}Lease`, leaseNumber(kv.lease))
  );
}

export function leaseNumber(id: U64): string {
  return u64ToSignedDecimal(id);
}

/** `%016x` of a signed number: 16 characters, the sign among them. */
export function leaseHex(id: U64): string {
  if (!u64IsNegative(id)) return id;
  return `-${BigInt.asUintN(64, -BigInt(`0x${id}`))
    .toString(16)
    .padStart(15, '0')}`;
}
