/**
 * Two servers with the same users judge the same random requests: `node tests/auth/compare.ts --count 50000 [--seed N]`
 * prints where they differ.
 */
import { parseArgs } from 'node:util';
import type { Product } from '../support/server.ts';
import { type Ask, Chance, change, request, USERS } from './requests.ts';
import { Side } from './side.ts';

/** The request was not decided in time. */
const LATE = /request timed out|Deadline exceeded|deadline exceeded/;
/** Requests between two changes of rights. */
const CHANGE_EVERY = 12;

export interface Comparison {
  readonly seed: number;
  readonly count: number;
  readonly left: Product;
  readonly right: Product;
}

/** How often each decision fell, and the first that differs, as text; null where none does. */
export interface Verdict {
  readonly decisions: Map<string, number>;
  readonly difference: string | null;
}

export async function compare({ seed, count, left, right }: Comparison): Promise<Verdict> {
  const sides = await Promise.all([Side.start(left), Side.start(right)]);
  try {
    return await judge(sides as [Side, Side], new Chance(seed), count);
  } finally {
    await Promise.all(sides.map((side) => side.dispose()));
  }
}

async function judge([left, right]: [Side, Side], chance: Chance, count: number): Promise<Verdict> {
  const decisions = new Map<string, number>();
  for (let index = 0; index < count; index++) {
    const isChange = index % CHANGE_EVERY === 0;
    const user = isChange || chance.one(12) ? 'root' : chance.pick([...USERS, ...USERS, '']);
    const ask = isChange ? change(chance) : request(chance);
    const [one, other] = await Promise.all([left.decide(user, ask), right.decide(user, ask)]);
    if (LATE.test(one) || LATE.test(other)) {
      // Nobody decided: the machine was busy with other things. Whoever was late may have done it or not; once more, then
      // both have.
      if (LATE.test(one)) await settled(left, user, ask);
      if (LATE.test(other)) await settled(right, user, ask);
      decisions.set('late', (decisions.get('late') ?? 0) + 1);
      continue;
    }
    if (one !== other) {
      const text = JSON.stringify(ask, (_name, value) =>
        value?.type === 'Buffer' ? Buffer.from(value.data as number[]).toString('latin1') : value,
      );
      const role = await left.asRoot('Auth/UserGet', { name: user === '' ? 'root' : user });
      const roles = role['roles'] as string[];
      const rights = await Promise.all(roles.map((name) => left.asRoot('Auth/RoleGet', { role: name })));
      const known = JSON.stringify(rights.map((right) => right['perm']));
      return {
        decisions,
        difference: `request ${index} of ${user || 'nobody'}: ${text}\n  left: ${one}\n  right: ${other}\n  rights: ${known}`,
      };
    }
    decisions.set(one, (decisions.get(one) ?? 0) + 1);
  }
  return { decisions, difference: null };
}

/** Asks until there is an answer. */
async function settled(side: Side, user: string, ask: Ask): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    if (!LATE.test(await side.decide(user, ask))) return;
  }
  throw new Error(`no answer to ${ask.method}`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '50000' },
      seed: { type: 'string', default: String(process.pid) },
      left: { type: 'string', default: 'etcd' },
      right: { type: 'string', default: 'etsd' },
    },
  });
  const { left, right } = values as { left: Product; right: Product };
  const { decisions, difference } = await compare({
    seed: Number(values.seed),
    count: Number(values.count),
    left,
    right,
  });
  console.log(`seed ${values.seed}: ${difference ?? 'the same decisions'}`);
  for (const [decision, times] of [...decisions].sort(([, a], [, b]) => b - a)) console.log(`${times}\t${decision}`);
  if (difference !== null) process.exitCode = 1;
}
