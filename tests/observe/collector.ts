/** A collector of spans for tests: takes what OpenTelemetry's exporters send over gRPC, read by another reader than ours. */
import { RpcServer } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';
import protobuf from 'protobufjs';

const EXPORT_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';

/** The messages as OpenTelemetry's specification numbers them, as far as they are looked at. */
const SCHEMA = `
syntax = "proto3";
message Request { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { Scope scope = 1; repeated Span spans = 2; }
message Scope { string name = 1; string version = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5;
  int32 kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8;
  repeated KeyValue attributes = 9; Status status = 15;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; } }
`;

export interface ReceivedSpan {
  readonly service: Readonly<Record<string, string>>;
  readonly scope: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly name: string;
  readonly kind: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string>>;
  readonly status: number;
}

interface KeyValue {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: string };
}

const requestType = protobuf.parse(SCHEMA).root.lookupType('Request');

export class Collector {
  readonly spans: ReceivedSpan[] = [];
  readonly requests: number[] = [];
  /** Answers with an error. */
  isBroken = false;
  private readonly server = new RpcServer(nodeWorld());
  port = 0;

  async open(): Promise<void> {
    this.server.handle(EXPORT_PATH, {
      kind: 'unary',
      message: (call, bytes, start, end) => {
        if (this.isBroken) {
          call.fail(14, 'broken');
          return;
        }
        this.take(bytes.subarray(start, end));
        call.send(Buffer.alloc(0));
        call.end();
      },
    });
    const { address } = await this.server.listen({ host: '127.0.0.1', port: 0 });
    this.port = 'port' in address ? address.port : 0;
  }

  close(): Promise<void> {
    return this.server.close();
  }

  private take(bytes: Buffer): void {
    // biome-ignore lint/suspicious/noExplicitAny: the shape is that of the schema above
    const request = requestType.toObject(requestType.decode(bytes), { longs: String, bytes: Buffer }) as any;
    let count = 0;
    for (const { resource, scopeSpans } of request.resourceSpans) {
      for (const { scope, spans } of scopeSpans) {
        for (const span of spans) {
          count++;
          this.spans.push({
            service: attributesOf(resource.attributes),
            scope: `${scope.name} ${scope.version}`,
            traceId: span.traceId.toString('hex'),
            spanId: span.spanId.toString('hex'),
            parentId: (span.parentSpanId ?? Buffer.alloc(0)).toString('hex'),
            name: span.name,
            kind: span.kind,
            startMs: Number(span.startTimeUnixNano) / 1e6,
            endMs: Number(span.endTimeUnixNano) / 1e6,
            attributes: attributesOf(span.attributes ?? []),
            status: span.status?.code ?? 0,
          });
        }
      }
    }
    this.requests.push(count);
  }
}

function attributesOf(list: readonly KeyValue[]): Record<string, string> {
  return Object.fromEntries(list.map(({ key, value }) => [key, value.stringValue ?? String(value.intValue)]));
}
