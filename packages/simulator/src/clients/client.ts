import { GrpcChannel, Metadata, RpcError, StatusCode } from '@etsd/rpc';
import type { World } from '@etsd/runtime';
import type { KvOperation, Outcome, Step } from '../checkers/history.ts';
import type { SimCluster } from '../cluster/cluster.ts';
import { CLIENT_PORT, type SimMember } from '../cluster/member.ts';
import { answerOf, requestOf, type Wish } from './kv-codec.ts';

/** A connection that was silent so often is given up. */
const SILENCES_MAX = 2;

/** What came back: the bytes of a response, or why there are none. */
export interface Answer {
  readonly code: number;
  readonly message: string;
  readonly bytes: Buffer | null;
}

/** Errors after which nothing has happened and nothing will. Whatever else comes says nothing. */
const REFUSALS = [
  'requested lease not found',
  'too many requests',
  'required revision has been compacted',
  'required revision is a future revision',
  'duplicate key given',
  'lease already exists',
  'permission denied',
  'invalid auth token',
  'user name is empty',
  'revision in auth store is old',
];

export function outcomeOf({ code, message }: Answer): Outcome {
  if (code === StatusCode.OK) return 'ok';
  return REFUSALS.some((refusal) => message.includes(refusal)) ? 'failed' : 'unknown';
}

/** Connections of one client machine, one to each member it has talked to. */
export class SimClient {
  readonly world: World;
  readonly cluster: SimCluster;
  /** Shown with each call; empty for nobody. */
  token = '';
  /** Calls without an answer, one after the other. */
  private silences = 0;
  private readonly channels = new Map<string, GrpcChannel>();
  private shown: Metadata | null = null;
  private shownToken = '';

  constructor(cluster: SimCluster, world: World) {
    this.cluster = cluster;
    this.world = world;
  }

  get nowMs(): number {
    return this.cluster.nowMs;
  }

  channel(member: SimMember): GrpcChannel {
    let channel = this.channels.get(member.name);
    if (channel === undefined) {
      const options = { backoffMs: 50, backoffMaxMs: 300, dial: { connectTimeoutMs: 1000 } };
      channel = new GrpcChannel(this.world, { host: member.name, port: CLIENT_PORT }, options);
      this.channels.set(member.name, channel);
    }
    return channel;
  }

  /** One for as long as the token is the same: connections keep the headers that they have written with it. */
  metadata(): Metadata | null {
    const { token } = this;
    if (token === '') return null;
    if (this.shown === null || this.shownToken !== token) {
      this.shown = Metadata.of({ token });
      this.shownToken = token;
    }
    return this.shown;
  }

  /** Drops the connection, as a client does that finds it silent. */
  hangUp(member: SimMember): void {
    this.silences = 0;
    this.channels.get(member.name)?.close();
    this.channels.delete(member.name);
  }

  async call(member: SimMember, path: string, request: Buffer, timeoutMs: number): Promise<Answer> {
    try {
      const bytes = await this.channel(member).unary(path, request, { timeoutMs, metadata: this.metadata() });
      this.silences = 0;
      return { code: StatusCode.OK, message: '', bytes };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      // Behind a silent connection the next call would wait as long.
      if (error.code === StatusCode.DEADLINE_EXCEEDED && ++this.silences >= SILENCES_MAX) this.hangUp(member);
      return { code: error.code, message: error.message, bytes: null };
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.world.timers.after(ms, resolve));
  }

  close(): void {
    for (const channel of this.channels.values()) channel.close();
    this.channels.clear();
  }

  /** One operation at one member, as histories have it. */
  async kv(number: number, member: SimMember, wish: Wish, timeoutMs: number): Promise<KvOperation> {
    const { run } = member;
    const start = this.nowMs;
    const { path, bytes } = requestOf(wish);
    const answer = await this.call(member, path, bytes, timeoutMs);
    const end = this.nowMs;
    const { serializable, compares, success, failure } = wish;
    const { revision, term, succeeded, results } = answerOf(wish, answer.bytes);
    return {
      type: 'kv',
      client: number,
      member: member.name,
      // An answer that came while the process changed may be of either: it gets a number of its own.
      run: run === member.run ? run : -Math.floor(start * 1000),
      start,
      end,
      serializable,
      compares,
      success,
      failure,
      outcome: outcomeOf(answer),
      error: answer.message,
      revision,
      term,
      succeeded,
      results,
    };
  }
}

export const range = (key: string, end: string, revision = 0, limit = 0): Step => ({
  do: 'range',
  key,
  end,
  revision,
  limit,
});
