import type { V2Event } from './event.ts';

/** Characters of a text that are looked at. */
const SAMPLES = 64;

/** Takes in numbers that are the same wherever the same was applied (`ChangeDigest`). */
export interface NumberDigest {
  take(number: number): void;
}

/**
 * Takes in a change of the tree, so that members notice who applied another one. Seconds left are not part of it, since each
 * member counts them by its own clock, and indexes neither: the change counts, not how many came before.
 */
export function digestEvent(digest: NumberDigest, { action, node }: V2Event): void {
  takeText(digest, action);
  takeText(digest, node.key);
  takeText(digest, node.expires);
  takeText(digest, node.value ?? '');
  digest.take(node.isDir ? 1 : 0);
}

function takeText(digest: NumberDigest, text: string): void {
  const { length } = text;
  digest.take(length);
  const step = length > SAMPLES ? Math.floor((length - 1) / (SAMPLES - 1)) : 1;
  for (let at = 0; at < length; at += step) digest.take(text.charCodeAt(at));
}
