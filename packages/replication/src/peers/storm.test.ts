/**
 * Goal: however links break, what members apply is the same, and when links hold again everything moves on. Method: three
 * members over loopback; every moment one of them is cut from its callers (it still calls the others: links break one way)
 * or mended, as the seed says, while each proposes. The seed fixes the plan; the machine's timing varies.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { identify } from '../membership.ts';
import type { RecordingWaiter } from '../testing/fakes.ts';
import { LoopbackMember, Station, until } from './testing/loopback.ts';

const ROUNDS = 30;

async function cluster(): Promise<LoopbackMember[]> {
  const stations = [new Station(0), new Station(0), new Station(0)];
  for (const station of stations) await station.listen();
  const members = identify(
    stations.map((station, place) => ({ name: `m${place}`, peerUrls: [station.url] })),
    'storm',
  );
  for (const station of stations) station.id = members.find(({ peerUrls }) => peerUrls[0] === station.url)!.id;
  return stations.map((station) => new LoopbackMember(station, 'c'.repeat(16), members));
}

/** What a member applied of the proposals. */
const writes = (member: LoopbackMember): string[] => member.applier.seen.filter((text) => text.startsWith('w '));

test('members agree through a storm of broken links', async (t) => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 1e9));
  t.diagnostic(`FUZZ_SEED=${seed}`);
  const prng = new Prng(seed);
  const members = await cluster();
  const waiting: { text: string; waiter: RecordingWaiter }[] = [];
  try {
    await until('a leader', () => members.some(({ node }) => node.isLeader));
    for (let round = 0; round < ROUNDS; round++) {
      const { station } = members[prng.below(members.length)]!;
      if (station.isCut || members.some((member) => member.station.isCut)) {
        for (const member of members) member.station.mend();
      } else {
        station.cut();
      }
      for (const [place, member] of members.entries()) {
        const text = `w ${round} ${place}`;
        waiting.push({ text, waiter: member.propose(text) });
      }
      const endMs = performance.now() + prng.between(20, 150);
      await until('the next moment', () => performance.now() >= endMs);
    }
    for (const { station } of members) station.mend();
    await until('a leader again', () => members.some(({ node }) => node.isLeader));
    const last: RecordingWaiter[] = [];
    await until('a write done', () => {
      const leader = members.find(({ node }) => node.isLeader);
      if (leader !== undefined && last.length < 200) last.push(leader.propose('w end'));
      return last.some(({ outcome }) => outcome.startsWith('w '));
    });
    await until('all equally far', () => {
      const [first, ...others] = members.map(({ node }) => node.appliedIndex);
      return others.every((index) => index === first) && members.every(({ node }) => node.commitIndex === first);
    });
    const [first, ...others] = members.map(({ applier }) => applier.seen);
    for (const other of others) assert.deepEqual(other, first);
    const applied = new Set(writes(members[0]!));
    for (const { text, waiter } of waiting) {
      if (waiter.outcome === text) assert.ok(applied.has(text), `${text} was answered and is not there`);
    }
    assert.ok(
      members.some(({ station }) => station.logger.has('lost TCP')),
      'no link broke',
    );
  } finally {
    for (const member of members) await member.close();
  }
});
