import { type Identity, UNASKED } from '../access.ts';
import type { ApiCall, ApiHandler } from '../context.ts';
import { RequestTimes } from '../observe/request-trace.ts';
import { PassingHandler } from '../passing-handler.ts';
import type { AuditLog } from './audit-log.ts';
import { AuditedRequest, type ToldMethod } from './audited-request.ts';
import { Head, type LineHeads } from './line-writer.ts';
import type { Describe } from './request-fields.ts';

/** In a call's slot: its line is made, and however it goes on there will be no other. */
const TOLD = 'told';

/**
 * Puts, where they are told. Nothing is noted of one on its way but who asked, and nothing at all where nobody is asked who he
 * is: its key stands in its entry of the log, and the observer knows its times. Those that get into no entry are noted as
 * any other request.
 */
export class AuditedPut extends PassingHandler implements ToldMethod {
  readonly heads: LineHeads;
  readonly describe: Describe;
  private readonly log: AuditLog;

  constructor(log: AuditLog, method: ToldMethod, inner: ApiHandler) {
    super(inner);
    this.log = log;
    this.heads = method.heads;
    this.describe = method.describe;
  }

  override message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { log } = this;
    if (log.refuses(call)) return;
    const identity = log.parts.access.identify(call);
    if (identity !== UNASKED) call.audit = log.headOf(this.heads, identity, call);
    const { notes } = call;
    const sinceMs = notes === null ? log.nowMs() : -1;
    this.inner.message(call, bytes, start, end);
    if (call.entry === null || !call.isOpen || notes === null) {
      this.note(call, identity, notes instanceof RequestTimes ? notes.receivedMs : sinceMs, bytes, start, end);
    }
  }

  /** Of one that has to wait its bytes are here no longer. Without an entry it is not told as it ends. */
  private note(call: ApiCall, identity: Identity, sinceMs: number, bytes: Buffer, start: number, end: number): void {
    if (call.audit instanceof AuditedRequest || call.audit === TOLD) return;
    const request = new AuditedRequest(this, identity, sinceMs);
    request.describe(bytes, start, end);
    if (call.isOpen) call.audit = request;
    else {
      call.audit = TOLD;
      this.log.tell(call, request, call.outcome);
    }
  }

  override closed(call: ApiCall): void {
    this.inner.closed?.(call);
    const { audit, entry } = call;
    if (audit === null || audit instanceof Head) {
      // Else it ends while its handler looks at it: it is told behind that.
      if (entry === null) return;
      call.audit = TOLD;
      this.log.tellPut(this, audit ?? this.log.headOf(this.heads, UNASKED, call), call, entry);
    } else if (audit instanceof AuditedRequest) {
      call.audit = TOLD;
      this.log.tell(call, audit, call.outcome);
    }
  }
}
