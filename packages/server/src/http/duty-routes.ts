/** What members ask of one another beside the log: versions, and hashes of what they hold. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type U64, u64ToHex } from '@etsd/base';
import type { ClusterDuties } from '../duties/cluster-duties.ts';
import { HASH_PATH } from '../duties/peer-hashes.ts';
import { readBody } from './body.ts';
import type { PeerEdge, PeerHandler } from './peer-edge.ts';

/** The largest body of a question for a hash. */
const BODY_MAX = 64 * 1024;

/** Answers `/version`, `/downgrade/enabled` and `/members/hashkv` on the peer port. */
export function routeDuties(edge: Pick<PeerEdge, 'route'>, clusterId: U64, duties: ClusterDuties): void {
  const cluster = { 'X-Etcd-Cluster-Id': u64ToHex(clusterId) };
  edge.route(
    '/version',
    getOnly((request, response) => {
      request.resume();
      const { server, cluster: clusterVersion } = duties.versions();
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ etcdserver: server, etcdcluster: clusterVersion }));
    }),
  );
  edge.route(
    '/downgrade/enabled',
    getOnly((request, response) => {
      request.resume();
      response.writeHead(200, { ...cluster, 'Content-Type': 'text/plain' });
      response.end(String(duties.isDowngrading));
    }),
  );
  edge.route(
    HASH_PATH,
    getOnly((request, response) => {
      const asked = request.headers['x-etcd-cluster-id'];
      readBody(request, response, BODY_MAX, (body) =>
        duties.answerHash(typeof asked === 'string' ? asked : '', body, (answer) => {
          const extra = answer.status === 200 ? cluster : { 'X-Content-Type-Options': 'nosniff' };
          response.writeHead(answer.status, { ...extra, 'Content-Type': answer.contentType });
          response.end(answer.body);
        }),
      );
    }),
  );
}

function getOnly(handler: PeerHandler): PeerHandler {
  return (request: IncomingMessage, response: ServerResponse) => {
    if (request.method === 'GET') {
      handler(request, response);
      return;
    }
    request.resume();
    response.writeHead(405, {
      Allow: 'GET',
      'Content-Type': 'text/plain; charset=utf-8',
      'X-Content-Type-Options': 'nosniff',
    });
    response.end('Method Not Allowed\n');
  };
}
