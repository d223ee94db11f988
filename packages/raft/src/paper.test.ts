/**
 * The rules of the Raft paper ("In Search of an Understandable Consensus Algorithm", extended version), section by
 * section: each test's name says which rule it holds the core to. One member; the test plays its peers.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EMPTY } from '@etsd/base';
import { ConfState, Entry, type Message, MessageType, RaftSnapshot, SnapshotMetadata } from '@etsd/proto';
import { CANDIDATE, FOLLOWER, LEADER } from './raft.ts';
import { idOf, numberOf } from './testing/member.ts';
import { Solo } from './testing/solo.ts';

const {
  MsgApp,
  MsgAppResp,
  MsgHeartbeat,
  MsgHeartbeatResp,
  MsgReadIndex,
  MsgReadIndexResp,
  MsgSnap,
  MsgVote,
  MsgVoteResp,
} = MessageType;

function entries(first: number, ...terms: number[]): Entry[] {
  return terms.map((term, place) =>
    Entry.create({ term, index: first + place, data: Buffer.from(`${first + place}`) }),
  );
}

function targets(messages: readonly Message[], type: number): number[] {
  return messages.filter((message) => message.type === type).map((message) => numberOf(message.to));
}

/** A member that won the election of the given term. */
function leader(voters: number, log: readonly number[] = [], commit = 0): Solo {
  const solo = new Solo({ voters, log, commit });
  solo.node.campaign();
  solo.settle();
  for (let number = 2; number <= voters; number++) {
    if (!solo.node.isLeader) solo.hear(number, MsgVoteResp, solo.node.term);
  }
  solo.settle();
  assert.equal(solo.node.role, LEADER);
  return solo;
}

/** All followers have everything up to `index`. */
function acknowledge(solo: Solo, index: number, ...followers: number[]): Message[] {
  const messages: Message[] = [];
  for (const follower of followers) messages.push(...solo.hear(follower, MsgAppResp, solo.node.term, { index }));
  return messages;
}

test('§5.1: whoever sees a higher term becomes a follower in it', () => {
  const follower = new Solo({ voters: 3, term: 1 });
  const candidate = new Solo({ voters: 3, term: 1 });
  candidate.node.campaign();
  candidate.settle();
  assert.equal(candidate.node.role, CANDIDATE);
  for (const solo of [follower, candidate, leader(3, [1])]) {
    solo.hear(2, MsgApp, 9);
    assert.equal(solo.node.role, FOLLOWER);
    assert.equal(solo.node.term, 9);
    assert.equal(numberOf(solo.node.leader), 2);
  }
});

test('§5.1: what comes from an old term changes nothing', () => {
  const solo = new Solo({ voters: 3, log: [1, 2], term: 5 });
  const answers = solo.hear(2, MsgApp, 4, { index: 2, logTerm: 2, entries: entries(3, 4), commit: 3 });
  assert.deepEqual(solo.terms, [1, 2]);
  assert.equal(solo.node.commitIndex, 0);
  // The sender learns of the present term, or it would go on for ever.
  assert.deepEqual(
    answers.map(({ type, term, index }) => [type, term, index]),
    [[MsgAppResp, 5, 0]],
  );
  assert.deepEqual(solo.hear(2, MsgVote, 4, { index: 9, logTerm: 4 }), []);
});

test('§5.2: a member starts as a follower', () => {
  const solo = new Solo({ voters: 3 });
  assert.equal(solo.node.role, FOLLOWER);
  assert.deepEqual(solo.settle(), []);
});

test('§5.2: a leader sends heartbeats to all', () => {
  const solo = leader(3);
  acknowledge(solo, 1, 2, 3);
  assert.deepEqual(targets(solo.tick(1), MsgHeartbeat), [2, 3]);
});

test('§5.2: a follower that hears nothing for an election time-out campaigns; one that hears the leader does not', () => {
  const solo = new Solo({ voters: 3, term: 1 });
  assert.deepEqual(solo.tick(14), []);
  solo.hear(2, MsgHeartbeat, 1);
  assert.deepEqual(solo.tick(14), []);
  const requests = solo.tick(1);
  assert.equal(solo.node.role, CANDIDATE);
  assert.equal(solo.node.term, 2);
  assert.deepEqual(targets(requests, MsgVote), [2, 3]);
});

test('§5.2: a candidate that neither wins nor loses starts the next election', () => {
  const solo = new Solo({ voters: 3, term: 1 });
  solo.tick(15);
  assert.equal(solo.node.term, 2);
  solo.tick(15);
  assert.equal(solo.node.term, 3);
  assert.equal(solo.node.role, CANDIDATE);
});

