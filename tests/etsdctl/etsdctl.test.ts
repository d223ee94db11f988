import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import type { Command } from '../../packages/cli/src/ctl/command.ts';
import { ETSDCTL } from '../../packages/cli/src/ctl/program.ts';
import { findCommand } from '../../packages/cli/src/ctl/tree.ts';
import { FORMATS } from '../etcdctl/steps.ts';
import { compare } from './compare.ts';
import { CHAPTERS } from './steps.ts';

const skip = needsPeer('etcd', 'etcdctl');
let total = 0;

/** Not compared: the scripts are other texts on purpose, and etcdctl 3.5 does not have the others. */
const OURS_ALONE = /^(completion .*|options|downgrade .*|log-level|top)$/;

function leaves(commands: readonly Command[], path: readonly string[] = []): string[] {
  return commands.flatMap(({ name, commands: below }) =>
    below === undefined ? [[...path, name].join(' ')] : leaves(below, [...path, name]),
  );
}

/** Commands with the writer that they are to print with, of all chapters. */
function covered(): Set<string> {
  const pairs = new Set<string>();
  for (const { args, env } of Object.values(CHAPTERS).flat()) {
    let path: readonly string[];
    try {
      ({ path } = findCommand(ETSDCTL, args));
    } catch {
      continue; // A mistake on purpose.
    }
    const line = args.join(' ');
    const writer = /(?:-w[ =]?|--write-out[= ])(\w+)/.exec(line)?.[1] ?? env?.['ETCDCTL_WRITE_OUT'] ?? 'simple';
    pairs.add(`${path.join(' ')} -w ${writer}`);
  }
  return pairs;
}

test('every command is compared in every writer', (context) => {
  const pairs = covered();
  const commands = leaves(ETSDCTL.commands).filter((command) => !OURS_ALONE.test(command));
  const missing = commands.flatMap((command) =>
    FORMATS.map((format) => `${command} -w ${format}`).filter((pair) => !pairs.has(pair)),
  );
  assert.deepEqual(missing, []);
  context.diagnostic(`${commands.length} commands, each in ${FORMATS.length} writers`);
});

for (const [name, chapter] of Object.entries(CHAPTERS)) {
  // Goal: a script written for etcdctl works with etsdctl: same output to the byte, same exit code, same errors.
  test(`etsdctl prints what etcdctl prints: ${name}`, { skip }, async (context) => {
    const { compared, difference } = await compare('etcd', chapter);
    total += compared;
    context.diagnostic(`${compared} commands compared`);
    assert.equal(difference, null);
  });
}

after(() => {
  if (total > 0) console.log(`etsdctl: ${total} commands compared with etcdctl's`);
});
