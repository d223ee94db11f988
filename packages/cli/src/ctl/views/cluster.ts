import { type U64, u64ToDecimal, u64ToHex } from '@etsd/base';
import {
  AlarmResponse,
  AlarmType,
  HashKVResponse,
  type Member,
  MemberAddResponse,
  MemberListResponse,
  MemberPromoteResponse,
  MemberRemoveResponse,
  MemberUpdateResponse,
  MoveLeaderResponse,
  type ResponseHeader,
  StatusResponse,
} from '@etsd/proto';
import { formatDuration, formatSize } from '../go.ts';
import { jsonArray, jsonMessage, jsonObject, jsonText, members } from '../go-json.ts';
import type { Style, View } from '../view.ts';
import { field, header, textField } from './fields.ts';

// ── members ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const MEMBER_HEADINGS = ['ID', 'STATUS', 'NAME', 'PEER ADDRS', 'CLIENT ADDRS', 'IS LEARNER'];

function memberRow(member: Member): string[] {
  return [
    u64ToHex(member.ID),
    member.name === '' ? 'unstarted' : 'started',
    member.name,
    member.peerURLs.join(','),
    member.clientURLs.join(','),
    String(member.isLearner),
  ];
}

export function memberListView(response: MemberListResponse, style: Style): View {
  const rows = response.members.map(memberRow);
  return {
    simple: () => rows.map((row) => `${row.join(', ')}\n`).join(''),
    table: () => ({ headings: MEMBER_HEADINGS, rows }),
    json: () => {
      if (!style.hex) return jsonMessage(MemberListResponse, response);
      return style.compat === '3.6' ? hexResponse(response) : hexMembers(response);
    },
    fields: () => header(response.header) + response.members.map(memberFields).join(''),
    protobuf: () => MemberListResponse.encode(response),
  };
}

function memberFields(member: Member): string {
  return (
    field('ID', u64ToDecimal(member.ID)) +
    textField('Name', member.name) +
    member.peerURLs.map((url) => textField('PeerURL', url)).join('') +
    member.clientURLs.map((url) => textField('ClientURL', url)).join('') +
    `${field('IsLearner', member.isLearner)}\n`
  );
}

/** With the misspelt name that etcdctl 3.5 has there, which scripts may look for. */
function hexMembers({ header: head, members: list }: MemberListResponse): string {
  const texts = (urls: string[]): string => jsonArray(urls.map(jsonText));
  return jsonObject({
    header: jsonObject({
      cluster_id: `"${u64ToHex(head?.clusterId ?? '')}"`,
      member_id: `"${u64ToHex(head?.memberId ?? '')}"`,
      raft_term: String(head?.raftTerm ?? 0),
    }),
    members: jsonArray(
      list.map((member) =>
        jsonObject({
          ID: `"${u64ToHex(member.ID)}"`,
          name: jsonText(member.name),
          peerURLs: texts(member.peerURLs),
          clientURLS: texts(member.clientURLs),
        }),
      ),
    ),
  });
}

interface MembersResponse {
  readonly header: ResponseHeader | null;
  readonly member?: Member | null;
  readonly members: readonly Member[];
}

/** Since 3.6: any answer about members, its ids in hexadecimal and everything else as without `--hex`. */
function hexResponse({ header: head, member, members: list }: MembersResponse): string {
  const hexMember = (each: Member): string =>
    jsonObject({ ...members('etcdserverpb.Member', each), ID: `"${u64ToHex(each.ID)}"` });
  return jsonObject({
    header: jsonObject({
      cluster_id: `"${u64ToHex(head?.clusterId ?? '')}"`,
      member_id: `"${u64ToHex(head?.memberId ?? '')}"`,
      raft_term: String(head?.raftTerm ?? 0),
    }),
    member: member === undefined || member === null ? null : hexMember(member),
    members: jsonArray(list.map(hexMember)),
  });
}

/** An id to the right of 16 columns. */
function wide(id: U64): string {
  return u64ToHex(id).padStart(16);
}

function clusterOf(head: ResponseHeader | null): string {
  return wide(head?.clusterId ?? '0');
}

export function memberAddView(response: MemberAddResponse, newName: string, style: Style): View {
  const { header: head, member } = response;
  return {
    simple: () => {
      const id = member?.ID ?? '';
      const as = style.compat === '3.6' && member?.isLearner === true ? ' as learner' : '';
      const entries: string[] = [];
      for (const each of response.members) {
        const name = each.ID === id ? newName : each.name;
        for (const url of each.peerURLs) entries.push(`${name}=${url}`);
      }
      return (
        `Member ${wide(id)} added${as} to cluster ${clusterOf(head)}\n\n` +
        `ETCD_NAME="${newName}"\n` +
        `ETCD_INITIAL_CLUSTER="${entries.join(',')}"\n` +
        `ETCD_INITIAL_ADVERTISE_PEER_URLS="${(member?.peerURLs ?? []).join(',')}"\n` +
        'ETCD_INITIAL_CLUSTER_STATE="existing"\n'
      );
    },
    json: () => (usesHex(style) ? hexResponse(response) : jsonMessage(MemberAddResponse, response)),
    protobuf: () => MemberAddResponse.encode(response),
  };
}