test('§5.2: election time-outs are drawn anew from [t, 2t) for each election', () => {
  const draws: number[] = [];
  let next = 0;
  const draw = (bound: number): number => {
    draws.push(bound);
    next += 3;
    return next % bound;
  };
  const solo = new Solo({ voters: 3, term: 1, options: { draw } });
  const lengths: number[] = [];
  for (let election = 0; election < 5; election++) {
    const term = solo.node.term;
    let ticks = 0;
    while (solo.node.term === term) {
      solo.tick(1);
      ticks++;
    }
    lengths.push(ticks);
  }
  assert.ok(draws.every((bound) => bound === 10));
  assert.ok(new Set(lengths).size > 1, `all the same: ${lengths}`);
  assert.ok(
    lengths.every((length) => length >= 10 && length < 20),
    `out of range: ${lengths}`,
  );
});

test('§5.2: an election is won by a majority, lost by a majority, open otherwise', () => {
  const table: [number, boolean[], number][] = [
    [1, [], LEADER],
    [3, [true], LEADER],
    [3, [], CANDIDATE],
    [3, [false, false], FOLLOWER],
    [3, [false, true], LEADER],
    [5, [true, true], LEADER],
    [5, [true, false], CANDIDATE],
    [5, [false, false, false], FOLLOWER],
    [5, [true, false, false], CANDIDATE],
    [5, [true, false, false, true], LEADER],
  ];
  for (const [voters, votes, role] of table) {
    const solo = new Solo({ voters });
    solo.node.campaign();
    solo.settle();
    for (const [place, granted] of votes.entries()) solo.hear(place + 2, MsgVoteResp, 1, { reject: !granted });
    assert.equal(solo.node.role, role, `${voters} voters, ${votes}`);
  }
});

test('§5.2: the same answer twice is one vote', () => {
  const solo = new Solo({ voters: 5 });
  solo.node.campaign();
  solo.settle();
  solo.hear(2, MsgVoteResp, 1);
  solo.hear(2, MsgVoteResp, 1);
  assert.equal(solo.node.role, CANDIDATE);
});

test('§5.2: one vote a term, first come, first served, also across a restart', () => {
  const solo = new Solo({ voters: 3, term: 1 });
  const [granted] = solo.hear(2, MsgVote, 2);
  assert.equal(granted?.reject, false);
  assert.equal(solo.hear(3, MsgVote, 2)[0]?.reject, true);
  assert.equal(solo.hear(2, MsgVote, 2)[0]?.reject, false, 'the same candidate may ask again');
  solo.member.crash();
  solo.member.restart();
  assert.equal(solo.hear(3, MsgVote, 2)[0]?.reject, true);
});

test('§5.2: a candidate that hears of a leader of its term follows it', () => {
  const solo = new Solo({ voters: 3 });
  solo.node.campaign();
  solo.settle();
  solo.hear(2, MsgApp, 1);
  assert.equal(solo.node.role, FOLLOWER);
  assert.equal(numberOf(solo.node.leader), 2);
});

test('§5.3: a proposal becomes an entry of the leader’s term and goes to all, with what comes before it', () => {
  const solo = leader(3, [1]);
  acknowledge(solo, 2, 2, 3);
  solo.node.propose(Buffer.from('x'));
  const appends = solo.settle().filter(({ type }) => type === MsgApp);
  assert.deepEqual(
    appends.map(({ to, index, logTerm }) => [numberOf(to), index, logTerm]),
    [
      [2, 2, 2],
      [3, 2, 2],
    ],
  );
  for (const append of appends) {
    assert.deepEqual(
      append.entries.map(({ term, index, data }) => [term, index, data.toString()]),
      [[2, 3, 'x']],
    );
  }
});

test('§5.3: an entry is committed when a majority has it, the leader’s disk being one of them', () => {
  const table: [number, number[], boolean][] = [
    [1, [], true],
    [3, [], false],
    [3, [2], true],
    [5, [2], false],
    [5, [2, 3], true],
  ];
  for (const [voters, followers, isCommitted] of table) {
    const solo = leader(voters);
    acknowledge(solo, 1, ...Array.from({ length: voters - 1 }, (_, place) => place + 2));
    solo.node.propose(Buffer.from('x'));
    solo.settle();
    acknowledge(solo, 2, ...followers);
    assert.equal(solo.node.commitIndex, isCommitted ? 2 : 1, `${voters} voters, ${followers}`);
    assert.equal(solo.applied.includes('x'), isCommitted);
  }
});

