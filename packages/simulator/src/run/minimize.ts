/**
 * The smallest part of a list that still fails, nearly: no single element of what is left can be left out. Larger parts are
 * tried first, so that a long list of which little matters takes few tries (Zeller and Hildebrandt, "Simplifying and
 * isolating failure-inducing input", 2002).
 */
export async function minimizeList<Item>(
  items: readonly Item[],
  fails: (items: readonly Item[]) => Promise<boolean>,
): Promise<readonly Item[]> {
  let kept = items;
  if (kept.length > 0 && (await fails([]))) return [];
  let parts = 2;
  while (kept.length > 1) {
    const size = Math.ceil(kept.length / parts);
    let isSmaller = false;
    for (let from = 0; from < kept.length; from += size) {
      const rest = [...kept.slice(0, from), ...kept.slice(from + size)];
      if (rest.length === kept.length || !(await fails(rest))) continue;
      kept = rest;
      parts = Math.max(2, parts - 1);
      isSmaller = true;
      break;
    }
    if (isSmaller) continue;
    if (size === 1) break;
    parts = Math.min(kept.length, parts * 2);
  }
  return kept;
}

/** A way to make a thing smaller; null where it is as small as this way can make it. */
export type Step<Thing> = (thing: Thing) => Thing | null;

/** Takes every step again and again as long as what comes of it still fails. */
export async function minimizeBySteps<Thing>(
  thing: Thing,
  steps: readonly Step<Thing>[],
  fails: (thing: Thing) => Promise<boolean>,
): Promise<Thing> {
  let kept = thing;
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false;
    for (const step of steps) {
      for (let next = step(kept); next !== null && (await fails(next)); next = step(kept)) {
        kept = next;
        isSmaller = true;
      }
    }
  }
  return kept;
}
