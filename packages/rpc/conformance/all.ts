import { CONNECTION_CASES } from './cases/connection.ts';
import { FLOW_CASES } from './cases/flow.ts';
import { HPACK_CASES } from './cases/hpack.ts';
import { MESSAGE_CASES } from './cases/messages.ts';
import { STREAM_CASES } from './cases/streams.ts';
import type { Case } from './suite.ts';

/** Every rule of the suite, in the order of the documents. */
export const ALL_CASES: readonly Case[] = [
  ...CONNECTION_CASES,
  ...STREAM_CASES,
  ...FLOW_CASES,
  ...MESSAGE_CASES,
  ...HPACK_CASES,
];
