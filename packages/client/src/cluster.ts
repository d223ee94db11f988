import type { U64 } from '@etsd/base';
import {
  MemberAddRequest,
  type MemberAddResponse,
  MemberListRequest,
  type MemberListResponse,
  MemberPromoteRequest,
  type MemberPromoteResponse,
  MemberRemoveRequest,
  type MemberRemoveResponse,
  MemberUpdateRequest,
  type MemberUpdateResponse,
} from '@etsd/proto';
import type { Caller } from './caller.ts';
import { toId } from './checks.ts';
import * as methods from './methods.ts';
import type { CallOptions } from './options.ts';

/** The members of the cluster. */
export class Cluster {
  private readonly caller: Caller;

  constructor(caller: Caller) {
    this.caller = caller;
  }

  /** The members; confirmed by a majority unless `linearizable` is false. */
  list(options: CallOptions & { linearizable?: boolean } = {}): Promise<MemberListResponse> {
    const request = MemberListRequest.create({ linearizable: options.linearizable ?? true });
    return this.caller.unary(methods.MemberList, request, options);
  }

  add(peerURLs: string[], options: CallOptions & { learner?: boolean } = {}): Promise<MemberAddResponse> {
    const request = MemberAddRequest.create({ peerURLs, isLearner: options.learner ?? false });
    return this.caller.unary(methods.MemberAdd, request, options);
  }

  remove(id: U64, options?: CallOptions): Promise<MemberRemoveResponse> {
    return this.caller.unary(methods.MemberRemove, MemberRemoveRequest.create({ ID: toId(id) }), options);
  }

  update(id: U64, peerURLs: string[], options?: CallOptions): Promise<MemberUpdateResponse> {
    return this.caller.unary(methods.MemberUpdate, MemberUpdateRequest.create({ ID: toId(id), peerURLs }), options);
  }

  /** Gives a learner its vote. */
  promote(id: U64, options?: CallOptions): Promise<MemberPromoteResponse> {
    return this.caller.unary(methods.MemberPromote, MemberPromoteRequest.create({ ID: toId(id) }), options);
  }
}
