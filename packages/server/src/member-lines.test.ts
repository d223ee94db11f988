import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Logger } from '@etsd/base';
import { MemberRecord } from '@etsd/state';
import { MemberLines } from './member-lines.ts';

test('changes of the member list are logged, and two members of one name are warned of', () => {
  const lines: string[] = [];
  const logger: Logger = {
    enabled: () => true,
    log: (level, message, fields) => void lines.push(`${level} ${message} ${JSON.stringify(fields)}`),
  };
  const list = ['a', 'b', ''].map((name, index) => new MemberRecord(`000000000000000${index}`, [], false, name));
  const [first, second, unstarted] = list as [MemberRecord, MemberRecord, MemberRecord];
  const memberLines = new MemberLines(logger, { list: () => list });
  memberLines.memberAdded(unstarted);
  memberLines.memberUpdated(unstarted);
  memberLines.memberUpdated(second);
  memberLines.memberRemoved(first.id);
  assert.deepEqual(
    lines.map((line) => line.split(' {')[0]),
    ['info added member', 'info updated member', 'info updated member', 'info removed member'],
  );
  assert.match(lines[3] as string, /"removed-remote-peer-id":"0"/);
  second.name = 'a';
  memberLines.memberUpdated(second);
  assert.match(lines.at(-1) as string, /^warn two members are named "a" \{"member-id":"1","other-member-id":"0"/);
});
