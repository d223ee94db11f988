/** For tests of programs that use the store: a member in the test's own process, and time that passes when told to. */
import type { ClientOptions, EtcdClient } from '@etsd/client';
import { ManualClock, type ManualClockOptions } from '@etsd/runtime/memory';
import { type EmbeddedMember, type EmbedOptions, startMember } from '../embed/start-member.ts';

export { ManualClock, type ManualClockOptions };

/** What `node:test` (`after`) or vitest (`onTestFinished`) hands to a test. Without either the caller closes. */
export interface TestContext {
  after?(callback: () => Promise<void>): void;
  onTestFinished?(callback: () => Promise<void>): void;
}

/** A member for one test, or for one file of them. */
export interface TestMember extends AsyncDisposable {
  readonly member: EmbeddedMember;
  /** Talks to the member inside of this process. */
  readonly client: EtcdClient;
  /** Stands until `advance`: nothing expires before, however slow the machine. */
  readonly clock: ManualClock;
  close(): Promise<void>;
}

export interface TestMemberOptions extends EmbedOptions {
  /** Of `client`. */
  readonly clientOptions?: Omit<ClientOptions, 'endpoints'>;
}

/** Starts a member in memory, without a port unless one is asked for. It is closed when the test is over. */
export async function memberFor(context: TestContext, options: TestMemberOptions = {}): Promise<TestMember> {
  const { clientOptions, ...embedOptions } = options;
  const clock = options.clock ?? new ManualClock();
  const member = await startMember({ ...embedOptions, clock });
  const close = (): Promise<void> => member.close();
  if (context.onTestFinished !== undefined) context.onTestFinished(close);
  else context.after?.(close);
  return { member, client: member.client(clientOptions), clock, close, [Symbol.asyncDispose]: close };
}

type UseFixture = (member: TestMember) => Promise<void>;

/** A fixture for vitest: `test.extend({ etsd: memberFixture() })` gives every test that takes `etsd` a member of its own. */
export function memberFixture(options: TestMemberOptions = {}): (context: object, use: UseFixture) => Promise<void> {
  // vitest reads the names of other fixtures that this one needs out of its source: none.
  // biome-ignore lint/correctness/noEmptyPattern: the form that vitest expects
  return async ({}: object, use: UseFixture) => {
    await using etsd = await memberFor({}, options);
    await use(etsd);
  };
}
