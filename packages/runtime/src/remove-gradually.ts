import { cutGradually } from '@etsd/base';
import type { World } from './world.ts';

/**
 * Removes a file that may be large without holding up those who sync to the same disk (`cutGradually`). A crash may leave
 * it shorter, so its name must say already that nobody needs it. No error where there is nothing.
 */
export async function removeGradually({ disk, timers }: Pick<World, 'disk' | 'timers'>, path: string): Promise<void> {
  const size = (await disk.stat(path))?.size ?? 0;
  if (size > 0) {
    const file = await disk.open(path, 'write');
    try {
      const rest = (ms: number): Promise<void> => new Promise((resolve) => timers.after(ms, resolve, { ref: false }));
      await cutGradually(size, 0, (length) => file.truncate(length), rest);
    } finally {
      await file.close();
    }
  }
  await disk.remove(path);
}
