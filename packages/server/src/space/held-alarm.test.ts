import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { silentLogger } from '@etsd/base';
import { AlarmType } from '@etsd/proto';
import { Alarms } from '@etsd/state';
import { HeldAlarm } from './held-alarm.ts';

const ME = '00000000000000aa';
const OTHER = '00000000000000bb';

// Goal: a restart does not make an operator's alarm one that the member clears.
test('an alarm that an operator raised is known after a restart, until it is cleared', async () => {
  const files = new Map<string, Buffer>();
  const disk = {
    stat: async (path: string) => (files.has(path) ? { size: 1, isDirectory: false, modifiedMs: 0 } : null),
    writeFileAtomic: async (path: string, bytes: Buffer) => void files.set(path, bytes),
    remove: async (path: string) => void files.delete(path),
  };
  const backend = new MemoryBackend();
  const begin = async (): Promise<{ alarms: Alarms; note: HeldAlarm }> => {
    const alarms = new Alarms(backend);
    const note = new HeldAlarm({ disk, path: '/m/held', alarms, memberId: ME, logger: silentLogger });
    await note.open();
    return { alarms, note };
  };
  const first = await begin();
  first.alarms.activate(ME, AlarmType.NOSPACE, false);
  first.alarms.activate(OTHER, AlarmType.NOSPACE, true);
  await first.note.settled();
  assert.equal(files.size, 0, 'neither its own nor that of another member');
  first.alarms.activate(ME, AlarmType.NOSPACE, true);
  await first.note.settled();
  assert.equal(files.size, 1);
  const second = await begin();
  assert.equal(second.alarms.isHeld(ME, AlarmType.NOSPACE), true);
  second.alarms.deactivate(ME, AlarmType.NOSPACE);
  await second.note.settled();
  assert.equal(files.size, 0);
  const third = await begin();
  third.alarms.activate(ME, AlarmType.NOSPACE, false);
  assert.equal(third.alarms.isHeld(ME, AlarmType.NOSPACE), false);
});
