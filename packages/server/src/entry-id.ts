import { type U64, u64FromHalves } from '@etsd/base';
import { RaftRequestView } from '@etsd/proto';

const view = new RaftRequestView();

/** The id under which a request was proposed, by whichever member: who waits for it is found by it. */
export function entryId(data: Buffer): U64 {
  view.parse(data);
  return u64FromHalves(view.idHigh, view.idLow);
}
