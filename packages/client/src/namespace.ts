/** A client that sees the keys under one prefix only, and sees them without it. */
import { keyFromBytes, keyToBytes, OPEN_END, prefixEnd } from '@etsd/base';
import {
  type Compare,
  DeleteRangeRequest,
  DeleteRangeResponse,
  type Event,
  KeyValue,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  type RequestOp,
  type ResponseOp,
  TxnRequest,
  TxnResponse,
} from '@etsd/proto';
import type { Caller } from './caller.ts';
import { type Bytes, type KeyRange, toBytes } from './keys.ts';
import type { Method } from './link.ts';
import type { CallOptions } from './options.ts';

/** Puts a prefix before every key that goes out and takes it off those that come back. */
export class Namespace {
  private readonly prefix: Buffer;
  /** Where the keys of the namespace end. */
  private readonly end: Buffer;

  /** Throws `TypeError` for an empty prefix. */
  constructor(prefix: Bytes) {
    this.prefix = toBytes(prefix);
    if (this.prefix.length === 0) throw new TypeError('a namespace needs a prefix');
    this.end = keyToBytes(prefixEnd(keyFromBytes(this.prefix)));
  }

  /** The prefix of a namespace within this one. */
  inside(prefix: Bytes): Buffer {
    return Buffer.concat([this.prefix, toBytes(prefix)]);
  }

  /** The range as the server knows it; one without an end ends with the namespace. */
  outwards({ key, rangeEnd }: KeyRange): KeyRange {
    const end = keyFromBytes(rangeEnd);
    if (end === '') return { key: this.outer(key), rangeEnd };
    return { key: this.outer(key), rangeEnd: end === OPEN_END ? this.end : this.outer(rangeEnd) };
  }

  outer(key: Buffer): Buffer {
    return Buffer.concat([this.prefix, key]);
  }

  inner(kv: KeyValue): KeyValue {
    return KeyValue.create({ ...kv, key: kv.key.subarray(this.prefix.length) });
  }

  innerOrNull(kv: KeyValue | null): KeyValue | null {
    return kv === null ? null : this.inner(kv);
  }

  innerEvent(event: Event): void {
    event.kv = this.innerOrNull(event.kv);
    event.prevKv = this.innerOrNull(event.prevKv);
  }

  private range(request: RangeRequest): RangeRequest {
    return RangeRequest.create({ ...request, ...this.outwards(request) });
  }

  private put(request: PutRequest): PutRequest {
    return PutRequest.create({ ...request, key: this.outer(request.key) });
  }

  private remove(request: DeleteRangeRequest): DeleteRangeRequest {
    return DeleteRangeRequest.create({ ...request, ...this.outwards(request) });
  }

  private compare(condition: Compare): Compare {
    return Object.assign(Object.create(Object.getPrototypeOf(condition)), condition, this.outwards(condition));
  }

  private operation(op: RequestOp): RequestOp {
    return Object.assign(Object.create(Object.getPrototypeOf(op)), {
      requestRange: op.requestRange === null ? null : this.range(op.requestRange),
      requestPut: op.requestPut === null ? null : this.put(op.requestPut),
      requestDeleteRange: op.requestDeleteRange === null ? null : this.remove(op.requestDeleteRange),
      requestTxn: op.requestTxn === null ? null : this.txn(op.requestTxn),
    });
  }

  private txn(request: TxnRequest): TxnRequest {
    return TxnRequest.create({
      compare: request.compare.map((each) => this.compare(each)),
      success: request.success.map((each) => this.operation(each)),
      failure: request.failure.map((each) => this.operation(each)),
    });
  }

  /** The request with the prefix. Requests that name no keys stay as they are. */
  request(request: unknown): unknown {
    // An empty key is refused by the server, and has to stay one.
    if (request instanceof RangeRequest) return request.key.length === 0 ? request : this.range(request);
    if (request instanceof PutRequest) return request.key.length === 0 ? request : this.put(request);
    if (request instanceof DeleteRangeRequest) return request.key.length === 0 ? request : this.remove(request);
    return request instanceof TxnRequest ? this.txn(request) : request;
  }

  /** Takes the prefix off the keys of a response. */
  response(response: unknown): void {
    if (response instanceof RangeResponse) response.kvs = response.kvs.map((kv) => this.inner(kv));
    else if (response instanceof PutResponse) response.prevKv = this.innerOrNull(response.prevKv);
    else if (response instanceof DeleteRangeResponse) response.prevKvs = response.prevKvs.map((kv) => this.inner(kv));
    else if (response instanceof TxnResponse) for (const each of response.responses) this.operationResult(each);
  }

  private operationResult({ responseDeleteRange, responsePut, responseRange, responseTxn }: ResponseOp): void {
    this.response(responseRange ?? responsePut ?? responseDeleteRange ?? responseTxn);
  }
}

/** What the parts of a client call through. */
export interface UnaryCaller {
  unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options?: CallOptions,
  ): Promise<Response>;
}

/** Calls within a namespace. */
export class NamespacedCaller implements UnaryCaller {
  private readonly caller: Caller;
  private readonly namespace: Namespace;

  constructor(caller: Caller, namespace: Namespace) {
    this.caller = caller;
    this.namespace = namespace;
  }

  async unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options?: CallOptions,
  ): Promise<Response> {
    const response = await this.caller.unary(method, this.namespace.request(request) as Request, options);
    this.namespace.response(response);
    return response;
  }
}
