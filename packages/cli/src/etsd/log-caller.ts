import { getCallSites } from 'node:util';

/** Frames looked at: ours, those of the logger, and perhaps of what passes lines on to it. */
const FRAMES = 8;
/** What only hands on what others say. */
const IN_BETWEEN = /\/(?:log-lines|log-caller|quiet-lines)\.[jt]s$/;
/** The last such folder: those above it are where somebody keeps the program. */
const PLACE = /^.*\/([^/]+)\/src\/(.+)$/;

/**
 * Where in the source the line that is being logged was written: `wal/segment.ts:151`, the package and the path in it. It
 * takes some microseconds, as it does in etcd, and only for lines that are written.
 */
export function logCaller(): string {
  for (const { scriptName, lineNumber } of getCallSites(FRAMES)) {
    if (scriptName === '' || IN_BETWEEN.test(scriptName)) continue;
    return `${placeOf(scriptName)}:${lineNumber}`;
  }
  return 'etsd';
}

/** A module's package and its path in it, by its name on disk or its URL. */
export function placeOf(scriptName: string): string {
  const place = PLACE.exec(scriptName);
  return place === null ? 'etsd' : `${place[1]}/${place[2]}`;
}
