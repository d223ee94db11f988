/**
 * What clients saw of locks and elections, as plain data. The keys under `lock/` and `poll/` are places in queues, written by
 * the services of the members and by the recipes of the client; those under `fence/` are what holders write while they hold.
 */
import type { KeyRecord, Outcome } from './history.ts';

/** Somebody asked for a place in a queue, answered or not; an election's place shows what its candidate would proclaim. */
export interface StandRecord {
  readonly type: 'stand';
  readonly key: string;
  readonly value: string;
  readonly start: number;
}

/** Somebody was told that it is its turn. */
export interface TenureRecord {
  readonly type: 'tenure';
  /** What is held: `lock/0`. */
  readonly name: string;
  /** The place. */
  readonly key: string;
  /** A revision at which the answer says that the place stood. */
  readonly revision: number;
  readonly start: number;
  readonly end: number;
}

/** What a holder wrote on the condition that it still is one: a key beside, or its own place where it proclaims. */
export interface FencedRecord {
  readonly type: 'fenced';
  readonly key: string;
  /** Nobody else writes the same. */
  readonly value: string;
  readonly start: number;
  readonly end: number;
  readonly outcome: Outcome;
  /** Of an answer; else 0. */
  readonly revision: number;
}

/** Somebody gave a place up, or let a call go that would have taken it: from then on it may be deleted. */
export interface GivenUpRecord {
  readonly type: 'given up';
  readonly key: string;
  readonly start: number;
}

/** Who led, as a member or a recipe told. */
export interface LeaderRecord {
  readonly type: 'leader';
  readonly name: string;
  /** Of answers that belong together, one observation of one observer; 0 for one that was asked for alone. */
  readonly stream: number;
  /** Null: nobody did. */
  readonly kv: KeyRecord | null;
  /** As of which it says so; 0 where it does not say. */
  readonly revision: number;
  readonly start: number;
  readonly end: number;
}

/** A lease that a client kept alive by itself, and when it said that it is lost. */
export interface HeldRecord {
  readonly type: 'held';
  readonly lease: string;
  readonly ttlMs: number;
  /** Infinity: to the end of the run it was not. */
  lostAt: number;
}

export type TenurePart = StandRecord | TenureRecord | FencedRecord | GivenUpRecord | LeaderRecord | HeldRecord;

/** The keys that only locks and elections write. */
export function isTended(key: string): boolean {
  return key.startsWith('lock/') || key.startsWith('poll/') || key.startsWith('fence/');
}

/** The key that the holder of a place writes. */
export function fenceOf(name: string): string {
  return `fence/${name}`;
}

/** What a holder writes there, so that it tells under which tenure it was written. */
export function fenceValue(place: string, created: number, unique: number): string {
  return `${place}@${created}#${unique}`;
}

export function readFence(value: string): { readonly place: string; readonly created: number } | null {
  const match = /^(.+)@(\d+)#\d+$/.exec(value);
  return match === null ? null : { place: match[1] as string, created: Number(match[2]) };
}

/** What a place is a place for. */
export function nameOfPlace(place: string): string {
  return place.slice(0, place.lastIndexOf('/'));
}
