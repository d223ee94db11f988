import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type U64, u64FromHex, u64FromNumber } from '@etsd/base';
import { LeaseGrantRequest, LeaseTimeToLiveRequest, type LeaseTimeToLiveResponse } from '@etsd/proto';
import { Lessor } from '@etsd/state';
import { LeaseExpiry } from '../duties/lease-expiry.ts';
import { NOBODY } from '../tokens.ts';
import { answerLeasePost, type PeerAnswer, PeerLeaseForwarder } from './lease-peers.ts';
import { LeaseRouter } from './lease-router.ts';
import { FakeReplication, FakeWorld } from './surroundings.fixture.ts';

const LEADER: U64 = '00000000000000aa';

function leader() {
  const world = new FakeWorld();
  const replication = new FakeReplication();
  const store = { revision: 1, begin: (): void => {}, deleteRange: () => 1, end: () => 2 };
  const backend = { put: (): void => {}, delete: (): void => {}, scan: (): void => {} };
  const lessor = new Lessor({ store, backend, ttlMinSeconds: 2 });
  const expiry = new LeaseExpiry({
    world,
    replication,
    lessor,
    electionMs: 1000,
    revokesPerSecond: 1000,
    checkpointIntervalMs: 300_000,
    asRoot: () => NOBODY,
  });
  const router = new LeaseRouter({ world, replication, lessor, expiry, requestTimeoutMs: 7000, forwarder: null });
  const grant = (id: U64, ttl: number): void => lessor.applyGrant(LeaseGrantRequest.create({ ID: id, TTL: ttl }), null);
  const post = (path: string, body: Buffer): PeerAnswer => {
    let answer: PeerAnswer | null = null;
    answerLeasePost(router, path, body, (given) => {
      answer = given;
    });
    world.endTurns();
    assert.ok(answer !== null);
    return answer;
  };
  const said = (path: string, hex: string): string => {
    const { body, contentType, status } = post(path, Buffer.from(hex, 'hex'));
    const isText = contentType.startsWith('text/');
    return `${status} ${isText ? body.toString() : body.toString('hex')}`;
  };
  return { expiry, grant, lessor, post, said };
}

describe('leases between members', () => {
  it('answers byte for byte as etcd does', () => {
    // Recorded from etcd 3.5.30: a lease of 100 s with two keys, asked for at once, and requests it refuses.
    const { expiry, grant, lessor, said } = leader();
    const id = u64FromHex('3ceea1fdf4aa1103') as U64;
    grant(id, 100);
    lessor.attach('k1', id);
    lessor.attach('k2', id);
    expiry.promote();
    expiry.renew(id, { renewed: () => {}, failed: assert.ifError });
    const renewal = '0883a2a8a5dfbfa8f73c';
    assert.equal(said('/leases', renewal), '200 1083a2a8a5dfbfa8f73c1864');
    assert.equal(said('/leases', '0863'), '404 lease not found\n');
    assert.equal(said('/leases', ''), '404 lease not found\n');
    assert.equal(said('/leases', '0a63'), '400 error unmarshalling request\n');
    const keys = '0a0c0883a2a8a5dfbfa8f73c1001';
    assert.equal(said('/leases/internal', keys), '200 0a180a001083a2a8a5dfbfa8f73c186420642a026b312a026b32');
    assert.equal(said('/leases/internal', '0a0a0883a2a8a5dfbfa8f73c'), '200 0a100a001083a2a8a5dfbfa8f73c18642064');
    assert.equal(said('/leases/internal', '0a0408631001'), '404 lease not found\n');
    assert.equal(said('/leases/internal', '0a63'), '400 error unmarshalling request\n');
    assert.equal(said('/leases/x', renewal), '404 404 page not found\n');
  });

  it('says that it does not lead', () => {
    const { said } = leader();
    assert.equal(said('/leases', '0863'), '400 not a primary lessor\n');
    assert.equal(said('/leases/internal', '0a0408631001'), '400 not a primary lessor\n');
  });

  it('understands the answers it gives, and takes anything else for a failure', () => {
    const { expiry, grant, post } = leader();
    expiry.promote();
    grant(u64FromNumber(7), 10);
    let broken: { status: number; body: Buffer } | null = null;
    const forwarder = new PeerLeaseForwarder((_member, path, body, done) => {
      const { status, body: answer } = broken ?? post(path, body);
      done(null, status, answer);
    });
    const renew = (id: number): string => {
      let said = '';
      forwarder.renew(LEADER, u64FromNumber(id), (error, ttl) => {
        said = error === null ? `ttl ${ttl}` : error.message;
      });
      return said;
    };
    const ask = (id: number): LeaseTimeToLiveResponse | null | Error => {
      let said: LeaseTimeToLiveResponse | null | Error = null;
      forwarder.timeToLive(LEADER, LeaseTimeToLiveRequest.create({ ID: u64FromNumber(id) }), (error, answer) => {
        said = error ?? answer;
      });
      return said;
    };
    assert.equal(renew(7), 'ttl 10');
    assert.equal(renew(8), 'ttl 0');
    assert.equal((ask(7) as LeaseTimeToLiveResponse).grantedTTL, 10);
    assert.equal(ask(8), null);
    for (const [status, hex] of [
      [404, ''],
      [500, '00'],
      [200, 'ff'],
      [200, '1005'],
    ] as const) {
      broken = { status, body: Buffer.from(hex, 'hex') };
      assert.match(renew(7), /answers/);
      assert.ok(ask(7) instanceof Error);
    }
  });
});
