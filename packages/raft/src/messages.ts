import type { U64 } from '@etsd/base';
import { Entry, Message } from '@etsd/proto';

/** What a vote request carries when its sender was told to take over: the voters' lease on the old leader is void. */
export const CAMPAIGN_TRANSFER: Buffer = Buffer.from('CampaignTransfer', 'latin1');

/** A message to a member; the sender and, where it is 0, the term are filled in by `Raft.send`. */
export function messageTo(to: U64, type: number, term = 0): Message {
  const message = new Message();
  message.type = type;
  message.to = to;
  message.term = term;
  return message;
}

/** An entry without place in the log yet. */
export function entryOf(type: number, data: Buffer): Entry {
  const entry = new Entry();
  entry.type = type;
  entry.data = data;
  return entry;
}

export function isTransferCampaign(message: Message): boolean {
  return message.context.length > 0 && message.context.equals(CAMPAIGN_TRANSFER);
}
