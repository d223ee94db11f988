/**
 * The engine, loaded when the first file is opened or somebody asks for it: it has native code, and members in memory do
 * without it. It comes as its CommonJS bundle, the same code as its ES modules: those are some twenty files that each are
 * looked up, read, compiled and linked before anything runs, where the functions of one file are compiled when they are
 * called. It is there in half the time, and the first embedded member waits for it.
 */
import { createRequire } from 'node:module';

type Engine = typeof import('lmdb');

let engine: Engine | null = null;

export function loadEngine(): Engine {
  engine ??= createRequire(import.meta.url)('lmdb') as Engine;
  return engine;
}