test('§5.3: committing an entry of its term commits everything before it', () => {
  for (const log of [[], [1], [1, 1], [1, 2, 3]]) {
    const solo = leader(3, log);
    acknowledge(solo, log.length + 1, 2);
    assert.equal(solo.node.commitIndex, log.length + 1);
  }
});

test('§5.3: followers learn of the commit index with the next message', () => {
  const solo = leader(3);
  const messages = acknowledge(solo, 1, 2);
  assert.ok(messages.some(({ type, to, commit }) => type === MsgApp && numberOf(to) === 2 && commit === 1));
});

test('§5.3: a follower commits what the leader says, as far as it has it', () => {
  const table: [number, number, number][] = [
    // entries sent, the leader's commit index, the follower's then
    [1, 1, 1],
    [2, 1, 1],
    [2, 2, 2],
    [2, 9, 2],
  ];
  for (const [count, commit, expected] of table) {
    const solo = new Solo({ voters: 3, term: 1 });
    solo.hear(2, MsgApp, 1, { entries: entries(1, ...new Array<number>(count).fill(1)), commit });
    assert.equal(solo.node.commitIndex, expected);
  }
});

test('§5.3: a follower takes entries only behind one it has', () => {
  const table: [number, number, boolean][] = [
    // logTerm, index: log is [1, 2], 1 committed
    [0, 0, true],
    [1, 1, true],
    [2, 2, true],
    [1, 2, false],
    [3, 3, false],
  ];
  for (const [logTerm, index, isTaken] of table) {
    const solo = new Solo({ voters: 3, log: [1, 2], commit: 1 });
    solo.settle();
    const [answer] = solo.hear(2, MsgApp, 2, { index, logTerm });
    assert.equal(answer?.reject, !isTaken, `behind ${logTerm}/${index}`);
    // An append before the commit index is answered with that: it is the same everywhere.
    if (isTaken) assert.equal(answer?.index, Math.max(index, 1));
    else assert.equal(answer?.index, index);
  }
});

test('§5.3: conflicting entries, and all behind them, are replaced; others stay', () => {
  const table: [number, number, Entry[], number[]][] = [
    [2, 2, entries(3, 3), [1, 2, 3]],
    [1, 1, entries(2, 3, 4), [1, 3, 4]],
    [0, 0, entries(1, 1), [1, 2]],
    [0, 0, entries(1, 3), [3]],
    [1, 1, [], [1, 2]],
  ];
  for (const [index, logTerm, sent, expected] of table) {
    const solo = new Solo({ voters: 3, log: [1, 2] });
    solo.hear(2, MsgApp, 4, { index, logTerm, entries: sent });
    assert.deepEqual(solo.terms, expected);
  }
});

test('§5.3, figure 7: a leader makes every follower’s log like its own, whatever it was', () => {
  const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const followers: Record<string, number[]> = {
    a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
    b: [1, 1, 1, 4],
    c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    e: [1, 1, 1, 4, 4, 4, 4],
    f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  };
  for (const [name, log] of Object.entries(followers)) {
    const solo = new Solo({ voters: 3, log: leaderLog, term: 7 });
    const follower = new Solo({ id: 2, voters: 3, log, term: 7 });
    solo.node.campaign();
    solo.settle();
    solo.hear(3, MsgVoteResp, 8);
    assert.equal(solo.node.isLeader, true);
    let rounds = 0;
    for (let mail = solo.tick(1); rounds < 30 && follower.terms.join() !== solo.terms.join(); rounds++) {
      const answers: Message[] = [];
      for (const message of mail) {
        if (numberOf(message.to) === 2) follower.node.step(message);
      }
      answers.push(...follower.settle());
      for (const answer of answers) solo.node.step(answer);
      mail = [...solo.settle(), ...solo.tick(1)];
    }
    assert.deepEqual(follower.terms, [...leaderLog, 8], `case ${name}`);
    assert.ok(rounds < 8, `case ${name} took ${rounds} rounds`);
  }
});

test('§5.4.1: a request for votes tells the last entry of the candidate', () => {
  for (const log of [[1], [1, 2, 2]]) {
    const solo = new Solo({ voters: 3, log });
    solo.node.campaign();
    for (const request of solo.settle()) {
      assert.equal(request.index, log.length);
      assert.equal(request.logTerm, log[log.length - 1]);
    }
  }
});

