/** What simulated members say they are: two releases of one protocol, of which the newer one notes how its data is laid out. */
export const OLD_RELEASE = '3.5.30';
export const NEW_RELEASE = '3.6.1';

/** How the store notes that it is laid out for the new release; for the old one there is no note. */
export const NEW_LAYOUT = '3.6.0';

/** Whether the first of two releases, or versions of a cluster, is the older one, whatever their patch is. */
export function isOlder(version: string, than: string): boolean {
  const minor = (text: string): number => Number(text.split('.')[1] ?? 0);
  return minor(version) < minor(than);
}

/** What was done to the releases of a cluster: by that a member's refusal to start is judged. */
export class Releases {
  isDowngradeAsked = false;
  isCancelAsked = false;
  /** The newest version that any member has applied. */
  newest = '';
  /** What each entry left the version of the cluster at, as whoever came first had it. */
  private readonly settled: string[] = [];

  /** Null, or how members differ. */
  leaves(who: string, index: number, state: string, version: string): string | null {
    if (version !== '' && (this.newest === '' || isOlder(this.newest, version))) this.newest = version;
    const known = this.settled[index];
    this.settled[index] ??= state;
    return known === undefined || known === state ? null : `${who} has ${state} behind entry ${index}, others ${known}`;
  }

  /**
   * Whether a member of this release may refuse to start with these words, and as what it should be started instead; null
   * where it may not.
   */
  excuse(version: string, text: string): string | null {
    if (/lower than determined cluster version/.test(text)) {
      return this.newest !== '' && isOlder(version, this.newest) ? NEW_RELEASE : null;
    }
    if (/not allowed to join when downgrade is enabled/.test(text)) {
      return this.isDowngradeAsked && version === NEW_RELEASE ? OLD_RELEASE : null;
    }
    return null;
  }
}
