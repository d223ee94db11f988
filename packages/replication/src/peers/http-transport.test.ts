/** Transports that talk with each other over loopback, with raft behind them or a host that notes what it is told. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { identify } from '../membership.ts';
import { LoopbackMember, Station, until } from './testing/loopback.ts';

async function cluster(count: number): Promise<LoopbackMember[]> {
  const stations = Array.from({ length: count }, () => new Station(0));
  for (const station of stations) await station.listen();
  const members = identify(
    stations.map((station, place) => ({ name: `m${place}`, peerUrls: [station.url] })),
    'loopback',
  );
  for (const station of stations) station.id = members.find(({ peerUrls }) => peerUrls[0] === station.url)!.id;
  return stations.map((station) => new LoopbackMember(station, 'c'.repeat(16), members));
}

describe('three members over loopback', () => {
  it('elect, replicate over streams, and forward from a follower', async () => {
    const members = await cluster(3);
    try {
      await until('a leader', () => members.some(({ node }) => node.isLeader));
      const leader = members.find(({ node }) => node.isLeader)!;
      const waiters = Array.from({ length: 200 }, (_, number) => leader.propose(`write ${number}`));
      await until('all done', () => waiters.every(({ outcome }) => outcome !== 'waiting'));
      for (const waiter of waiters) assert.match(waiter.outcome, /^write /);
      await until('all applied', () => members.every(({ applier }) => applier.seen.at(-1) === 'write 199'));
      const follower = members.find(({ node }) => !node.isLeader)!;
      const forwarded = Array.from({ length: 50 }, (_, number) => follower.propose(`forwarded ${number}`));
      await until('all of the follower done', () => forwarded.every(({ outcome }) => outcome !== 'waiting'));
      for (const waiter of forwarded) assert.match(waiter.outcome, /^forwarded /);
      for (const { station } of members) {
        for (const other of members) {
          if (other.station !== station) {
            assert.notEqual(station.transport.activeSince(other.station.id), null);
          }
        }
      }
    } finally {
      for (const member of members) await member.close();
    }
  });
});
