/** `etcdserverpb.Cluster`: who the members are, and changing that. */
import { u64FromHalves } from '@etsd/base';
import {
  type ConfChange,
  ErrLearnerNotReady,
  ErrMemberBadURLs,
  ErrMemberNotFound,
  ErrMemberNotLearner,
  EtcdError,
  GrpcCode,
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
  ErrMemberNotEnoughStarted as NotEnoughStarted,
  unknownError,
} from '@etsd/proto';
import { joiningMemberId } from '@etsd/replication';
import {
  addMemberChange,
  MemberRecord,
  type MembersResult,
  promoteMemberChange,
  removeMemberChange,
  updateMemberChange,
} from '@etsd/state';
import type { MemberContext } from '../context.ts';
import { clusterHeader } from './headers.ts';
import { type Reply, registerUnary } from './unary.ts';

export interface ClusterParts {
  readonly context: MemberContext;
  /**
   * Whether this member can reach others. Where it can not, a second voter is refused: the cluster would wait for that
   * one's vote for ever.
   */
  readonly hasPeers: boolean;
  /** Whether a learner has caught up with the leader, as far as this member knows. */
  readonly isCaughtUp: (id: string) => boolean;
}

const ErrNoPeers = new EtcdError(
  GrpcCode.Unimplemented,
  'etcdserver: a second voting member is not available in this version',
);

/** etcd 3.5 sends this one without its code. */
const ErrMemberNotEnoughStarted = unknownError(NotEnoughStarted.message);

export function registerCluster(parts: ClusterParts): void {
  const service = new ClusterService(parts);
  const { context } = parts;
  const path = (method: string) => `/etcdserverpb.Cluster/${method}`;
  registerUnary(context, {
    path: path('MemberList'),
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
    const { world, config } = this.context;
    if (!arePeerUrls(request.peerURLs)) {
      reply.fail(ErrMemberBadURLs);
      return;
    }
    if (!request.isLearner && config.strictReconfigCheck && !this.mayAddVoter()) {
      reply.fail(ErrMemberNotEnoughStarted);
      return;
    }
    const urls = [...request.peerURLs].sort();
    const id = joiningMemberId(urls, world.clock.wallMs() / 1000);
    // A taken URL is left to the check at apply, whose answer is the more useful one.
    if (!request.isLearner && !this.parts.hasPeers && !this.context.state.members.hasPeerUrl(urls)) {
      reply.fail(ErrNoPeers);
      return;
    }
    this.change(addMemberChange(new MemberRecord(id, urls, request.isLearner)), reply, (members) => {
      const member = members.find((each) => each.ID === id) ?? null;
      const header = clusterHeader(this.context);
      return MemberAddResponse.encode(MemberAddResponse.create({ header, member, members }));
    });
  }

  remove(request: MemberRemoveRequest, reply: Reply): void {
    const { config, state } = this.context;
    const member = state.members.get(request.ID);
    if (config.strictReconfigCheck && member?.isLearner !== true && !this.mayRemoveVoter(request.ID)) {
      reply.fail(ErrMemberNotEnoughStarted);
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
    const member = this.context.state.members.get(request.ID);
    if (member === undefined || !member.isLearner) {
      reply.fail(member === undefined ? ErrMemberNotFound : ErrMemberNotLearner);
      return;
    }
    if (!this.parts.isCaughtUp(request.ID)) {
      reply.fail(ErrLearnerNotReady);
      return;
    }
    this.change(promoteMemberChange(member), reply, (members) =>
      MemberPromoteResponse.encode(MemberPromoteResponse.create({ header: clusterHeader(this.context), members })),
    );
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

  /** A majority of the voters, the new one counted, must have started; two of which one has are let pass. */
  private mayAddVoter(): boolean {
    const voters = this.context.state.members.voters();
    const started = voters.filter((member) => member.isStarted).length;
    const count = voters.length + 1;
    return (started === 1 && count === 2) || started >= Math.floor(count / 2) + 1;
  }

  /** A majority of those who stay must have started; so the last one can not go. */
  private mayRemoveVoter(id: string): boolean {
    const staying = this.context.state.members.voters().filter((member) => member.id !== id);
    const started = staying.filter((member) => member.isStarted).length;
    return started >= Math.floor(staying.length / 2) + 1;
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
