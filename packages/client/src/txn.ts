/** Transactions: conditions, and what is done if they hold or if they do not, as one revision. */
import { type U64, U64_ZERO } from '@etsd/base';
import {
  Compare,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  type DeleteRangeResponse,
  PutRequest,
  type PutResponse,
  RangeRequest,
  type RangeResponse,
  RequestOp,
  type ResponseHeader,
  type ResponseOp,
  TxnRequest,
  type TxnResponse,
} from '@etsd/proto';
import { toId, toWhole } from './checks.ts';
import { type Bytes, type KeyRange, toBytes, toRange } from './keys.ts';
import type { CallOptions } from './options.ts';

/** One operation of a transaction, and what its result is. */
export interface Operation<Result> {
  readonly request: RequestOp;
  /** The result out of the response at the same place. */
  result(response: ResponseOp): Result;
}

type Results<Operations extends readonly Operation<unknown>[]> = {
  [Place in keyof Operations]: Operations[Place] extends Operation<infer Result> ? Result : never;
};

/** What became of a transaction: `succeeded` tells which operations were done, and so which results there are. */
export type Outcome<Then extends readonly Operation<unknown>[], Else extends readonly Operation<unknown>[]> =
  | { readonly succeeded: true; readonly header: ResponseHeader | null; readonly results: Results<Then> }
  | { readonly succeeded: false; readonly header: ResponseHeader | null; readonly results: Results<Else> };

interface TxnCaller {
  txnRaw(request: TxnRequest, options?: CallOptions): Promise<TxnResponse>;
}

/** Built step by step; every step gives a new transaction, so that one can be the start of several. */
export class Transaction<
  Then extends readonly Operation<unknown>[] = [],
  Else extends readonly Operation<unknown>[] = [],
> {
  private readonly caller: TxnCaller;
  private readonly conditions: readonly Compare[];
  private readonly onSuccess: Then;
  private readonly onFailure: Else;

  constructor(
    caller: TxnCaller,
    conditions: readonly Compare[] = [],
    onSuccess: Then = [] as unknown as Then,
    onFailure: Else = [] as unknown as Else,
  ) {
    this.caller = caller;
    this.conditions = conditions;
    this.onSuccess = onSuccess;
    this.onFailure = onFailure;
  }

  /** All of these, and those given before, have to hold. */
  if(...conditions: readonly Compare[]): Transaction<Then, Else> {
    return new Transaction(this.caller, [...this.conditions, ...conditions], this.onSuccess, this.onFailure);
  }

  /** Done if the conditions hold. (Not called `then`, since whatever has that is taken for a promise.) */
  do<const More extends readonly Operation<unknown>[]>(...operations: More): Transaction<[...Then, ...More], Else> {
    return new Transaction(this.caller, this.conditions, [...this.onSuccess, ...operations], this.onFailure);
  }

  /** Done if one of them does not. */
  otherwise<const More extends readonly Operation<unknown>[]>(
    ...operations: More
  ): Transaction<Then, [...Else, ...More]> {
    return new Transaction(this.caller, this.conditions, this.onSuccess, [...this.onFailure, ...operations]);
  }

  /** The request as it goes to the server. */
  get request(): TxnRequest {
    return TxnRequest.create({
      compare: [...this.conditions],
      success: this.onSuccess.map((operation) => operation.request),
      failure: this.onFailure.map((operation) => operation.request),
    });
  }

  async commit(options?: CallOptions): Promise<Outcome<Then, Else>> {
    const response = await this.caller.txnRaw(this.request, options);
    const operations: readonly Operation<unknown>[] = response.succeeded ? this.onSuccess : this.onFailure;
    const results = operations.map((operation, place) => operation.result(response.responses[place] as ResponseOp));
    return { succeeded: response.succeeded, header: response.header, results } as unknown as Outcome<Then, Else>;
  }
}

// ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────────────

type Target = Pick<Compare, 'target'> &
  Partial<Pick<Compare, 'version' | 'createRevision' | 'modRevision' | 'value' | 'lease'>>;

/** What is compared, and with what. */
export class Subject<Value> {
  private readonly range: KeyRange;
  private readonly target: (value: Value) => Target;

  constructor(range: KeyRange, target: (value: Value) => Target) {
    this.range = range;
    this.target = target;
  }

  equals(value: Value): Compare {
    return this.compare(CompareResult.EQUAL, value);
  }

  differs(value: Value): Compare {
    return this.compare(CompareResult.NOT_EQUAL, value);
  }

  isAbove(value: Value): Compare {
    return this.compare(CompareResult.GREATER, value);
  }

  isBelow(value: Value): Compare {
    return this.compare(CompareResult.LESS, value);
  }

  /** The same, compared with values of another kind. */
  of<Other>(convert: (value: Other) => Value): Subject<Other> {
    return new Subject<Other>(this.range, (value) => this.target(convert(value)));
  }

  private compare(result: number, value: Value): Compare {
    return Compare.create({ ...this.range, ...this.target(value), result: result as Compare['result'] });
  }
}

/** What a condition can be about; of a range, every key in it has to satisfy it. */
export function key(keys: Bytes | KeyRange) {
  const range = toRange(keys);
  return {
    value: new Subject<Bytes>(range, (value) => ({ target: CompareTarget.VALUE, value: toBytes(value) })),
    version: new Subject<number>(range, (version) => ({
      target: CompareTarget.VERSION,
      version: toWhole('version', version),
    })),
    createRevision: new Subject<number>(range, (createRevision) => ({
      target: CompareTarget.CREATE,
      createRevision: toWhole('createRevision', createRevision),
    })),
    modRevision: new Subject<number>(range, (modRevision) => ({
      target: CompareTarget.MOD,
      modRevision: toWhole('modRevision', modRevision),
    })),
    lease: new Subject<U64>(range, (lease) => ({ target: CompareTarget.LEASE, lease: toId(lease) })),
    exists: Compare.create({ ...range, target: CompareTarget.VERSION, result: CompareResult.GREATER, version: 0 }),
    isMissing: Compare.create({ ...range, target: CompareTarget.VERSION, result: CompareResult.EQUAL, version: 0 }),
  };
}

// ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────────

export function get(keys: Bytes | KeyRange, options: Partial<RangeRequest> = {}): Operation<RangeResponse> {
  const requestRange = RangeRequest.create({ ...options, ...toRange(keys) });
  return {
    request: RequestOp.create({ requestRange }),
    result: (response) => response.responseRange as RangeResponse,
  };
}

export function put(at: Bytes, value: Bytes, options: { lease?: U64; prevKv?: boolean } = {}): Operation<PutResponse> {
  const { lease = U64_ZERO, prevKv = false } = options;
  const requestPut = PutRequest.create({ key: toBytes(at), value: toBytes(value), lease: toId(lease), prevKv });
  return { request: RequestOp.create({ requestPut }), result: (response) => response.responsePut as PutResponse };
}

export function remove(keys: Bytes | KeyRange, options: { prevKv?: boolean } = {}): Operation<DeleteRangeResponse> {
  const requestDeleteRange = DeleteRangeRequest.create({ ...toRange(keys), prevKv: options.prevKv ?? false });
  return {
    request: RequestOp.create({ requestDeleteRange }),
    result: (response) => response.responseDeleteRange as DeleteRangeResponse,
  };
}
