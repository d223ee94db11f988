/** Everything with which a member makes sure that it holds what the others hold. */
import { errorFrom, type Logger, type U64, u64ToHex } from '@etsd/base';
import type { Store } from '@etsd/mvcc';
import { ConfState, type Message, type RaftSnapshot } from '@etsd/proto';
import type { ReplicationNode } from '@etsd/replication';
import type { World } from '@etsd/runtime';
import type { State } from '@etsd/state';
import type { UpkeepConfig } from '../config/upkeep-options.ts';
import type { TimerHandle } from '../context.ts';
import { readBody } from '../http/body.ts';
import type { PeerHandler } from '../http/peer-edge.ts';
import type { MetricRegistry } from '../metrics.ts';
import type { PeerLinks } from '../peers.ts';
import type { Difference } from './compare.ts';
import { MemberCompare, REPORT_PATH, STATE_CHECK_PATH } from './member-compare.ts';
import { Quarantine } from './quarantine.ts';
import { Resync, readSnapshotRequest, SNAPSHOT_PATH } from './resync.ts';
import { StateCheck } from './state-check.ts';
import { WindowDigests } from './window-digests.ts';

/** The largest body of a question. */
const BODY_MAX = 64 * 1024;
const STATE_CHECK_TIMEOUT_MS = 3000;

export interface MemberIntegrityParts {
  readonly world: World;
  readonly logger: Logger;
  readonly config: UpkeepConfig;
  readonly electionMs: number;
  readonly clusterId: U64;
  readonly memberId: U64;
  /** `member` below the data directory, for notes. */
  readonly directory: string;
  readonly store: Store;
  readonly state: State;
  readonly replication: ReplicationNode;
  readonly links: PeerLinks;
  readonly receivedAtMs: () => number;
  /** Puts a received snapshot in place of the state, which is set aside. */
  readonly install: (snapshot: RaftSnapshot, done: (error: Error | null) => void) => void;
  readonly fail: (error: unknown) => void;
}

/**
 * ```
 *   WindowDigests ─┐                 ┌─ a majority differs ─▶ Quarantine ─▶ Resync ─▶ the state of another member
 *                  ├─▶ MemberCompare ┤
 *   StateCheck ────┘                 └─ else: goes on
 * ```
 */
export class MemberIntegrity {
  readonly quarantine: Quarantine;
  /** Is told when the quarantine begins or ends. */
  onChange: ((isQuarantined: boolean) => void) | null = null;
  private readonly parts: MemberIntegrityParts;
  private readonly windows: WindowDigests;
  private readonly states: StateCheck;
  private readonly compare: MemberCompare;
  private readonly resync: Resync;
  private timer: TimerHandle | null = null;

  constructor(parts: MemberIntegrityParts) {
    const { directory, electionMs, links, logger, memberId, replication, state, store, world } = parts;
    this.parts = parts;
    this.windows = new WindowDigests({ store, auth: state.auth });
    state.onWindow = (index) => this.windows.ended(index);
    this.states = new StateCheck({
      store,
      world,
      path: `${directory}/state-hash.json`,
      logger,
      damaged: () => {
        this.quarantine.isDamaged = true;
      },
    });
    this.quarantine = new Quarantine({
      disk: world.disk,
      path: `${directory}/quarantine.json`,
      logger,
      changed: (isQuarantined) => this.onChange?.(isQuarantined),
    });
    const voters = (): U64[] => state.members.voters().map(({ id }) => id);
    this.compare = new MemberCompare({
      memberId,
      windows: this.windows,
      states: () => this.states.known(),
      peers: links,
      voters,
      isQuarantined: () => this.quarantine.isOn,
      every: (ms, callback) => world.timers.every(ms, callback, { ref: false }),
      logger,
      differs: (difference) => this.differs(difference),
    });
    this.resync = new Resync({
      world,
      logger,
      memberId,
      replication,
      electionMs,
      peers: links,
      others: () => voters().filter((id) => id !== memberId),
      receivedAtMs: parts.receivedAtMs,
      install: parts.install,
      healed: () => this.quarantine.end(),
      fail: parts.fail,
    });
  }

  /** Reads the notes of a former life. To be awaited before anything is served. */
  async open(): Promise<void> {
    await this.states.open();
    await this.quarantine.open();
  }

  /** The log runs. */
  start(): void {
    const { config, world } = this.parts;
    if (this.quarantine.isOn) this.resync.start();
    if (config.compareMembers) this.compare.start();
    if (config.stateCheckMs === 0) return;
    this.timer = world.timers.every(config.stateCheckMs, this.checkStates, { ref: false });
  }

