import { type U64, u64FromHex, u64ToHex } from '@etsd/base';
import {
  EtcdError,
  MemberAddRequest,
  MemberAddResponse,
  MemberRemoveRequest,
  MemberRemoveResponse,
  MemberUpdateRequest,
  MemberUpdateResponse,
} from '@etsd/proto';
import { goString, goStrings } from '@etsd/state';
import type { MemberContext } from '../../context.ts';
import { type Caller, call } from '../api/local-call.ts';
import { JSON_TYPE } from './errors.ts';
import type { V2Question } from './v2-api.ts';

/** Of a request that names a member's addresses. */
const BODY_BYTES_MAX = 64 * 1024;

const ADD = { path: '/etcdserverpb.Cluster/MemberAdd', request: MemberAddRequest, response: MemberAddResponse };
const REMOVE = {
  path: '/etcdserverpb.Cluster/MemberRemove',
  request: MemberRemoveRequest,
  response: MemberRemoveResponse,
};
const UPDATE = {
  path: '/etcdserverpb.Cluster/MemberUpdate',
  request: MemberUpdateRequest,
  response: MemberUpdateResponse,
};

interface Shown {
  readonly id: U64;
  readonly name: string;
  readonly peerURLs: readonly string[];
  readonly clientURLs: readonly string[];
}

/** A refusal in the words of etcd 2. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** `/v2/members` and `/v2/machines`: the methods of `Cluster`, as etcd 2 had them. */
export class V2Members {
  private readonly context: MemberContext;
  private readonly clusterHeader: readonly string[];

  constructor(context: MemberContext) {
    this.context = context;
    this.clusterHeader = ['X-Etcd-Cluster-Id', u64ToHex(context.clusterId)];
  }

  /** Where clients are served, as a line. */
  machines({ exchange, headers }: V2Question): void {
    const urls = this.context.state.members.list().flatMap(({ clientURLs }) => clientURLs);
    exchange.respond(200, [...headers, 'Content-Type', 'text/plain; charset=utf-8'], urls.sort().join(', '));
  }

  serve(question: V2Question): void {
    const { exchange } = question;
    const headers = [...question.headers, ...this.clusterHeader];
    const rest = question.path.slice('/v2/members'.length).replace(/^\//, '');
    if (exchange.method === 'GET') {
      this.list(question, headers, rest);
      return;
    }
    if (exchange.method !== 'POST' && rest === '') {
      exchange.respond(405, [...headers, ...TEXT], 'Method Not Allowed\n');
      return;
    }
    exchange.readBody(BODY_BYTES_MAX, (body) => {
      this.change(question, headers, rest, body).catch((error: unknown) => {
        const { status, message } = refusalOf(error);
        exchange.respond(status, [...headers, ...JSON_TYPE], `{"message":${goString(message)}}`);
      });
    });
  }

  private list({ exchange }: V2Question, headers: readonly string[], rest: string): void {
    const { members } = this.context.state;
    const { leader } = this.context.replication;
    const answer = (json: string): void => exchange.respond(200, [...headers, ...JSON_TYPE], `${json}\n`);
    if (rest === '') {
      answer(`{"members":[${members.list().map(memberJson).join(',')}]}`);
      return;
    }
    const found = rest === 'leader' ? members.get(leader) : undefined;
    if (found !== undefined) answer(memberJson(found));
    else {
      const [status, message] = rest === 'leader' ? [503, 'During election'] : [404, 'Not found'];
      exchange.respond(status, [...headers, ...JSON_TYPE], `{"message":"${message}"}`);
    }
  }

  private async change(
    { exchange, caller }: V2Question,
    headers: readonly string[],
    rest: string,
    body: Buffer | null,
  ): Promise<void> {
    if (exchange.method === 'POST') {
      const peerURLs = peerUrlsOf(exchange.header('content-type') ?? '', body);
      const { member } = await call(caller, ADD, MemberAddRequest.create({ peerURLs }));
      const { ID: id, name, clientURLs, peerURLs: added } = member ?? { ...NOBODY, peerURLs };
      const json = memberJson({ id, name, peerURLs: added, clientURLs });
      exchange.respond(201, [...headers, ...JSON_TYPE], `${json}\n`);
      return;
    }
    const id = u64FromHex(rest);
    if (id === undefined) throw new Refusal(404, `No such member: ${rest}`);
    await this.changeOne(exchange.method, caller, id, rest, () =>
      peerUrlsOf(exchange.header('content-type') ?? '', body),
    );
    exchange.respond(204, headers, '');
  }

  private async changeOne(
    method: string,
    caller: Caller,
    id: U64,
    shown: string,
    peerUrls: () => string[],
  ): Promise<void> {
    const { members } = this.context.state;
    const peerURLs = method === 'PUT' ? peerUrls() : [];
    if (members.isRemoved(id)) throw new Refusal(410, `Member permanently removed: ${shown}`);
    if (members.get(id) === undefined) throw new Refusal(404, `No such member: ${shown}`);
    if (method === 'DELETE') await call(caller, REMOVE, MemberRemoveRequest.create({ ID: id }));
    else await call(caller, UPDATE, MemberUpdateRequest.create({ ID: id, peerURLs }));
  }
}

const NOBODY = { ID: '0000000000000000', name: '', clientURLs: [] };
const TEXT = ['Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff'] as const;

function memberJson({ id, name, peerURLs, clientURLs }: Shown): string {
  return `{"id":"${u64ToHex(id)}","name":${goString(name)},"peerURLs":${goStrings(peerURLs)},"clientURLs":${goStrings(clientURLs)}}`;
}

function peerUrlsOf(contentType: string, body: Buffer | null): string[] {
  if ((contentType.split(';')[0] ?? '').trim() !== 'application/json') {
    throw new Refusal(415, `Bad Content-Type ${contentType}, accept application/json`);
  }
  if (body === null) throw new Refusal(400, `the body is longer than ${BODY_BYTES_MAX} bytes`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    throw new Refusal(400, 'the body is no JSON');
  }
  const urls = (parsed as { peerURLs?: unknown } | null)?.peerURLs;
  if (!Array.isArray(urls) || urls.length === 0 || !urls.every((url) => typeof url === 'string')) {
    throw new Refusal(400, 'no valid URLs given');
  }
  const wrong = (urls as string[]).find((url) => !/^(?:https?|unixs?):\/\//.test(url));
  if (wrong !== undefined) throw new Refusal(400, `URL scheme must be http, https, unix, or unixs: ${wrong}`);
  return urls as string[];
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (!(error instanceof EtcdError)) return new Refusal(500, 'Internal Server Error');
  const { message } = error;
  if (/Peer URLs already exists|ID already exist/.test(message)) return new Refusal(409, 'membership: peerURL exists');
  if (/not found/.test(message)) return new Refusal(404, message);
  if (/unhealthy|not enough started/.test(message)) return new Refusal(500, 'Internal Server Error');
  return new Refusal(/permission|user name|auth/.test(message) ? 401 : 500, message);
}
