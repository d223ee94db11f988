/** A range of keys as it is and as it changes, for what keeps a picture of it. */
import type { Event, KeyValue } from '@etsd/proto';
import type { Client } from '../core.ts';
import type { KeyRange } from '../keys.ts';
import { isAborted, isBehindCompaction, persist, type WaitOptions } from './persist.ts';

/** Everything there is, which replaces what was known, or what happened next; each revision whole. */
export type News =
  | { readonly kind: 'all'; readonly revision: number; readonly records: readonly KeyValue[] }
  | { readonly kind: 'events'; readonly revision: number; readonly events: readonly Event[] };

/**
 * Begins with everything, and goes on with the changes, whatever happens to connections. Where the changes were compacted
 * before they could be fetched it begins anew with everything. Ends when the signal is aborted; throws only what no
 * patience mends, such as a lack of permission.
 */
export async function* follow(
  client: Client,
  range: KeyRange,
  { signal }: WaitOptions,
): AsyncGenerator<News, void, undefined> {
  const options = signal === undefined ? {} : { signal };
  while (!isAborted(signal)) {
    try {
      const response = await persist(client, signal, () => client.kv.range(range, options));
      const revision = response.header?.revision ?? 0;
      yield { kind: 'all', revision, records: response.kvs };
      for await (const { events, header } of client.watch(range, { ...options, startRevision: revision + 1 })) {
        if (events.length === 0) continue;
        yield { kind: 'events', revision: events.at(-1)?.kv?.modRevision ?? header?.revision ?? 0, events };
      }
    } catch (error) {
      if (isAborted(signal)) return;
      if (!isBehindCompaction(error)) throw error;
    }
  }
}