  stop(): void {
    this.timer?.cancel();
    this.compare.stop();
    this.states.stop();
    this.resync.stop();
  }

  /** Whether a message of another member is for this, and not for raft. */
  takes(message: Message): boolean {
    return this.resync.takes(message);
  }

  /** The state was replaced by another member's, whoever wanted it. */
  replaced(): void {
    this.compare.reset();
    this.states.reset();
  }

  /** A majority says otherwise than this member. */
  private differs(difference: Difference): void {
    if (this.quarantine.isOn) return;
    this.quarantine.begin(difference).then(
      () => this.resync.start(),
      (error: unknown) => this.parts.fail(error),
    );
  }

  /** The leader, or who is alone, has everybody read everything, as of one revision. */
  private readonly checkStates = (): void => {
    const { links, memberId, replication, state, store } = this.parts;
    if (!replication.isLeader || this.quarantine.isOn) return;
    const { revision } = store;
    this.states.check(revision);
    const body = Buffer.from(JSON.stringify({ revision }));
    for (const { id } of state.members.list()) {
      if (id === memberId) continue;
      // Members that do not know the question are etcd's, or older: they have their own checks.
      links.request(id, 'POST', STATE_CHECK_PATH, body, 'application/json', STATE_CHECK_TIMEOUT_MS, () => {});
    }
  };

  // -- what other members ask -----------------------------------------------------------------------------------------

  /** Answers on the peer port. */
  route(edge: { route(path: string, handler: PeerHandler): void }): void {
    edge.route(
      REPORT_PATH,
      this.question('GET', (body) => [200, this.compare.report(body)]),
    );
    edge.route(
      STATE_CHECK_PATH,
      this.question('POST', (body) => {
        const revision = revisionIn(body);
        if (revision === null) return [400, ''];
        if (!this.quarantine.isOn) this.states.check(revision);
        return [202, ''];
      }),
    );
    edge.route(
      SNAPSHOT_PATH,
      this.question('POST', (body) => {
        const { logger, state } = this.parts;
        const member = readSnapshotRequest(body);
        if (member === null || state.members.get(member) === undefined) return [400, ''];
        if (this.quarantine.isOn) return [409, ''];
        logger.log('warn', 'another member differs and asks for the state of this one', {
          'remote-peer-id': u64ToHex(member),
        });
        this.resync.sendTo(member, state.confState ?? new ConfState());
        return [202, ''];
      }),
    );
  }

  private question(method: string, answer: (body: Buffer) => readonly [status: number, body: string]): PeerHandler {
    const { clusterId } = this.parts;
    return (request, response) => {
      const asked = request.headers['x-etcd-cluster-id'];
      if (request.method !== method || (asked !== undefined && asked !== u64ToHex(clusterId))) {
        request.resume();
        response.writeHead(request.method === method ? 412 : 405, { 'Content-Type': 'text/plain' }).end();
        return;
      }
      readBody(request, response, BODY_MAX, (body) => {
        const [status, text] = answer(body);
        response.writeHead(status, { 'Content-Type': 'application/json' });
        response.end(text);
      });
    };
  }

  // -- figures --------------------------------------------------------------------------------------------------------

  attachMetrics(registry: MetricRegistry): void {
    const { compare, quarantine, resync, states } = this;
    registry.value('gauge', 'etsd_quarantined', '1 while this member is in quarantine.', () =>
      quarantine.isOn ? 1 : 0,
    );
    registry.value('gauge', 'etsd_compared_index', 'Entry of the log up to which all members were compared.', () =>
      Math.max(0, compare.comparedIndex),
    );
    registry.value(
      'counter',
      'etsd_member_differences_total',
      'Comparisons in which some member differed.',
      () => compare.differencesTotal,
    );
    registry.value(
      'counter',
      'etsd_resyncs_total',
      'States taken from another member because the own one differed.',
      () => resync.healedTotal,
    );
    registry.value('counter', 'etsd_state_checks_total', 'Readings of the whole store.', () => states.checks);
    registry.value(
      'counter',
      'etsd_state_check_failures_total',
      'Readings that found what was there before changed.',
      () => states.failures,
    );
  }
}

function revisionIn(body: Buffer): number | null {
  try {
    const { revision } = JSON.parse(body.toString('utf8')) as { revision?: unknown };
    return Number.isSafeInteger(revision) && (revision as number) > 0 ? (revision as number) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw errorFrom(error);
  }
}
