export type { Clock } from './clock.ts';
export {
  type Disk,
  type DiskCallback,
  type DiskFile,
  diskError,
  type FileStat,
  hasCode,
  joinPath,
  type Lock,
  type LockedFiles,
  type OpenAccess,
  type OpenOptions,
  PlainLockedFiles,
  parentPath,
  type ReadCallback,
} from './disk.ts';
export type { Names, ServiceRecord } from './names.ts';
export type * from './network.ts';
export { networkOf } from './network-of.ts';
export type { Random } from './random.ts';
export { removeGradually } from './remove-gradually.ts';
export { FileCipher, NONCE_BYTES, TAG_BYTES } from './sealed/file-cipher.ts';
export { KeyRing, type RingKey } from './sealed/key-ring.ts';
export { SealedDisk, withoutSealing } from './sealed/sealed-disk.ts';
export { openContent, SealedFile, sealContent, sealedStream } from './sealed/sealed-file.ts';
export {
  isSealed,
  MissingKeyError,
  readSealHead,
  refuseSealed,
  SEAL_HEAD_BYTES,
  type SealedHead,
  type SealHead,
  Sealing,
  SealKind,
} from './sealed/sealing.ts';
export type { Timer, TimerOptions, Timers } from './timers.ts';
export type { Talk, TalkListener, ThreadParts, Workers } from './workers.ts';
export type { World } from './world.ts';
