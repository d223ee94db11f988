/** One workload by name, from connections to numbers. */
import type { Dial, LoadChannel } from './channel.ts';
import { Histogram } from './histogram.ts';
import { runLease } from './lease-load.ts';
import { runLoad, type UnarySource } from './load.ts';
import type { LoadOptions } from './options.ts';
import { putSource, rangeSource, txnMixedSource, txnPutSource } from './sources.ts';
import { runWatch } from './watch-load.ts';

export const VERBS = ['put', 'range', 'txn-put', 'txn-mixed', 'watch', 'watch-latency', 'lease'] as const;
export type Verb = (typeof VERBS)[number];

export interface Outcome {
  verb: Verb;
  /** What is counted: requests, or events that arrived. */
  unit: 'requests' | 'events';
  operations: number;
  errors: number;
  firstError: string;
  seconds: number;
  perSecond: number;
  /** Of everything; and apart where a workload has two kinds of request. */
  latency: Histogram;
  parts: { name: string; latency: Histogram }[];
}

export function isVerb(text: string | undefined): text is Verb {
  return (VERBS as readonly (string | undefined)[]).includes(text);
}

const SOURCES: Partial<Record<Verb, (options: LoadOptions) => UnarySource>> = {
  put: putSource,
  range: rangeSource,
  'txn-put': txnPutSource,
  'txn-mixed': txnMixedSource,
};

export async function openChannels(dial: Dial, options: LoadOptions): Promise<LoadChannel[]> {
  const channels: LoadChannel[] = [];
  for (let index = 0; index < options.conns; index++) {
    channels.push(await dial(options.endpoints[index % options.endpoints.length] as string));
  }
  return channels;
}

/** Runs the workload once; `measuring` is called when preparations are over and the load begins. */
export async function runVerb(
  verb: Verb,
  options: LoadOptions,
  channels: readonly LoadChannel[],
  measuring: () => void = () => {},
): Promise<Outcome> {
  if (verb === 'watch' || verb === 'watch-latency') return runWatchVerb(verb, options, channels, measuring);
  const make = SOURCES[verb];
  let result: Awaited<ReturnType<typeof runLease>>;
  if (make === undefined) result = await runLease(channels, options, measuring);
  else {
    const source = make(options);
    measuring();
    result = await runLoad(channels, source, options);
  }
  const latency = new Histogram();
  for (const part of result.histograms) latency.add(part);
  const names = ['writes', 'reads'];
  const parts = result.histograms.map((histogram, kind) => ({ name: names[kind] as string, latency: histogram }));
  return {
    verb,
    unit: 'requests',
    operations: result.done,
    errors: result.errors,
    firstError: result.firstError,
    seconds: result.seconds,
    perSecond: result.seconds > 0 ? result.done / result.seconds : 0,
    latency,
    parts: verb === 'txn-mixed' ? parts : [],
  };
}

async function runWatchVerb(
  verb: Verb,
  options: LoadOptions,
  channels: readonly LoadChannel[],
  measuring: () => void,
): Promise<Outcome> {
  const adjusted = verb === 'watch-latency' && options.putRate === 0 ? { ...options, putRate: 100 } : options;
  const result = await runWatch(channels, channels[0] as LoadChannel, adjusted, measuring);
  return {
    verb,
    unit: 'events',
    operations: result.events,
    errors: result.errors,
    firstError: result.firstError,
    seconds: result.seconds,
    perSecond: result.seconds > 0 ? result.events / result.seconds : 0,
    latency: result.histogram,
    parts: [],
  };
}
