/** The side of a member that faces the other members: its addresses, its connections, and what it answers there. */
import type { Logger, U64 } from '@etsd/base';
import type { HttpTransport } from '@etsd/replication';
import type { Socket } from '@etsd/runtime';
import type { State } from '@etsd/state';
import { answerLeasePost, LEASES_INTERNAL_PATH, LEASES_PATH, type PeerPost } from './api/lease-peers.ts';
import type { LeaseRouter } from './api/lease-router.ts';
import { readBody } from './http/body.ts';
import { PeerEdge, type PeerHandler } from './http/peer-edge.ts';
import type { Gate } from './listeners.ts';
import { MemberLines } from './member-lines.ts';

/** Connections to the other members; `HttpTransport`, or what stands for it in a simulated world. */
export type PeerLinks = Pick<
  HttpTransport,
  'send' | 'close' | 'addPeer' | 'addRemote' | 'updatePeer' | 'removePeer' | 'activeSince' | 'handle' | 'request'
> & {
  /** Serves a connection of another member, where that is not for `node:http`. */
  accept?(socket: Socket, edge: PeerEdge): void;
};

/** Time for a question about a lease to be answered: soon after it there is another leader to ask, if this one hangs. */
const LEASE_POST_TIMEOUT_MS = 1500;
/** The largest body of a post about a lease. */
const LEASE_BODY_MAX = 64 * 1024;

export interface PeerSideParts {
  readonly links: PeerLinks;
  readonly gate: Gate;
  readonly state: State;
  readonly memberId: U64;
  readonly logger: Logger;
  /** This member was removed, as the log says. */
  readonly removed: () => void;
}

export class PeerSide {
  readonly edge = new PeerEdge();
  private readonly parts: PeerSideParts;

  constructor(parts: PeerSideParts) {
    this.parts = parts;
    const { links } = parts;
    const raft: PeerHandler = (request, response) => {
      if (!links.handle(request, response)) response.writeHead(404).end('404 page not found\n');
    };
    this.edge.route('/raft', raft);
    this.edge.route('/raft/', raft);
    this.followMembers();
  }

  /** Connects to the members known, and from now on to those that join. */
  private followMembers(): void {
    const { links, logger, memberId, removed } = this.parts;
    const { members } = this.parts.state;
    for (const { id, peerURLs } of members.list()) if (id !== memberId) links.addPeer(id, peerURLs);
    const lines = new MemberLines(logger, members);
    members.listener = {
      memberAdded: (member) => {
        const { id, peerURLs } = member;
        lines.memberAdded(member);
        if (id !== memberId) links.addPeer(id, peerURLs);
      },
      memberUpdated: (member) => {
        const { id, peerURLs } = member;
        lines.memberUpdated(member);
        if (id !== memberId) links.updatePeer(id, peerURLs);
      },
      memberRemoved: (id) => {
        lines.memberRemoved(id);
        if (id === memberId) removed();
        else links.removePeer(id);
      },
    };
  }

  /** Lets other members in; those that connected before have waited. */
  open(): void {
    const { gate, links } = this.parts;
    gate.open((socket) => {
      // What connects here has a bound of its own, and members keep connections for when they need them.
      socket.asked();
      if (links.accept === undefined) this.edge.accept(socket.detach());
      else links.accept(socket, this.edge);
    });
  }

  /** Answers what members ask the leader about leases. */
  answerLeases(router: LeaseRouter): void {
    for (const path of [LEASES_PATH, LEASES_INTERNAL_PATH]) {
      this.edge.route(path, (request, response) => {
        readBody(request, response, LEASE_BODY_MAX, (body) =>
          answerLeasePost(router, path, body, (answer) => {
            response.writeHead(answer.status, { 'Content-Type': answer.contentType });
            response.end(answer.body);
          }),
        );
      });
    }
  }

  /** Asks the leader about leases. */
  readonly postLease: PeerPost = (member, path, body, done) =>
    this.parts.links.request(member, 'POST', path, body, 'application/protobuf', LEASE_POST_TIMEOUT_MS, done);

  async close(): Promise<void> {
    await this.parts.gate.close();
    this.edge.close();
  }
}
