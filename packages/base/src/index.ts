export { AssertionError, assert, isChecked, setChecked, unreachable } from './assert.ts';
export type { Key } from './bytes.ts';
export {
  EMPTY,
  inRange,
  isEmptyRange,
  keyFromBytes,
  keyToBytes,
  OPEN_END,
  prefixEnd,
  successor,
} from './bytes.ts';
export { crc32c, crc32cJoined } from './crc32c.ts';
export { Crc32cMemory } from './crc32c-memory.ts';
export { CorruptionError, errorChain, errorFrom, OperatorError } from './errors.ts';
export { FAULT_POINTS, type FaultPoint, faultPoint, listenToFaultPoints } from './fault-point.ts';
export { cutGradually } from './gradual-cut.ts';
export { Heap, type HeapNode } from './heap.ts';
export { LOG_LEVELS, type LogFields, type Logger, type LogLevel, silentLogger } from './log.ts';
export { BufferPool } from './pool.ts';
export { Prng } from './prng.ts';
export { RingQueue } from './queue.ts';
export type { RecordPlace } from './record-place.ts';
export { ShardedMap } from './sharded-map.ts';
export {
  type U64,
  U64_ZERO,
  u64FromBytes,
  u64FromDecimal,
  u64FromHalves,
  u64FromHex,
  u64FromNumber,
  u64High,
  u64IsNegative,
  u64Low,
  u64ToDecimal,
  u64ToHex,
  u64ToSignedDecimal,
  u64WriteBytes,
} from './u64.ts';
