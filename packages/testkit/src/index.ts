export { Command, parseTranscript, runTranscript } from './datadriven.ts';
export { freePort } from './free-port.ts';
export { forSeeds, mutate } from './fuzz.ts';
export { GoldenDisk } from './golden-disk.ts';
export { findPeer34, findPeerProgram, findProgram, needsPeer, needsPeer34 } from './programs.ts';
export { assertSameShape } from './shapes.ts';
export { makeSmallDisk, removeSmallDisk, sweepSmallDisks } from './small-disk.ts';
export { matchSnapshot } from './snapshot.ts';
