/** What docs/embedding.md promises to users of vitest, run by vitest itself (see vitest.test.ts). */
import { memberFixture, memberFor } from '@etsd/server/testing';
import { test as base, expect, vi } from 'vitest';

base('the context of a test closes the member', async (context) => {
  const { client, clock } = await memberFor(context);
  const { ID } = await client.leases.grant(10);
  await client.kv.put('a', '1', { lease: ID });
  await clock.advance(12_000);
  expect(await client.kv.get('a')).toBeNull();
});

const test = base.extend({ etsd: memberFixture() });

test('a fixture gives each test a member of its own: the first', async ({ etsd }) => {
  await etsd.client.kv.put('a', 'first');
  expect((await etsd.client.kv.get('a'))?.value.toString()).toBe('first');
});

test('a fixture gives each test a member of its own: the second', async ({ etsd }) => {
  expect(await etsd.client.kv.get('a')).toBeNull();
});

test('fake timers do not disturb a member with a clock of its own', async ({ etsd }) => {
  vi.useFakeTimers();
  try {
    await etsd.client.kv.put('a', '1');
    await etsd.clock.advance(1000);
    expect((await etsd.client.kv.get('a'))?.value.toString()).toBe('1');
  } finally {
    vi.useRealTimers();
  }
});
