import type { Logger } from '@etsd/base';
import type { TlsOptions, World } from '@etsd/runtime';
import type { MemberConfig } from '../config/config.ts';

/** What every step of a start is given. */
export interface BootstrapParts {
  readonly world: World;
  readonly config: MemberConfig;
  readonly logger: Logger;
  /** What this member shows where it asks others over https; null where peer TLS is not set up. */
  readonly tls: TlsOptions | null;
  /** What this member is; default `PROTOCOL_VERSION`. */
  readonly serverVersion?: string;
}

/** Members by name, each with its peer URLs, and the token that tells this cluster from others of the same members. */
export interface ClusterPlan {
  readonly members: ReadonlyMap<string, readonly string[]>;
  readonly token: string;
}
