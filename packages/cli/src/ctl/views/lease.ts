/**
 * Leases. In JSON they are the structs of etcd's Go client, into which the header is folded; in protobuf that folding
 * leaves nothing but the header.
 */
import { type U64, U64_ZERO, u64ToDecimal } from '@etsd/base';
import {
  type LeaseGrantResponse,
  type LeaseKeepAliveResponse,
  type LeaseLeasesResponse,
  LeaseRevokeResponse,
  type LeaseTimeToLiveResponse,
  ResponseHeader,
} from '@etsd/proto';
import { ExitCode, Failure } from '../failure.ts';
import { quote } from '../go.ts';
import { jsonArray, jsonMessage, jsonObject, jsonText, members } from '../go-json.ts';
import type { Style, View } from '../view.ts';
import { field, header, leaseHex, leaseNumber } from './fields.ts';

function folded(of: ResponseHeader | null, more: Record<string, string>): string {
  return jsonObject({ ...members(ResponseHeader.typeName, of ?? ResponseHeader.create()), ...more });
}

function headerBytes(of: ResponseHeader | null): Buffer {
  return ResponseHeader.encode(of ?? ResponseHeader.create());
}

export function grantView(response: LeaseGrantResponse): View {
  const { header: head, ID, TTL, error } = response;
  return {
    simple: () => `lease ${leaseHex(ID)} granted with TTL(${TTL}s)\n`,
    json: () => folded(head, { ID: leaseNumber(ID), TTL: String(TTL), Error: jsonText(error) }),
    fields: () => header(head) + field('ID', leaseNumber(ID)) + field('TTL', TTL),
    protobuf: () => headerBytes(head),
  };
}

export function revokeView(response: LeaseRevokeResponse, id: U64): View {
  return {
    simple: () => `lease ${leaseHex(id)} revoked\n`,
    json: () => jsonMessage(LeaseRevokeResponse, response),
    fields: () => header(response.header),
    // An oversight of etcdctl's, kept since scripts see the exit code.
    protobuf: () => {
      const { clusterId = U64_ZERO, memberId = U64_ZERO, revision = 0, raftTerm = 0 } = response.header ?? {};
      const ids = `cluster_id:${u64ToDecimal(clusterId)} member_id:${u64ToDecimal(memberId)}`;
      const shown = `({${ids} revision:${revision} raft_term:${raftTerm} {} [] 0})`;
      throw new Failure(ExitCode.BAD_FEATURE, `marshal unsupported for type clientv3.LeaseRevokeResponse ${shown}`);
    },
  };
}

export function keepAliveView(response: LeaseKeepAliveResponse): View {
  const { header: head, ID, TTL } = response;
  return {
    simple: () => `lease ${leaseHex(ID)} keepalived with TTL(${TTL})\n`,
    json: () => folded(head, { ID: leaseNumber(ID), TTL: String(TTL) }),
    fields: () => header(head) + field('ID', leaseNumber(ID)) + field('TTL', TTL),
    protobuf: () => headerBytes(head),
  };
}

export function timeToLiveView(response: LeaseTimeToLiveResponse, keys: boolean, style: Style): View {
  const { header: head, ID, TTL, grantedTTL } = response;
  return {
    simpleIsBytes: true,
    simple: () => {
      if (grantedTTL === 0 && TTL === -1) return `lease ${leaseHex(ID)} already expired\n`;
      const attached = response.keys.map((key) => key.toString('latin1')).join(' ');
      const more = keys ? `, attached keys([${attached}])` : '';
      return `lease ${leaseHex(ID)} granted with TTL(${grantedTTL}s), remaining(${TTL}s)${more}\n`;
    },
    json: () =>
      folded(head, {
        id: leaseNumber(ID),
        ttl: String(TTL),
        'granted-ttl': String(grantedTTL),
        keys:
          response.keys.length === 0 ? 'null' : jsonArray(response.keys.map((key) => `"${key.toString('base64')}"`)),
      }),
    fields: () =>
      header(head) +
      field('ID', leaseNumber(ID)) +
      field('TTL', TTL) +
      field('GrantedTTL', grantedTTL) +
      response.keys.map((key) => field('Key', quote(style.hex ? Buffer.from(key.toString('hex')) : key))).join(''),
    protobuf: () => headerBytes(head),
  };
}

export function leasesView(response: LeaseLeasesResponse): View {
  const ids = response.leases.map((lease) => lease.ID);
  return {
    simple: () => `found ${ids.length} leases\n${ids.map((id) => `${leaseHex(id)}\n`).join('')}`,
    json: () => folded(response.header, { leases: jsonArray(ids.map((id) => `{"id":${leaseNumber(id)}}`)) }),
    fields: () => header(response.header) + ids.map((id) => field('ID', leaseNumber(id))).join(''),
    protobuf: () => headerBytes(response.header),
  };
}
