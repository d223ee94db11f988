import { type U64, U64_ZERO } from '@etsd/base';
import { type Message, MessageType } from '@etsd/proto';

/**
 * What is wrong with a message that came from outside, '' if nothing is: raft takes for granted that entries follow each
 * other, that terms do not go back within a log, that numbers are exact, and that what has no term or comes from this
 * member itself (`local`) was made here.
 */
export function messageFault(message: Message, local: U64): string {
  const { type, term, logTerm, index, commit, rejectHint } = message;
  if (type < 0 || type > MessageType.MsgPreVoteResp) return 'unknown type';
  const isExact =
    Number.isSafeInteger(term) &&
    Number.isSafeInteger(logTerm) &&
    Number.isSafeInteger(index) &&
    Number.isSafeInteger(commit) &&
    Number.isSafeInteger(rejectHint);
  if (!isExact) return 'a number beyond 2^53';
  if (!isPassedOn(type)) {
    if (message.from === U64_ZERO) return 'no sender';
    if (message.from === local) return 'a message of this member itself';
    if (term === 0) return 'no term';
  }
  if (type === MessageType.MsgApp) return appendFault(message);
  return '';
}

/** Members pass these on to the leader under the name of whoever asked, who may be the leader by now. */
function isPassedOn(type: number): boolean {
  return type === MessageType.MsgProp || type === MessageType.MsgReadIndex || type === MessageType.MsgTransferLeader;
}

function appendFault(message: Message): string {
  const { entries, term } = message;
  let last = message.logTerm;
  for (let place = 0; place < entries.length; place++) {
    const entry = entries[place]!;
    if (entry.index !== message.index + 1 + place) return 'entries that do not follow each other';
    if (entry.term < last || entry.term > term) return 'entries whose terms do not fit';
    last = entry.term;
  }
  return '';
}
