/**
 * The API of etcd 2 under `/v2/`, behind `--enable-v2`: keys as a tree with directories, times to live, queues and long
 * polling. Changes go through the log in etcd's own form, so members of both kinds hold the same tree.
 *
 * While authentication is on, all of it is root's: the users and roles of etcd 2 are not kept here, and those of etcd 3
 * say nothing of these keys.
 */
import { errorFrom, u64ToHex } from '@etsd/base';
import { ErrAuthNotEnabled } from '@etsd/proto';
import type { ApiHandler, MemberContext } from '../../context.ts';
import type { Quota } from '../../quota.ts';
import type { Caller, Credentials } from '../api/local-call.ts';
import { Sessions } from '../api/sessions.ts';
import type { WebExchange } from '../web-exchange.ts';
import { JSON_TYPE, respondV2Error, V2Error } from './errors.ts';
import { V2Keys } from './keys.ts';
import { V2Members } from './members.ts';
import { type V2Links, V2Statistics } from './statistics.ts';
import { V2WatchHub } from './watch-hub.ts';

export const V2_PREFIX = '/v2/';

export interface V2ApiParts {
  readonly context: MemberContext;
  readonly quota: Quota;
  readonly links: V2Links;
  /** The common name of a client's certificate says who calls. */
  readonly passesIdentity: boolean;
}

/** What one request is answered with. */
export interface V2Question {
  readonly exchange: WebExchange;
  /** Path, decoded. */
  readonly path: string;
  /** With its question mark; empty where there is none. */
  readonly query: string;
  /** Headers of every answer. */
  readonly headers: readonly string[];
  /** In whose name calls are made. */
  readonly caller: Caller;
  /** Why who asks may not, by now; null where he may. */
  readonly refusal: () => string | null;
}

export type { V2Links } from './statistics.ts';
export type HandlerOf = (path: string) => ApiHandler | undefined;

export class V2Api {
  private readonly parts: V2ApiParts;
  private readonly hub: V2WatchHub;
  private readonly keys: V2Keys;
  private readonly members: V2Members;
  private readonly statistics: V2Statistics;
  private readonly sessions: Sessions;

  constructor(parts: V2ApiParts) {
    const { context, quota, links } = parts;
    const { v2 } = context.state;
    this.parts = parts;
    this.hub = new V2WatchHub(v2.history);
    v2.listener = this.hub;
    this.keys = new V2Keys({ context, quota, hub: this.hub });
    this.members = new V2Members(context);
    this.statistics = new V2Statistics(context, links, () => this.hub.size);
    this.sessions = new Sessions(() => context.world.clock.nowMs());
  }

  /** Serves a request whose path, decoded, begins with the prefix. `headers`: of every answer. */
  serve(exchange: WebExchange, url: { path: string; query: string }, headers: readonly string[], of: HandlerOf): void {
    this.answer(exchange, url, headers, of).catch((error: unknown) => {
      if (error instanceof V2Error) {
        respondV2Error(exchange, headers, error);
        return;
      }
      const { logger } = this.parts.context;
      logger.log('error', 'a request to /v2 could not be served', { error: errorFrom(error).stack });
      exchange.abort();
    });
  }

  private async answer(
    exchange: WebExchange,
    { path, query }: { path: string; query: string },
    headers: readonly string[],
    of: HandlerOf,
  ): Promise<void> {
    const route = this.routeOf(path);
    if (route === null) {
      exchange.respond(404, [...headers, ...TEXT], '404 page not found\n');
      return;
    }
    const { methods, run } = route;
    if (!methods.includes(exchange.method)) {
      exchange.respond(405, [...headers, 'Allow', methods.join(','), ...TEXT], 'Method Not Allowed\n');
      return;
    }
    const caller = await this.callerOf(exchange, of);
    const refusal = (): string | null => this.refusalOf(caller.credentials);
    if (refusal() !== null) {
      const challenge = ['WWW-Authenticate', 'Basic realm="etsd"'];
      respondV2Error(exchange, [...headers, ...challenge], new V2Error(110, 'Insufficient credentials'));
      return;
    }
    run({ exchange, path, query, headers, caller, refusal });
  }

  private routeOf(path: string): Route | null {
    if (path === '/v2/keys' || path.startsWith('/v2/keys/')) {
      return { methods: ['HEAD', 'GET', 'PUT', 'POST', 'DELETE'], run: (question) => this.keys.serve(question) };
    }
    if (path === '/v2/members' || path.startsWith('/v2/members/')) {
      return { methods: ['GET', 'POST', 'DELETE', 'PUT'], run: (question) => this.members.serve(question) };
    }
    switch (path) {
      case '/v2/machines':
        return { methods: ['GET', 'HEAD'], run: (question) => this.members.machines(question) };
      case '/v2/stats/self':
        return { methods: ['GET'], run: (question) => this.statistics.self(question) };
      case '/v2/stats/leader':
        return { methods: ['GET'], run: (question) => this.statistics.leader(question) };
      case '/v2/stats/store':
        return { methods: ['GET'], run: (question) => this.statistics.store(question) };
      case '/v2/auth/enable':
        return { methods: ['GET'], run: (question) => this.authentication(question) };
      default:
        return null;
    }
  }

  /** Whether who calls has to show who he is. It is switched on and off by the methods of etcd 3. */
  private authentication({ exchange, headers }: V2Question): void {
    const { access, clusterId } = this.parts.context;
    const cluster = ['X-Etcd-Cluster-Id', u64ToHex(clusterId)];
    exchange.respond(200, [...headers, ...cluster, ...JSON_TYPE], `{"enabled":${access.auth.enabled}}\n`);
  }

  private refusalOf(credentials: Credentials): string | null {
    return this.parts.context.access.rootError(credentials)?.message ?? null;
  }

  /** In whose name: a token, or a name and a password, which are turned into one. */
  private async callerOf(exchange: WebExchange, handlerOf: HandlerOf): Promise<Caller> {
    const { passesIdentity } = this.parts;
    const onCancel = (cancel: () => void): void => {
      exchange.onGone = cancel;
    };
    const callerWith = (authorization: string | undefined): Caller => ({
      handlerOf,
      onCancel,
      credentials: {
        peer: exchange.peer,
        peerCommonName: passesIdentity ? exchange.peerCommonName : '',
        header(name) {
          if (name === 'authorization') return authorization;
          return name === 'grpcgateway-accept' && !passesIdentity ? '' : undefined;
        },
      },
    });
    const authorization = exchange.header('authorization');
    if (authorization === undefined || !/^Basic /i.test(authorization)) return callerWith(authorization);
    // Where nobody is asked who he is, what he says of it does not matter.
    if (!this.parts.context.access.auth.enabled) return callerWith(undefined);
    try {
      const token = await this.sessions.tokenFor(authorization, callerWith(undefined));
      if (this.refusalOf(callerWith(token).credentials) !== null) this.sessions.forget(token);
      return callerWith(token);
    } catch (error) {
      if ((error as Error).message === ErrAuthNotEnabled.message) return callerWith(undefined);
      throw new V2Error(110, 'Insufficient credentials');
    }
  }

  /** Who waits for changes. */
  get watchers(): number {
    return this.hub.size;
  }

  /** Ends all that waits. */
  close(): void {
    this.hub.close();
  }
}

interface Route {
  readonly methods: readonly string[];
  readonly run: (question: V2Question) => void;
}

const TEXT = ['Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff'] as const;
