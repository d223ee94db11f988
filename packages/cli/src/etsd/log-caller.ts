import { getCallSites } from 'node:util';

/** Frames looked at: ours, those of the logger, and perhaps of what passes lines on to it. */
const FRAMES = 8;
/** What only hands on what others say. */
const IN_BETWEEN = /\/(?:log-lines|log-caller|quiet-lines)\.[jt]s$/;
const PLACE = /\/(?:packages\/|@etsd\/)?([^/]+)\/(?:src|dist|lib)\/(.+)$/;

/**
 * Where in the source the line that is being logged was written: `wal/segment.ts:151`, the package and the path in it. It
 * takes some microseconds, as it does in etcd, and only for lines that are written.
 */
export function logCaller(): string {
  for (const { scriptName, lineNumber } of getCallSites(FRAMES)) {
    if (scriptName === '' || IN_BETWEEN.test(scriptName)) continue;
    const place = PLACE.exec(scriptName);
    return place === null ? `etsd:${lineNumber}` : `${place[1]}/${place[2]}:${lineNumber}`;
  }
  return 'etsd';
}
