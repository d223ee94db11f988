/**
 * Makes what authentication needs from the flags: `--auth-token`, `--auth-token-ttl`, `--bcrypt-cost`. Files of keys are
 * read again every few seconds; a set of keys at an address when the operator says so, and when a token names a new one.
 */
import { EMPTY, type Logger, OperatorError } from '@etsd/base';
import type { World } from '@etsd/runtime';
import { parseDuration } from './config/values.ts';
import { fetchDocument } from './http/fetch-document.ts';
import { JWKS_BYTES_MAX, JwksError, parseJwks } from './jwks.ts';
import { isSignMethod, JwtKeyError, JwtTokens } from './jwt.ts';
import { JwtKeys } from './jwt-keys.ts';
import { OidcTokens } from './oidc.ts';
import { BCRYPT_COST_DEFAULT, BCRYPT_COST_MAX, BCRYPT_COST_MIN } from './passwords.ts';
import { SimpleTokens, type Tokens } from './tokens.ts';
import { WatchedDocument } from './watched-document.ts';

const JWT_TTL_MS = 300_000;
const SIMPLE_TTL_MS = 300_000;
/** Between two looks at files of keys. */
const LOOK_MS = 2000;
const FETCH_TIMEOUT_MS = 10_000;
const JWKS_REFRESH_MS = 300_000;

/** An identity provider. */
export interface ProviderChoice {
  readonly issuer: string;
  readonly audience: string;
  /** A file or an address. */
  readonly jwks: string;
  /** Authorities of the address's certificate; empty: the system's. */
  readonly caFile: string;
  readonly refreshMs: number;
  readonly usernameClaim: string;
  readonly usernamePrefix: string;
}

/** What `--auth-token` says. */
export interface TokenChoice {
  readonly kind: 'simple' | 'jwt' | 'oidc';
  readonly signMethod: string;
  readonly publicKeyFile: string;
  readonly privateKeyFile: string;
  /** Files of further keys that only verify: `verify-keys=FILE:FILE`. Not in etcd. */
  readonly verifyKeyFiles: readonly string[];
  /** For `oidc`, else null. */
  readonly provider: ProviderChoice | null;
  readonly ttlMs: number;
}

/** Reads the flag. Refuses, in the words of etcd, what it does not know; why is told to `explain`. */
export function parseTokenChoice(text: string, explain: (reason: string) => void): TokenChoice {
  const refuse = (reason: string): never => {
    explain(reason);
    throw new OperatorError('auth: invalid auth options');
  };
  const [kind, ...pairs] = text.split(',');
  const options = new Map<string, string>();
  for (const pair of pairs) {
    const [name, first, ...more] = pair.split('=') as [string, string?, ...string[]];
    // Addresses may have more of them.
    const value = kind === 'oidc' && first !== undefined ? [first, ...more].join('=') : first;
    if (value === undefined || (kind !== 'oidc' && more.length > 0)) return refuse(`invalid token option "${pair}"`);
    if (options.has(name)) return refuse(`invalid token option: "${name}" is given twice`);
    options.set(name, value);
  }
  if (kind !== 'simple' && kind !== 'jwt' && kind !== 'oidc') return refuse(`unknown token type "${kind}"`);
  const signMethod = options.get('sign-method') ?? '';
  if (kind === 'jwt' && !isSignMethod(signMethod)) return refuse('auth: invalid auth signature method');
  const ttl = options.get('ttl');
  const ttlMs = kind === 'jwt' && ttl !== undefined ? parseDuration(ttl) : JWT_TTL_MS;
  if (ttlMs === undefined) return refuse(`time: invalid duration "${ttl}"`);
  const publicKeyFile = options.get('pub-key') ?? '';
  const privateKeyFile = options.get('priv-key') ?? '';
  const verifyKeyFiles = (options.get('verify-keys') ?? '').split(':').filter((path) => path !== '');
  const provider = kind === 'oidc' ? providerOf(options, refuse) : null;
  return { kind, signMethod, publicKeyFile, privateKeyFile, verifyKeyFiles, ttlMs, provider };
}

const PROVIDER_OPTIONS = [
  ...['issuer', 'audience', 'jwks', 'ca', 'refresh', 'username-claim', 'username-prefix', 'allow-unprefixed'],
];

function providerOf(options: ReadonlyMap<string, string>, refuse: (reason: string) => never): ProviderChoice {
  const given = (name: string): string => options.get(name) ?? refuse(`${name}= is missing`);
  for (const name of options.keys()) if (!PROVIDER_OPTIONS.includes(name)) refuse(`unknown option "${name}"`);
  const jwks = given('jwks');
  const isLocal = /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])[:/]/.test(jwks);
  if (/^[a-z]+:\/\//.test(jwks) && !jwks.startsWith('https://') && !isLocal) {
    refuse('jwks= must be a file or an https address: who can change it on the way gives himself any name');
  }
  const refresh = options.get('refresh');
  const refreshMs = refresh === undefined ? JWKS_REFRESH_MS : parseDuration(refresh);
  if (refreshMs === undefined || refreshMs < 1000) return refuse('refresh= must be a duration of a second or more');
  const usernamePrefix = options.get('username-prefix') ?? '';
  if (usernamePrefix === '' && options.get('allow-unprefixed') !== 'true') {
    refuse(
      'username-prefix= is missing: without it the provider can name any user, root too; allow-unprefixed=true allows that',
    );
  }
  return {
    issuer: given('issuer'),
    audience: given('audience'),
    jwks,
    caFile: options.get('ca') ?? '',
    refreshMs,
    usernameClaim: options.get('username-claim') ?? 'sub',
    usernamePrefix,
  };
}

