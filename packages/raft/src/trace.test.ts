/**
 * Goal: the trace tells what happened, in the form the TLA+ trace specification of etcd's raft reads. Method: random runs
 * are traced and searched for contradictions; so that the search means something, damaged traces must be found out.
 * `RAFT_TRACE=file node --test packages/raft/src/trace.test.ts` leaves a trace to be given to that specification.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { ConfChangeType } from '@etsd/proto';
import { TraceCluster } from './testing/trace-cluster.ts';
import { contradictions } from './testing/trace-log.ts';
import type { TraceEvent } from './trace.ts';

function run(seed: number, events: number): TraceCluster {
  const prng = new Prng(seed);
  const cluster = new TraceCluster(prng, 3, 1);
  for (let count = 0; count < events; count++) {
    cluster.event();
    if (prng.chance(0.01)) {
      cluster.change(prng.chance(0.5) ? ConfChangeType.ConfChangeAddNode : ConfChangeType.ConfChangeAddLearnerNode, 4);
    }
  }
  return cluster;
}

test('traces of random runs are without contradiction, and every kind of event occurs', () => {
  const names = new Set<string>();
  for (let seed = 1; seed <= 10; seed++) {
    const { log } = run(seed, 1500);
    assert.deepEqual(contradictions(log.events), [], `seed ${seed}`);
    for (const { name } of log.events) names.add(name);
  }
  assert.deepEqual([...names].sort(), [
    'ApplyConfChange',
    'BecomeCandidate',
    'BecomeFollower',
    'BecomeLeader',
    'ChangeConf',
    'Commit',
    'InitState',
    'Ready',
    'ReceiveAppendEntriesRequest',
    'ReceiveAppendEntriesResponse',
    'ReceiveRequestVoteRequest',
    'ReceiveRequestVoteResponse',
    'Replicate',
    'SendAppendEntriesRequest',
    'SendAppendEntriesResponse',
    'SendRequestVoteRequest',
    'SendRequestVoteResponse',
  ]);
});

test('a damaged trace is found out', () => {
  const { log } = run(1, 1500);
  const damages: [what: string, damage: (events: TraceEvent[]) => void][] = [
    ['a message that nobody sent', (events) => events.splice(find(events, 'SendAppendEntriesRequest'), 1)],
    ['a vote that was not counted', (events) => events.splice(find(events, 'ReceiveRequestVoteResponse', 1), 1)],
    ['a second leader', (events) => events.push({ ...at(events, 'BecomeLeader'), nid: '9' })],
    ['a term that falls', (events) => events.push({ ...at(events, 'BecomeLeader'), name: 'Ready' })],
    [
      'a commit that no leader decided',
      (events) => events.splice(0, events.length, ...events.filter(({ name }) => name !== 'Commit')),
    ],
  ];
  for (const [what, damage] of damages) {
    const events = [...log.events];
    damage(events);
    assert.notDeepEqual(contradictions(events), [], what);
  }
});

function find(events: readonly TraceEvent[], name: string, skip = 0): number {
  let left = skip;
  return events.findIndex((event) => event.name === name && left-- === 0);
}

function at(events: readonly TraceEvent[], name: string): TraceEvent {
  return events[find(events, name)] as TraceEvent;
}

test('a line has the form of the specification', () => {
  const { log } = run(3, 300);
  const path = process.env['RAFT_TRACE'];
  if (path !== undefined) writeFileSync(path, log.toNdjson());
  const line = log
    .toNdjson()
    .split('\n')
    .find((text) => text.includes('"SendAppendEntriesRequest"') && text.includes('MsgApp"'));
  const { tag, event } = JSON.parse(line ?? '{}');
  assert.equal(tag, 'trace');
  assert.deepEqual(Object.keys(event), ['name', 'nid', 'state', 'role', 'log', 'conf', 'msg', 'prop']);
  assert.deepEqual(Object.keys(event.state), ['term', 'vote', 'commit']);
  assert.deepEqual(Object.keys(event.msg), [
    'type',
    'term',
    'from',
    'to',
    'entries',
    'logTerm',
    'index',
    'commit',
    'vote',
    'reject',
    'rejectHint',
  ]);
  assert.match(event.nid, /^[1-4]$/);
  assert.equal(event.role, 'StateLeader');
});