/** Up to 3.5 only the list of members heeds `--hex`. */
function usesHex(style: Style): boolean {
  return style.hex && style.compat === '3.6';
}

export function memberRemoveView(response: MemberRemoveResponse, id: U64, style: Style): View {
  return {
    simple: () => `Member ${wide(id)} removed from cluster ${clusterOf(response.header)}\n`,
    json: () => (usesHex(style) ? hexResponse(response) : jsonMessage(MemberRemoveResponse, response)),
    protobuf: () => MemberRemoveResponse.encode(response),
  };
}

export function memberUpdateView(response: MemberUpdateResponse, id: U64, style: Style): View {
  return {
    simple: () => `Member ${wide(id)} updated in cluster ${clusterOf(response.header)}\n`,
    json: () => (usesHex(style) ? hexResponse(response) : jsonMessage(MemberUpdateResponse, response)),
    protobuf: () => MemberUpdateResponse.encode(response),
  };
}

export function memberPromoteView(response: MemberPromoteResponse, id: U64): View {
  return {
    simple: () => `Member ${wide(id)} promoted in cluster ${clusterOf(response.header)}\n`,
    json: () => jsonMessage(MemberPromoteResponse, response),
    protobuf: () => MemberPromoteResponse.encode(response),
  };
}

export function moveLeaderView(response: MoveLeaderResponse, from: U64, to: U64): View {
  return {
    simple: () => `Leadership transferred from ${u64ToHex(from)} to ${u64ToHex(to)}\n`,
    json: () => jsonMessage(MoveLeaderResponse, response),
    protobuf: () => MoveLeaderResponse.encode(response),
  };
}

// ── endpoints ───────────────────────────────────────────────────────────────────────────────────────────────────────

export interface Health {
  readonly endpoint: string;
  readonly tookMs: number;
  /** Empty for a healthy one. */
  readonly problem: string;
}

export function healthView(list: readonly Health[]): View {
  const took = (health: Health): string => formatDuration(health.tookMs);
  return {
    // Those that are not healthy are reported on the error output.
    simple: () =>
      list
        .filter((health) => health.problem === '')
        .map((health) => `${health.endpoint} is healthy: successfully committed proposal: took = ${took(health)}\n`)
        .join(''),
    table: () => ({
      headings: ['ENDPOINT', 'HEALTH', 'TOOK', 'ERROR'],
      rows: list.map((health) => [health.endpoint, String(health.problem === ''), took(health), health.problem]),
    }),
    json: () =>
      jsonArray(
        list.map((health) =>
          jsonObject({
            endpoint: jsonText(health.endpoint),
            health: String(health.problem === ''),
            took: jsonText(took(health)),
            error: health.problem === '' ? null : jsonText(health.problem),
          }),
        ),
      ),
    fields: () =>
      list
        .map(
          (health) =>
            textField('Endpoint', health.endpoint) +
            field('Health', health.problem === '') +
            field('Took', took(health)) +
            `${field('Error', health.problem)}\n`,
        )
        .join(''),
  };
}

export interface EndpointStatus {
  readonly endpoint: string;
  readonly status: StatusResponse;
}

const STATUS_HEADINGS = [
  'ENDPOINT',
  'ID',
  'VERSION',
  'DB SIZE',
  'IS LEADER',
  'IS LEARNER',
  'RAFT TERM',
  'RAFT INDEX',
  'RAFT APPLIED INDEX',
  'ERRORS',
];

function statusRow({ endpoint, status }: EndpointStatus): string[] {
  return [
    endpoint,
    u64ToHex(status.header?.memberId ?? ''),
    status.version,
    formatSize(status.dbSize),
    String(status.leader === status.header?.memberId),
    String(status.isLearner),
    String(status.raftTerm),
    String(status.raftIndex),
    String(status.raftAppliedIndex),
    status.errors.join(', '),
  ];
}

/** What 3.6 shows in a row. */
const STATUS_COLUMNS_36: readonly (readonly [string, (each: EndpointStatus) => string])[] = [
  ['ENDPOINT', ({ endpoint }) => endpoint],
  ['ID', ({ status }) => u64ToHex(status.header?.memberId ?? '')],
  ['VERSION', ({ status }) => status.version],
  ['STORAGE VERSION', ({ status }) => status.storageVersion],
  ['DB SIZE', ({ status }) => formatSize(status.dbSize)],
  ['IN USE', ({ status }) => formatSize(status.dbSizeInUse)],
  ['PERCENTAGE NOT IN USE', ({ status }) => `${unusedPercent(status)}%`],
  ['QUOTA', ({ status }) => formatSize(status.dbSizeQuota)],
  ['IS LEADER', ({ status }) => String(status.leader === status.header?.memberId)],
  ['IS LEARNER', ({ status }) => String(status.isLearner)],
  ['RAFT TERM', ({ status }) => String(status.raftTerm)],
  ['RAFT INDEX', ({ status }) => String(status.raftIndex)],
  ['RAFT APPLIED INDEX', ({ status }) => String(status.raftAppliedIndex)],
  ['ERRORS', ({ status }) => status.errors.join(', ')],
  ['DOWNGRADE TARGET VERSION', ({ status }) => status.downgradeInfo?.targetVersion ?? ''],
  ['DOWNGRADE ENABLED', ({ status }) => String(status.downgradeInfo?.enabled ?? false)],
];