/** The tokens of a member. */
export async function openTokens(
  world: World,
  logger: Logger,
  authToken: string,
  simpleTtlSeconds: number,
): Promise<Tokens> {
  const choice = parseTokenChoice(authToken, (error) =>
    logger.log('error', 'problem loading token options', { error }),
  );
  if (choice.kind === 'jwt') return await openJwt(world, logger, choice);
  const ttlMs = simpleTtlSeconds > 0 ? simpleTtlSeconds * 1000 : SIMPLE_TTL_MS;
  const simple = new SimpleTokens({ random: world.random, clock: world.clock, timers: world.timers, ttlMs });
  return choice.provider === null ? simple : await openOidc(world, logger, choice.provider, simple);
}

async function openJwt(world: World, logger: Logger, choice: TokenChoice): Promise<Tokens> {
  const { signMethod, ttlMs, privateKeyFile, publicKeyFile, verifyKeyFiles } = choice;
  const files = [privateKeyFile, publicKeyFile, ...verifyKeyFiles];
  const read = () => Promise.all(files.map((path) => (path === '' ? EMPTY : readKey(world, path))));
  const material = ([privateKey, publicKey, ...verifyKeys]: readonly Buffer[]) => ({
    signMethod,
    privateKey: privateKeyFile === '' ? null : (privateKey as Buffer),
    publicKey: publicKeyFile === '' ? null : (publicKey as Buffer),
    verifyKeys,
  });
  const contents = await read();
  try {
    const tokens = new WatchedTokens({ clock: world.clock, ttlMs, ...material(contents) });
    const take = (changed: readonly Buffer[]) => tokens.replaceKeys(new JwtKeys(material(changed)));
    const parts = { timers: quiet(world), logger, name: 'keys of tokens', everyMs: LOOK_MS, read, take };
    tokens.follow(new WatchedDocument(parts, contents));
    return tokens;
  } catch (error) {
    if (error instanceof JwtKeyError) throw new OperatorError(error.message);
    throw error;
  }
}

/** Timers that keep no process alive. */
function quiet(world: World): { after(ms: number, fn: () => void): { cancel(): void } } {
  return { after: (ms, fn) => world.timers.after(ms, fn, { ref: false }) };
}

/** Signed tokens whose keys may change. */
class WatchedTokens extends JwtTokens {
  private document: WatchedDocument | null = null;

  follow(document: WatchedDocument): void {
    this.document = document;
    document.start();
  }

  override stop(): void {
    this.document?.stop();
  }
}

async function openOidc(world: World, logger: Logger, provider: ProviderChoice, inner: Tokens): Promise<Tokens> {
  const { jwks, caFile, refreshMs } = provider;
  const isAddress = /^https?:\/\//.test(jwks);
  const ca = caFile === '' ? null : await readKey(world, caFile);
  const options = { bytesMax: JWKS_BYTES_MAX, ca, timeoutMs: FETCH_TIMEOUT_MS };
  const read = async () => [isAddress ? await fetchDocument(jwks, options) : await readKey(world, jwks)];
  const take = ([document]: readonly Buffer[]) => tokens.replaceKeys(parseJwks(document as Buffer));
  const everyMs = isAddress ? refreshMs : LOOK_MS;
  const parts = { timers: quiet(world), logger, name: 'keys of the identity provider', everyMs, read, take };
  let current: readonly Buffer[] | null = null;
  const tokens: OidcTokens = new OidcTokens({
    ...provider,
    clock: world.clock,
    inner,
    onUnknownKey: () => document.ask(),
  });
  if (!isAddress) {
    current = await read();
    try {
      take(current);
    } catch (error) {
      if (error instanceof JwksError) throw new OperatorError(`--auth-token: ${jwks}: ${error.message}`);
      throw error;
    }
  }
  const document = new WatchedDocument(parts, current);
  tokens.follow(document);
  // A provider that is not there must not keep the member from starting: nobody is let in by it until it is.
  if (isAddress) await document.look();
  else document.start();
  return tokens;
}

async function readKey(world: World, path: string): Promise<Buffer> {
  try {
    return await world.disk.readFile(path);
  } catch (error) {
    throw new OperatorError(`--auth-token: can not read ${path}: ${error instanceof Error ? error.message : error}`);
  }
}

/** The cost to hash with: as etcd, the default where bcrypt does not know the one that was asked for. */
export function bcryptCost(asked: number, logger: Logger): number {
  if (asked >= BCRYPT_COST_MIN && asked <= BCRYPT_COST_MAX) return asked;
  logger.log('warn', 'use default bcrypt cost instead of the invalid given cost', {
    'min-cost': BCRYPT_COST_MIN,
    'max-cost': BCRYPT_COST_MAX,
    'default-cost': BCRYPT_COST_DEFAULT,
    'given-cost': asked,
  });
  return BCRYPT_COST_DEFAULT;
}
