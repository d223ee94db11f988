import { KeyRing, SealedDisk, Sealing, type World } from '@etsd/runtime';
import { nodeWorld, readSecretFile, runSecretCommand } from '@etsd/runtime/node';
import { keySource, sourceName } from '@etsd/server/files';
import type { FlagValues } from '../ctl/flags.ts';

const machine = nodeWorld();

/** Without a key until they are loaded: what is encrypted is told as such. */
export const sealing: Sealing = new Sealing(KeyRing.empty, machine.random);

/** The machine this program runs on; shared, since it holds threads that must be ended once. */
export const world: World & { readonly disk: SealedDisk } = { ...machine, disk: new SealedDisk(machine.disk, sealing) };

/** Reads the keys that the flags name, if they name any; none are at hand otherwise. */
export async function loadKeys(flags: FlagValues): Promise<void> {
  const source = keySource(flags.text('encryption-key-file'), flags.text('encryption-key-command'));
  sealing.keys = KeyRing.empty;
  if (source === null) return;
  const content = await (source.file === '' ? runSecretCommand(source.command) : readSecretFile(source.file));
  sealing.keys = KeyRing.parse(content, sourceName(source));
}

/** From source these files are TypeScript, in a published package JavaScript. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** Where a module of this folder is that is to run in a thread of its own. */
export function threadModule(name: string): string {
  return new URL(`./${name}.${EXTENSION}`, import.meta.url).href;
}
