/** `etcdserverpb.Cluster`: who the members are, and changing that. */
import { u64FromHalves } from '@etsd/base';
import {
  type ConfChange,
  ErrMemberBadURLs,
  ErrMemberNotFound,
  Member,
  MemberAddRequest,
  MemberAddResponse,
  MemberListRequest,
  MemberListResponse,
  MemberPromoteRequest,
  MemberPromoteResponse,
  MemberRemoveRequest,
  MemberRemoveResponse,
  MemberUpdateRequest,
  MemberUpdateResponse,
} from '@etsd/proto';
import { joiningMemberId } from '@etsd/replication';
import { addMemberChange, MemberRecord, type MembersResult, removeMemberChange, updateMemberChange } from '@etsd/state';
import type { MemberContext } from '../context.ts';
import { clusterHeader } from './headers.ts';
import type { Promotion } from './promotion.ts';
import type { Reconfiguration } from './reconfiguration.ts';
import { type Reply, registerUnary } from './unary.ts';

export interface ClusterParts {
  readonly context: MemberContext;
  readonly rules: Reconfiguration;
  readonly promotion: Promotion;
}

export function registerCluster(parts: ClusterParts): void {
  const service = new ClusterService(parts);
  const { context } = parts;
  const path = (method: string) => `/etcdserverpb.Cluster/${method}`;
  registerUnary(context, {
    path: path('MemberList'),
    isForOperators: true,
    decode: MemberListRequest.decode,
    run: (request, reply) => service.list(request, reply),
  });
  registerUnary(context, {
    path: path('MemberAdd'),
    decode: MemberAddRequest.decode,
    run: (request, reply) => service.add(request, reply),
  });
  registerUnary(context, {
    path: path('MemberRemove'),
    decode: MemberRemoveRequest.decode,
    run: (request, reply) => service.remove(request, reply),
  });
  registerUnary(context, {
    path: path('MemberUpdate'),
    decode: MemberUpdateRequest.decode,
    run: (request, reply) => service.update(request, reply),
  });
  registerUnary(context, {
    path: path('MemberPromote'),
    decode: MemberPromoteRequest.decode,
    run: (request, reply) => service.promote(request, reply),
  });
}

class ClusterService {
  private readonly parts: ClusterParts;
  private readonly context: MemberContext;

  constructor(parts: ClusterParts) {
    this.parts = parts;
    this.context = parts.context;
  }

  list(request: MemberListRequest, reply: Reply): void {
    const answer = () => {
      const header = clusterHeader(this.context);
      const members = this.context.state.members.list().map(toMessage);
      reply.answer(MemberListResponse.encode(MemberListResponse.create({ header, members })));
    };
    if (request.linearizable)
      this.context.replication.readBarrier({ done: answer, fail: (error) => reply.fail(error) });
    else answer();
  }

  add(request: MemberAddRequest, reply: Reply): void {
    const { world } = this.context;
    if (!arePeerUrls(request.peerURLs)) {
      reply.fail(ErrMemberBadURLs);
      return;
    }
    const refused = this.parts.rules.againstAdding(request.isLearner);
    if (refused !== null) {
      reply.fail(refused);
      return;
    }
    const urls = [...request.peerURLs].sort();
    const id = joiningMemberId(urls, world.clock.wallMs() / 1000);
    this.change(addMemberChange(new MemberRecord(id, urls, request.isLearner)), reply, (members) => {
      const member = members.find((each) => each.ID === id) ?? null;
      const header = clusterHeader(this.context);
      return MemberAddResponse.encode(MemberAddResponse.create({ header, member, members }));
    });
  }

  remove(request: MemberRemoveRequest, reply: Reply): void {
    const refused = this.parts.rules.againstRemoving(request.ID);
    if (refused !== null) {
      reply.fail(refused);
      return;
    }
    this.change(removeMemberChange(request.ID), reply, (members) =>
      MemberRemoveResponse.encode(MemberRemoveResponse.create({ header: clusterHeader(this.context), members })),
    );
  }

  update(request: MemberUpdateRequest, reply: Reply): void {
    const member = this.context.state.members.get(request.ID);
    if (member === undefined) {
      reply.fail(ErrMemberNotFound);
      return;
    }
    if (!arePeerUrls(request.peerURLs)) {
      reply.fail(ErrMemberBadURLs);
      return;
    }
    // The flag goes along, so that a learner stays one (etcd 3.5 forgets it in the list, though not in raft).
    const changed = new MemberRecord(member.id, request.peerURLs, member.isLearner);
    this.change(updateMemberChange(changed), reply, (members) =>
      MemberUpdateResponse.encode(MemberUpdateResponse.create({ header: clusterHeader(this.context), members })),
    );
  }

  promote(request: MemberPromoteRequest, reply: Reply): void {
    this.parts.promotion.promote(request.ID, {
      done: (members) => {
        const header = clusterHeader(this.context);
        const answer = MemberPromoteResponse.create({ header, members: members.map(toMessage) });
        reply.answer(MemberPromoteResponse.encode(answer));
      },
      fail: (error) => reply.fail(error),
    });
  }

  private change(change: ConfChange, reply: Reply, encode: (members: Member[]) => Buffer): void {
    const { replication } = this.context;
    const id = replication.nextRequestId();
    change.id = u64FromHalves(id.high, id.low);
    replication.proposeConfChange(change, {
      done: (result) => reply.answer(encode((result as MembersResult).members.map(toMessage))),
      fail: (error) => reply.fail(error),
    });
  }
}

function toMessage(member: MemberRecord): Member {
  const { id, name, peerURLs, clientURLs, isLearner } = member;
  return Member.create({ ID: id, name, peerURLs, clientURLs, isLearner });
}

const TCP_URL = /^https?:\/\/(?:\[[0-9a-fA-F:.%]+\]|[^\s/?#:@[\]]*):\d{1,5}$/;
const UNIX_URL = /^unixs?:\/\/[^\s?#]+$/;

/** Whether there are any and each is scheme, host and port, or a socket's path, and no more. */
function arePeerUrls(urls: readonly string[]): boolean {
  return urls.length > 0 && urls.every((url) => TCP_URL.test(url.trim()) || UNIX_URL.test(url.trim()));
}
