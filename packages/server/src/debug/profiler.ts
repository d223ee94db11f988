/** Profiles in the engine's own form; what of it is used here. */

export interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  /** From 0 on; below 0 where there is none. */
  readonly lineNumber: number;
}

export interface CpuNode {
  readonly id: number;
  readonly callFrame: CallFrame;
  readonly children?: readonly number[];
}

export interface CpuProfile {
  readonly nodes: readonly CpuNode[];
  /** Microseconds of a clock of its own. */
  readonly startTime: number;
  readonly endTime: number;
  /** Ids of the nodes that were found running, and the microseconds between two such looks. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface HeapNode {
  readonly callFrame: CallFrame;
  /** Bytes allocated here and still there. */
  readonly selfSize: number;
  readonly children: readonly HeapNode[];
}

export interface HeapProfile {
  readonly head: HeapNode;
}

/** What makes profiles of the process that a member runs in. */
export interface Profiler {
  readonly cpuIntervalUs: number;
  readonly heapIntervalBytes: number;
  readonly commandLine: readonly string[];
  /** Looks at what runs until `wait` resolves. One at a time. */
  cpu(wait: () => Promise<void>): Promise<CpuProfile>;
  /** Who allocated what is still there of what was allocated since the profiler was started. */
  heap(): Promise<HeapProfile>;
}
