import type { ApiCall, ApiHandler } from '../context.ts';
import { RequestTimes } from '../observe/request-trace.ts';
import { PassingHandler } from '../passing-handler.ts';
import type { AuditLog } from './audit-log.ts';
import { AuditedRequest, type ToldMethod } from './audited-request.ts';
import { Head, type LineHeads } from './line-writer.ts';
import type { Describe } from './request-fields.ts';

/**
 * Puts, where they are told. Nothing is noted of one on its way but who asked: its key stands in its entry of the log, and
 * the observer knows its times. Those that get into no entry are noted as any other request.
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
    const head = log.headOf(this.heads, call);
    const { notes } = call;
    const sinceMs = notes === null ? log.nowMs() : -1;
    call.audit = head;
    this.inner.message(call, bytes, start, end);
    if (call.audit !== head || (call.entry !== null && call.isOpen && notes !== null)) return;
    const cameMs = notes instanceof RequestTimes ? notes.receivedMs : sinceMs;
    const request = new AuditedRequest(this, head.identity, cameMs);
    // What has to wait is noted as long as its bytes are here.
    request.describe(bytes, start, end);
    if (call.isOpen) call.audit = request;
    else {
      call.audit = null;
      log.tell(call, request, call.outcome);
    }
  }

  override closed(call: ApiCall): void {
    this.inner.closed?.(call);
    const { audit, entry } = call;
    if (audit instanceof Head) {
      // Else it ends while its handler looks at it: it is told behind that.
      if (entry === null) return;
      call.audit = null;
      this.log.tellPut(this, audit, call, entry);
    } else if (audit instanceof AuditedRequest) {
      call.audit = null;
      this.log.tell(call, audit, call.outcome);
    }
  }
}
