/** Makes what authentication needs from the flags: `--auth-token`, `--auth-token-ttl`, `--bcrypt-cost`. */
import { type Logger, OperatorError } from '@etsd/base';
import type { World } from '@etsd/runtime';
import { parseDuration } from './config/values.ts';
import { isSignMethod, JwtKeyError, JwtTokens } from './jwt.ts';
import { BCRYPT_COST_DEFAULT, BCRYPT_COST_MAX, BCRYPT_COST_MIN } from './passwords.ts';
import { SimpleTokens, type Tokens } from './tokens.ts';

const JWT_TTL_MS = 300_000;
const SIMPLE_TTL_MS = 300_000;

/** What `--auth-token` says. */
export interface TokenChoice {
  readonly kind: 'simple' | 'jwt';
  readonly signMethod: string;
  readonly publicKeyFile: string;
  readonly privateKeyFile: string;
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
    const [name, value, ...more] = pair.split('=') as [string, string?, ...string[]];
    if (value === undefined || more.length > 0) return refuse(`invalid token option "${pair}"`);
    if (options.has(name)) return refuse(`invalid token option: "${name}" is given twice`);
    options.set(name, value);
  }
  if (kind !== 'simple' && kind !== 'jwt') return refuse(`unknown token type "${kind}"`);
  const signMethod = options.get('sign-method') ?? '';
  if (kind === 'jwt' && !isSignMethod(signMethod)) return refuse('auth: invalid auth signature method');
  const ttl = options.get('ttl');
  const ttlMs = kind === 'jwt' && ttl !== undefined ? parseDuration(ttl) : JWT_TTL_MS;
  if (ttlMs === undefined) return refuse(`time: invalid duration "${ttl}"`);
  const publicKeyFile = options.get('pub-key') ?? '';
  const privateKeyFile = options.get('priv-key') ?? '';
  return { kind, signMethod, publicKeyFile, privateKeyFile, ttlMs };
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
  if (choice.kind === 'simple') {
    const ttlMs = simpleTtlSeconds > 0 ? simpleTtlSeconds * 1000 : SIMPLE_TTL_MS;
    return new SimpleTokens({ random: world.random, clock: world.clock, timers: world.timers, ttlMs });
  }
  const read = async (path: string) => (path === '' ? null : await readKey(world, path));
  const { signMethod, ttlMs } = choice;
  const privateKey = await read(choice.privateKeyFile);
  const publicKey = await read(choice.publicKeyFile);
  try {
    return new JwtTokens({ clock: world.clock, signMethod, privateKey, publicKey, ttlMs });
  } catch (error) {
    if (error instanceof JwtKeyError) throw new OperatorError(error.message);
    throw error;
  }
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