/** As whole numbers are divided; a store in memory may have no size at all. */
function unusedPercent({ dbSize, dbSizeInUse }: StatusResponse): number {
  return dbSize === 0 ? 0 : 100 - Math.floor((dbSizeInUse * 100) / dbSize);
}

export function statusView(list: readonly EndpointStatus[], style: Style): View {
  const is36 = style.compat === '3.6';
  const rows = list.map((each) => (is36 ? STATUS_COLUMNS_36.map(([, cell]) => cell(each)) : statusRow(each)));
  const headings = is36 ? STATUS_COLUMNS_36.map(([heading]) => heading) : STATUS_HEADINGS;
  return {
    simple: () => rows.map((row) => `${row.join(', ')}\n`).join(''),
    table: () => ({ headings, rows }),
    json: () =>
      jsonArray(
        list.map(({ endpoint, status }) =>
          jsonObject({ Endpoint: jsonText(endpoint), Status: jsonMessage(StatusResponse, status) }),
        ),
      ),
    fields: () => list.map((each) => statusFields(each, is36)).join(''),
  };
}

function statusFields({ endpoint, status }: EndpointStatus, is36: boolean): string {
  const since36 = (text: string): string => (is36 ? text : '');
  return (
    header(status.header) +
    textField('Version', status.version) +
    since36(textField('StorageVersion', status.storageVersion)) +
    field('DBSize', status.dbSize) +
    since36(field('DBSizeInUse', status.dbSizeInUse) + field('DBSizeQuota', status.dbSizeQuota)) +
    field('Leader', u64ToDecimal(status.leader)) +
    field('IsLearner', status.isLearner) +
    field('RaftIndex', status.raftIndex) +
    field('RaftTerm', status.raftTerm) +
    field('RaftAppliedIndex', status.raftAppliedIndex) +
    field('Errors', `[${status.errors.map((each) => JSON.stringify(each)).join(' ')}]`) +
    textField('Endpoint', endpoint) +
    since36(
      textField('DowngradeTargetVersion', status.downgradeInfo?.targetVersion ?? '') +
        field('DowngradeEnabled', status.downgradeInfo?.enabled ?? false),
    ) +
    '\n'
  );
}

export interface EndpointHash {
  readonly endpoint: string;
  readonly hash: HashKVResponse;
}

export function hashView(list: readonly EndpointHash[], style: Style): View {
  const is36 = style.compat === '3.6';
  const rows = list.map(({ endpoint, hash }) => [
    endpoint,
    String(hash.hash),
    ...(is36 ? [String(hash.hashRevision)] : []),
  ]);
  const headings = ['ENDPOINT', 'HASH', ...(is36 ? ['HASH REVISION'] : [])];
  return {
    simple: () => rows.map((row) => `${row.join(', ')}\n`).join(''),
    table: () => ({ headings, rows }),
    json: () =>
      jsonArray(
        list.map(({ endpoint, hash }) =>
          jsonObject({ Endpoint: jsonText(endpoint), HashKV: jsonMessage(HashKVResponse, hash) }),
        ),
      ),
    fields: () =>
      list
        .map(
          ({ endpoint, hash }) =>
            `${header(hash.header) + textField('Endpoint', endpoint) + field('Hash', hash.hash)}${
              is36 ? field('HashRevision', hash.hashRevision) : ''
            }\n`,
        )
        .join(''),
  };
}

// ── alarms ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export function alarmName(alarm: number): string {
  return Object.entries(AlarmType).find(([, number]) => number === alarm)?.[0] ?? String(alarm);
}

export function alarmView(response: AlarmResponse): View {
  return {
    simple: () =>
      response.alarms
        .map(({ alarm, memberID }) => `memberID:${u64ToDecimal(memberID)} alarm:${alarmName(alarm)} \n`)
        .join(''),
    json: () => jsonMessage(AlarmResponse, response),
    fields: () =>
      header(response.header) +
      response.alarms
        .map(
          ({ alarm, memberID }) =>
            `${field('MemberID', u64ToDecimal(memberID))}${field('AlarmType', alarmName(alarm))}\n`,
        )
        .join(''),
    protobuf: () => AlarmResponse.encode(response),
  };
}