test('§5.4.1: a vote goes only to a log at least as complete', () => {
  const table: [number[], number, number, boolean][] = [
    [[1], 1, 1, true],
    [[1], 1, 2, true],
    [[1, 1], 1, 1, false],
    [[1], 2, 1, true],
    [[2], 1, 1, false],
    [[2], 1, 9, false],
    [[1, 1], 2, 1, true],
  ];
  for (const [log, logTerm, index, isGranted] of table) {
    const solo = new Solo({ voters: 3, log });
    const [answer] = solo.hear(2, MsgVote, 3, { logTerm, index });
    assert.equal(answer?.reject, !isGranted, `log ${log}, candidate ${logTerm}/${index}`);
  }
});

test('§5.4.2: entries of earlier terms are not committed by counting them', () => {
  const solo = leader(3, [1, 2]);
  assert.equal(solo.node.term, 3);
  acknowledge(solo, 1, 2);
  assert.equal(solo.node.commitIndex, 0);
  acknowledge(solo, 2, 2);
  assert.equal(solo.node.commitIndex, 0);
  acknowledge(solo, 3, 2);
  assert.equal(solo.node.commitIndex, 3);
});

test('§7: a snapshot replaces a log that lacks it, and not one that has it', () => {
  const snapshot = new RaftSnapshot();
  snapshot.metadata = new SnapshotMetadata();
  snapshot.metadata.index = 5;
  snapshot.metadata.term = 2;
  snapshot.metadata.confState = ConfState.create({ voters: [idOf(1), idOf(2)] });

  const behind = new Solo({ voters: 3, log: [1, 1] });
  const [installed] = behind.hear(2, MsgSnap, 2, { snapshot });
  assert.equal(installed?.index, 5);
  assert.deepEqual([behind.node.lastIndex, behind.node.commitIndex, behind.node.appliedIndex], [5, 5, 5]);
  assert.deepEqual(behind.node.confState.voters, [idOf(1), idOf(2)]);

  const ahead = new Solo({ voters: 3, log: [1, 1, 2, 2, 2, 2] });
  const [kept] = ahead.hear(2, MsgSnap, 2, { snapshot });
  assert.equal(kept?.index, 5, 'only the commit index moves');
  assert.deepEqual([ahead.node.lastIndex, ahead.node.commitIndex], [6, 5]);
  assert.equal(ahead.node.confState.voters.length, 3);

  const stranger = new Solo({ id: 3, voters: 3, log: [1, 1] });
  assert.equal(stranger.hear(2, MsgSnap, 2, { snapshot })[0]?.index, 0, 'not a member according to it');
});

test('§8: a leader begins its term with an empty entry', () => {
  const solo = leader(3, [1]);
  assert.deepEqual(solo.terms, [1, 2]);
  assert.equal(solo.node.entryAt(2).data.length, 0);
});

test('§8: a read is answered when a majority confirmed the leader after it was asked', () => {
  const solo = leader(5);
  acknowledge(solo, 1, 2, 3, 4, 5);
  solo.node.readIndex(Buffer.from('r'));
  const heartbeats = solo.settle();
  assert.deepEqual(targets(heartbeats, MsgHeartbeat), [2, 3, 4, 5]);
  const context = heartbeats[0]?.context ?? EMPTY;
  const confirm = (from: number): void => {
    solo.hear(from, MsgHeartbeatResp, solo.node.term, { context });
  };
  confirm(2);
  assert.equal(solo.reads.length, 0, 'two of five are no majority');
  confirm(2);
  assert.equal(solo.reads.length, 0, 'the same one again is no third');
  confirm(3);
  assert.deepEqual(solo.reads, [1]);
});

test('§8: a late answer to an old question does not confirm a younger read (etcd issue 20418)', () => {
  const solo = leader(3);
  acknowledge(solo, 1, 2, 3);
  const { term } = solo.node;
  const question = { entries: [Entry.create({ data: Buffer.from('r') })] };
  const asked = solo.hear(2, MsgReadIndex, term, question);
  const context = asked.find(({ type }) => type === MsgHeartbeat)?.context ?? EMPTY;
  assert.deepEqual(
    targets(solo.hear(2, MsgHeartbeatResp, term, { context }), MsgReadIndexResp),
    [2],
    'a majority answered',
  );
  // By now another member may lead. 2 asks again, before it knows of the answer; that of 3 was on its way all the time.
  solo.node.readIndex(Buffer.from('own'));
  solo.settle();
  solo.hear(2, MsgReadIndex, term, question);
  solo.hear(3, MsgHeartbeatResp, term, { context });
  assert.deepEqual(solo.reads, [], 'nobody has confirmed anything since the own read was asked');
});
