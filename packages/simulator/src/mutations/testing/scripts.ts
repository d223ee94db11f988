/**
 * Known bugs of which a whole run would need too much luck: the same production parts, taken through exactly what brings the bug
 * about. Each gives what is wrong, or null.
 */
import { MemoryBackend } from '@etsd/backend';
import { EMPTY, silentLogger } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import {
  ConfChange,
  ConfChangeType,
  ConfState,
  Entry,
  Message,
  MessageType,
  PutRequest,
  RaftRequestField,
  RaftSnapshot,
  writeRaftRequest,
} from '@etsd/proto';
import { emptyState, RAFT_DEFAULTS, RawNode } from '@etsd/raft';
import type { World } from '@etsd/runtime';
import { SimUniverse } from '@etsd/runtime/sim';
import { MemberSnapshots } from '@etsd/server';
import { Lessor, MemberRecord, memberToJson, State } from '@etsd/state';

const A = '00000000000000aa';
const B = '00000000000000bb';
const NO_METRICS = { isInstalling: false, ...observers() };

function observers(): Record<
  'made' | 'received' | 'receivedSync' | 'fileSync' | 'fileSaved',
  { observe(value: number): void }
> {
  const none = { observe: (): void => {} };
  return { made: none, received: none, receivedSync: none, fileSync: none, fileSaved: none };
}

/** The parts of a member that hold state, on a simulated machine; entries are applied by hand. */
class Side {
  readonly backend = new MemoryBackend();
  readonly store = new Store(this.backend);
  readonly lessor = new Lessor({ store: this.store, backend: this.backend, ttlMinSeconds: 2 });
  readonly state: State;
  readonly snapshots: MemberSnapshots;

  constructor(world: World, directory: string) {
    this.store.open();
    this.lessor.open();
    const { backend, store, lessor } = this;
    this.state = new State({ backend, store, lessor });
    const parts = { world, logger: silentLogger, directory, backend, store, lessor, state: this.state };
    this.snapshots = new MemberSnapshots({ ...parts, metrics: NO_METRICS as never });
  }

  addMember(id: string, voters: string[]): void {
    const context = Buffer.from(memberToJson(new MemberRecord(id, [`http://${id}:1`])));
    const change = ConfChange.create({ type: ConfChangeType.ConfChangeAddNode, nodeId: id, context });
    this.state.applyConfChange(this.state.appliedIndex + 1, 1, change, () => ConfState.create({ voters }), null);
  }

  put(key: string): void {
    const body = PutRequest.encode(PutRequest.create({ key: Buffer.from(key) }));
    const index = this.state.appliedIndex + 1;
    this.state.apply(index, 1, writeRaftRequest(RaftRequestField.Put, body, 0, body.length, 1, index, '', 0), null);
  }

  install(message: Message): Promise<void> {
    return new Promise((resolve, reject) => {
      const snapshot = message.snapshot as RaftSnapshot;
      this.snapshots.installer.install(snapshot, (error) => (error === null ? resolve() : reject(error)));
    });
  }
}

/** Two such sides that have applied the same. */
async function pair(universe: SimUniverse): Promise<{ from: Side; to: Side }> {
  const [from, to] = await Promise.all(
    ['one', 'two'].map(async (name) => {
      const { world } = universe.addMachine(name);
      await world.disk.makeDirectory('/snap');
      return new Side(world, '/snap');
    }),
  );
  for (const side of [from as Side, to as Side]) {
    side.addMember(A, [A]);
    side.addMember(B, [A, B]);
  }
  return { from: from as Side, to: to as Side };
}

async function send(from: Side, to: Side): Promise<Message> {
  const message = Message.create({ type: MessageType.MsgSnap, from: A, to: B, snapshot: RaftSnapshot.create({}) });
  const outgoing = await from.snapshots.source.open(message);
  const pieces: Buffer[] = [];
  for (let piece = await outgoing.read(); piece !== null; piece = await outgoing.read()) pieces.push(piece);
  outgoing.close();
  await to.snapshots.sink.receive(outgoing.message, one(pieces));
  return outgoing.message;
}

async function* one(pieces: readonly Buffer[]): AsyncIterable<Buffer> {
  for (const piece of pieces) yield piece;
}

function inSimulation(script: (universe: SimUniverse) => Promise<string | null>): Promise<string | null> {
  const universe = new SimUniverse(1);
  return universe.simulation.runToEnd(script(universe));
}

/** A second snapshot comes before the first one is installed. */
export function twoSnapshots(): Promise<string | null> {
  return inSimulation(async (universe) => {
    const { from, to } = await pair(universe);
    from.put('a');
    const first = await send(from, to);
    from.put('b');
    const second = await send(from, to);
    try {
      await to.install(first);
      await to.install(second);
    } catch (error) {
      return `the member ends: ${(error as Error).message}`;
    }
    return to.store.revision === from.store.revision ? null : 'the state is not that of the snapshot';
  });
}

const LEADER = '0000000000000001';
const SECOND = '0000000000000002';
const THIRD = '0000000000000003';

/** A member alone with what the others might say, its disk always at once. */
class Alone {
  readonly node: RawNode;
  readonly reads: string[] = [];

  constructor() {
    const confState = ConfState.create({ voters: [LEADER, SECOND, THIRD] });
    const options = { ...RAFT_DEFAULTS, id: LEADER, preVote: false, draw: () => 0 };
    this.node = new RawNode(options, { ...emptyState(), confState });
  }

  hear(from: string, type: number, fields: Partial<Message> = {}): Message[] {
    this.node.step(Message.create({ from, to: LEADER, type, term: this.node.term, ...fields }));
    return this.settle();
  }

  settle(): Message[] {
    const sent: Message[] = [];
    while (this.node.hasReady()) {
      const { messages, write, committedTo, readStates } = this.node.ready();
      sent.push(...messages);
      this.reads.push(...readStates.map(({ context }) => context.toString()));
      if (write !== null) this.node.written(write);
      this.node.appliedTo(committedTo);
    }
    return sent;
  }
}

/** A follower asks twice for the same read; an answer to the first heartbeat comes after the leader's own read was asked. */
export async function lateHeartbeatAnswer(): Promise<string | null> {
  const { MsgAppResp, MsgHeartbeat, MsgHeartbeatResp, MsgReadIndex, MsgVoteResp } = MessageType;
  const leader = new Alone();
  leader.node.campaign();
  leader.settle();
  leader.hear(SECOND, MsgVoteResp);
  leader.hear(SECOND, MsgAppResp, { index: 1 });
  const question = { entries: [Entry.create({ data: Buffer.from('r') })] };
  const heartbeat = leader.hear(SECOND, MsgReadIndex, question).find(({ type }) => type === MsgHeartbeat);
  const context = heartbeat?.context ?? EMPTY;
  leader.hear(SECOND, MsgHeartbeatResp, { context });
  leader.node.readIndex(Buffer.from('own'));
  leader.settle();
  leader.hear(SECOND, MsgReadIndex, question);
  leader.hear(THIRD, MsgHeartbeatResp, { context });
  return leader.reads.length === 0
    ? null
    : `the leader reads "${leader.reads[0]}", which nobody has confirmed since it was asked`;
}
