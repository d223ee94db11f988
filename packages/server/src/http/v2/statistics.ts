import { type U64, u64ToHex } from '@etsd/base';
import { goString, momentOfMs, momentText } from '@etsd/state';
import type { MemberContext } from '../../context.ts';
import { JSON_TYPE } from './errors.ts';
import type { V2Question } from './v2-api.ts';

/** What is known of the way to another member, in seconds. */
export interface V2Link {
  readonly sentFailures: number;
  readonly sentAppends: number;
  readonly receivedAppends: number;
  readonly roundTrips: {
    readonly count: number;
    readonly sum: number;
    readonly sumOfSquares: number;
    readonly last: number;
    readonly least: number;
    readonly most: number;
  };
}

/** The links to the other members; `HttpTransport` has counters, that of a simulated world none. */
export interface V2Links {
  readonly counters?: ReadonlyMap<U64, V2Link>;
}

/** `/v2/stats/`: the figures of etcd 2. Those of /metrics say more. */
export class V2Statistics {
  private readonly context: MemberContext;
  private readonly links: V2Links;
  private readonly watchers: () => number;
  private readonly startedMs: number;
  private leaderId: U64 = '';
  private leaderSinceMs = 0;

  constructor(context: MemberContext, links: V2Links, watchers: () => number) {
    this.context = context;
    this.links = links;
    this.watchers = watchers;
    this.startedMs = context.world.clock.wallMs();
  }

  self({ exchange, headers }: V2Question): void {
    const { config, memberId, replication, world } = this.context;
    const { leader } = replication;
    const nowMs = world.clock.wallMs();
    if (leader !== this.leaderId) {
      this.leaderId = leader;
      this.leaderSinceMs = nowMs;
    }
    const uptime = `${((nowMs - this.leaderSinceMs) / 1000).toFixed(3)}s`;
    const fields = [
      `"name":${goString(config.name)}`,
      `"id":"${u64ToHex(memberId)}"`,
      `"state":"${replication.isLeader ? 'StateLeader' : 'StateFollower'}"`,
      `"startTime":"${momentText(momentOfMs(this.startedMs))}"`,
      `"leaderInfo":{"leader":"${u64ToHex(leader)}","uptime":"${uptime}","startTime":"${momentText(momentOfMs(this.leaderSinceMs))}"}`,
      `"recvAppendRequestCnt":${this.sum(({ receivedAppends }) => receivedAppends)}`,
      `"sendAppendRequestCnt":${this.sum(({ sentAppends }) => sentAppends)}`,
    ];
    exchange.respond(200, [...headers, ...JSON_TYPE], `{${fields.join(',')}}`);
  }

  private sum(read: (link: V2Link) => number): number {
    let sum = 0;
    for (const link of this.links.counters?.values() ?? []) sum += read(link);
    return sum;
  }

  leader({ exchange, headers }: V2Question): void {
    const { memberId, replication } = this.context;
    if (!replication.isLeader) {
      exchange.respond(403, [...headers, ...JSON_TYPE], '{"message":"not current leader"}');
      return;
    }
    const followers = [...(this.links.counters ?? [])].map(([id, link]) => `"${u64ToHex(id)}":${followerJson(link)}`);
    const json = `{"leader":"${u64ToHex(memberId)}","followers":{${followers.join(',')}}}`;
    exchange.respond(200, [...headers, ...JSON_TYPE], json);
  }

  store({ exchange, headers }: V2Question): void {
    exchange.respond(200, [...headers, ...JSON_TYPE], this.context.state.v2.stats.json(this.watchers()));
  }
}

/** Times in milliseconds. */
function followerJson({ sentFailures, roundTrips }: V2Link): string {
  const { count, sum, sumOfSquares, last, least, most } = roundTrips;
  const average = count === 0 ? 0 : sum / count;
  const deviation = count === 0 ? 0 : Math.sqrt(Math.max(0, sumOfSquares / count - average ** 2));
  const latency = [
    ['current', last],
    ['average', average],
    ['standardDeviation', deviation],
    ['minimum', least],
    ['maximum', most],
  ] as const;
  const times = latency.map(([name, seconds]) => `"${name}":${Number((seconds * 1000).toFixed(6))}`).join(',');
  return `{"latency":{${times}},"counts":{"fail":${sentFailures},"success":${count}}}`;
}
