import { EMPTY } from '@etsd/base';
import { Reader } from '../wire.ts';

/**
 * The one reader of all views: parsing is synchronous and calls nobody, so no two parses can overlap. It keeps hold of
 * the last buffer it read.
 */
export const sharedReader = new Reader(EMPTY, 0, 0);
