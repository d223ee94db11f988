/** What operators do to a cluster that runs: one worker for each chore, now and then. */
import type { Prng } from '@etsd/base';
import {
  AlarmAction,
  AlarmRequest,
  AlarmResponse,
  AlarmType,
  CompactionRequest,
  DefragmentRequest,
  HashKVRequest,
  HashKVResponse,
  MoveLeaderRequest,
  SnapshotRequest,
} from '@etsd/proto';
import { type ClientCall, StatusCode } from '@etsd/rpc';
import type { SimMachine } from '@etsd/runtime/sim';
import type { HashRecord } from '../checkers/history.ts';
import { outcomeOf } from './client.ts';
import type { Shared } from './shared.ts';
import { Worker } from './workers.ts';

const PATIENCE_MS = 5000;

export abstract class Chore extends Worker {
  private readonly meanMs: number;

  constructor(shared: Shared, machine: SimMachine, prng: Prng, number: number, meanMs: number) {
    super(shared, machine, prng, number);
    this.meanMs = meanMs;
  }

  protected pauseMs(): number {
    return this.meanMs;
  }

  protected override async step(): Promise<boolean> {
    this.move();
    await this.pause(this.prng.float() * this.pauseMs());
    return this.shared.isOver ? true : await this.work();
  }

  protected abstract work(): Promise<boolean>;
}

/** Forgets what is old. */
export class Compactor extends Chore {
  private compacted = 0;

  protected async work(): Promise<boolean> {
    const { shared, plan, prng } = this;
    const revision = Math.min(shared.recorded, shared.revision - plan.keptRevisions);
    if (revision <= this.compacted) return true;
    const physical = prng.chance(0.3);
    const start = this.client.nowMs;
    const request = CompactionRequest.encode(CompactionRequest.create({ revision, physical }));
    const answer = await this.call('/etcdserverpb.KV/Compact', request, PATIENCE_MS);
    const { message: error } = answer;
    shared.records.push({
      type: 'compact',
      revision,
      start,
      end: this.client.nowMs,
      outcome: outcomeOf(answer),
      error,
    });
    this.compacted = revision;
    if (answer.code === StatusCode.OK) shared.compacted = Math.max(shared.compacted, revision);
    return answer.code === StatusCode.OK;
  }
}

export class Defragmenter extends Chore {
  protected async work(): Promise<boolean> {
    const request = DefragmentRequest.encode(new DefragmentRequest());
    const { code } = await this.call('/etcdserverpb.Maintenance/Defragment', request, PATIENCE_MS);
    return code === StatusCode.OK;
  }
}

/** Reads a whole snapshot, and throws it away. */
export class Snapshotter extends Chore {
  protected work(): Promise<boolean> {
    return new Promise((resolve) => {
      let bytes = 0;
      const receiver = {
        message: (_call: ClientCall, _bytes: Buffer, start: number, end: number): void => {
          bytes += end - start;
        },
        closed: (_call: ClientCall, code: number, message: string): void => {
          const outcome = code === StatusCode.OK ? `${bytes} bytes` : message;
          this.shared.cluster.trace.detail(this.name, `${this.member.name} snapshot → ${outcome}`);
          resolve(code === StatusCode.OK);
        },
      };
      const options = { timeoutMs: PATIENCE_MS, metadata: this.client.metadata() };
      const call = this.client.channel(this.member).start('/etcdserverpb.Maintenance/Snapshot', receiver, options);
      call.sendLast(SnapshotRequest.encode(new SnapshotRequest()));
    });
  }
}

/** Asks every member for its digest of the same revision. */
export class Hasher extends Chore {
  protected async work(): Promise<boolean> {
    const { revision } = this.shared;
    for (const member of this.shared.cluster.current) {
      this.member = member;
      const record = await this.hash(revision);
      if (record !== null) this.shared.records.push(record);
    }
    return true;
  }

  private async hash(revision: number): Promise<HashRecord | null> {
    const { member } = this;
    const request = HashKVRequest.encode(HashKVRequest.create({ revision }));
    const { bytes } = await this.call('/etcdserverpb.Maintenance/HashKV', request);
    if (bytes === null) return null;
    const { hash, compactRevision } = HashKVResponse.decode(bytes);
    return { type: 'hash', member: member.name, revision, compactRevision, hash };
  }
}

/** Clears the alarms that full disks have raised, as an operator does who has made room. */
export class AlarmClearer extends Chore {
  protected async work(): Promise<boolean> {
    const ask = async (request: Partial<AlarmRequest>) =>
      await this.call(
        '/etcdserverpb.Maintenance/Alarm',
        AlarmRequest.encode(AlarmRequest.create(request)),
        PATIENCE_MS,
      );
    const { bytes } = await ask({ action: AlarmAction.GET });
    if (bytes === null) return false;
    for (const { memberID, alarm } of AlarmResponse.decode(bytes).alarms) {
      if (alarm !== AlarmType.NOSPACE) {
        this.shared.cluster.broke('no corruption', `member ${memberID} raised alarm ${alarm}`);
        return true;
      }
      await ask({ action: AlarmAction.DEACTIVATE, memberID, alarm });
    }
    return true;
  }
}

export class LeaderMover extends Chore {
  protected async work(): Promise<boolean> {
    const { cluster } = this.shared;
    // A new leader gives each lease its whole time again, so that none would ever run out.
    if (cluster.net.isCalm) return true;
    this.member = cluster.leader ?? this.member;
    const targetID = this.prng.pick(cluster.current).member?.replication.memberId;
    if (targetID === undefined) return true;
    const request = MoveLeaderRequest.encode(MoveLeaderRequest.create({ targetID }));
    return (await this.call('/etcdserverpb.Maintenance/MoveLeader', request, PATIENCE_MS)).code === StatusCode.OK;
  }
}
