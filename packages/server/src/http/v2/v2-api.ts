/**
 * The API of etcd 2 under `/v2/`, behind `--enable-v2`: keys as a tree with directories, times to live, queues and long
 * polling. Changes go through the log in etcd's own form, so members of both kinds hold the same tree.
 *
 * While authentication is on, all of it is root's: the users and roles of etcd 2 are not kept here, and those of etcd 3
 * say nothing of these keys.
 */
import { errorFrom, u64ToHex } from '@etsd/base';
import { ErrAuthNotEnabled, type EtcdError } from '@etsd/proto';
import type { Guard } from '../../access.ts';
import type { SliceRunner } from '../../api/slice-runner.ts';
import type { ApiHandler, MemberContext } from '../../context.ts';
import type { Quota } from '../../quota.ts';
import type { Caller, Credentials } from '../api/local-call.ts';
import { Sessions } from '../api/sessions.ts';
import type { WebExchange } from '../web-exchange.ts';
import { JSON_TYPE } from './errors.ts';
import { respondDenied } from './key-call.ts';
import { V2Keys } from './keys.ts';
import { V2Members } from './members.ts';
import { type V2Links, V2Statistics } from './statistics.ts';
import { V2WatchHub } from './watch-hub.ts';

export const V2_PREFIX = '/v2/';

export interface V2ApiParts {
  readonly context: MemberContext;
  readonly quota: Quota;
  readonly links: V2Links;
  readonly runner: SliceRunner;
  /** What stands before requests on keys, the innermost first. */
  readonly guards: readonly Guard[];
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
  readonly refusal: () => EtcdError | null;
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
  private readonly keysRoute: Route = {
    methods: ['HEAD', 'GET', 'PUT', 'POST', 'DELETE'],
    isGuarded: true,
    run: (question) => this.keys.serve(question),
  };

  constructor(parts: V2ApiParts) {
    const { context, quota, links, runner, guards } = parts;
    const { v2 } = context.state;
    this.parts = parts;
    this.hub = new V2WatchHub(v2.history);
    v2.listener = this.hub;
    this.keys = new V2Keys({ context, quota, hub: this.hub, runner, guards });
    this.members = new V2Members(context);
    this.statistics = new V2Statistics(context, links, () => this.hub.size);
    this.sessions = new Sessions(() => context.world.clock.nowMs());
  }

  /** Serves a request whose path, decoded, begins with the prefix. `headers`: of every answer. */
  serve(exchange: WebExchange, { path, query }: Url, headers: readonly string[], handlerOf: HandlerOf): void {
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
    const ask = (authorization: string | undefined): void => {
      const caller = new V2Caller(exchange, handlerOf, this.parts.passesIdentity, authorization);
      const question = { exchange, path, query, headers, caller, refusal: () => this.refusalOf(caller) };
      // Requests on keys pass their guards first, which shall see refusals as well.
      if (route.isGuarded !== true && question.refusal() !== null) respondDenied(question);
      else run(question);
    };
    const authorization = exchange.header('authorization');
    // Where nobody is asked who he is, what he says of it does not matter.
    const isBasic = authorization !== undefined && /^Basic /i.test(authorization);
    if (!isBasic || !this.parts.context.access.auth.enabled) ask(isBasic ? undefined : authorization);
    else this.login(exchange, authorization, headers, handlerOf, ask);
  }

  /** Turns a name and a password into a token. */
  private login(
    exchange: WebExchange,
    authorization: string,
    headers: readonly string[],
    handlerOf: HandlerOf,
    ask: (authorization: string | undefined) => void,
  ): void {
    const { passesIdentity, context } = this.parts;
    const caller = new V2Caller(exchange, handlerOf, passesIdentity, undefined);
    this.sessions
      .tokenFor(authorization, caller)
      .then(
        (token) => {
          if (this.refusalOf(new V2Caller(exchange, handlerOf, passesIdentity, token)) !== null) {
            this.sessions.forget(token);
          }
          ask(token);
        },
        (error: unknown) => {
          if ((error as Error).message === ErrAuthNotEnabled.message) ask(undefined);
          else respondDenied({ exchange, headers });
        },
      )
      .catch((error: unknown) => {
        context.logger.log('error', 'a request to /v2 could not be served', { error: errorFrom(error).stack });
        exchange.abort();
      });
  }

  private routeOf(path: string): Route | null {
    if (path === '/v2/keys' || path.startsWith('/v2/keys/')) {
      return this.keysRoute;
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

  private refusalOf({ credentials }: Caller): EtcdError | null {
    return this.parts.context.access.rootError(credentials);
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

/** In whose name a request is made: a token, or a certificate. */
class V2Caller implements Caller, Credentials {
  readonly credentials: Credentials = this;
  readonly handlerOf: HandlerOf;
  private readonly exchange: WebExchange;
  private readonly passesIdentity: boolean;
  private readonly authorization: string | undefined;

  constructor(exchange: WebExchange, handlerOf: HandlerOf, passesIdentity: boolean, authorization: string | undefined) {
    this.exchange = exchange;
    this.handlerOf = handlerOf;
    this.passesIdentity = passesIdentity;
    this.authorization = authorization;
  }

  get peer(): string {
    return this.exchange.peer;
  }

  get peerCommonName(): string {
    return this.passesIdentity ? this.exchange.peerCommonName : '';
  }

  header(name: string): string | undefined {
    if (name === 'authorization') return this.authorization;
    return name === 'grpcgateway-accept' && !this.passesIdentity ? '' : undefined;
  }

  readonly onCancel = (cancel: () => void): void => {
    this.exchange.onGone = cancel;
  };
}

interface Url {
  /** Decoded. */
  readonly path: string;
  /** With its question mark; empty where there is none. */
  readonly query: string;
}

interface Route {
  /** Its own guards say who may. */
  readonly isGuarded?: boolean;
  readonly methods: readonly string[];
  readonly run: (question: V2Question) => void;
}

const TEXT = ['Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff'] as const;
