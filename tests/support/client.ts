import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { loadSync, type MethodDefinition, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { ROOT } from './binaries.ts';
import { Signal } from './conditions.ts';

/**
 * A client that shares nothing with the product but the schema: grpc-js speaks HTTP/2 and gRPC, protobufjs encodes and
 * decodes. 64-bit integers are decimal strings, bytes are Buffers, enums are names, fields keep their snake_case names.
 */
export type Message = Record<string, unknown>;

/** How a call ended. Code 0 is success; `response` is null otherwise. */
export interface Outcome {
  code: number;
  message: string;
  response: Message | null;
}

const SCHEMA = join(ROOT, 'packages/proto/schema');

let loaded: PackageDefinition | null = null;

function schema(): PackageDefinition {
  if (loaded === null) {
    if (!existsSync(SCHEMA)) throw new Error(`no schema in ${SCHEMA}`);
    const files = readdirSync(SCHEMA, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.proto'));
    loaded = loadSync(files, {
      includeDirs: [SCHEMA],
      keepCase: true,
      longs: String,
      enums: String,
      bytes: Buffer,
      defaults: true,
      oneofs: true,
    });
  }
  return loaded;
}

/**
 * The message as proto3 wants it written: bytes that are empty are left out. protobufjs would write them, and etcd takes
 * an empty `range_end` that is written for an open one in calls that do not go through the log. In a comparison an empty
 * value is a choice of its `oneof` and stays.
 */
export function canonical(message: Message): Message {
  const out: Message = {};
  for (const [name, value] of Object.entries(message)) {
    if (Buffer.isBuffer(value)) {
      if (value.length > 0 || 'target' in message) out[name] = value;
    } else if (Array.isArray(value)) {
      out[name] = value.map((item: unknown) => (isMessage(item) ? canonical(item) : item));
    } else out[name] = isMessage(value) ? canonical(value) : value;
  }
  // A comparison's range, unlike its value, has no such choice.
  const end = out['range_end'];
  if (Buffer.isBuffer(end) && end.length === 0) delete out['range_end'];
  return out;
}

function isMessage(value: unknown): value is Message {
  return value !== null && typeof value === 'object' && !Buffer.isBuffer(value);
}

const methods = new Map<string, MethodDefinition<object, object>>();

/** `KV/Put`, `Lease/LeaseGrant`…: a service of etcdserverpb and its method. A name with a dot is taken as a full one. */
export function methodOf(name: string): MethodDefinition<object, object> {
  let method = methods.get(name);
  if (method === undefined) {
    const [service, short] = name.split('/') as [string, string];
    const full = service.includes('.') ? service : `etcdserverpb.${service}`;
    const definition = schema()[full] as ServiceDefinition | undefined;
    method = definition?.[short];
    if (method === undefined) throw new Error(`the schema has no method ${full}/${short}`);
    methods.set(name, method);
  }
  return method;
}

/** A bidirectional stream whose messages are kept in the order of their arrival. */
export class Stream {
  readonly received: Message[] = [];
  /** The final status; null while the stream is open. */
  ended: Outcome | null = null;
  onMessage: ((message: Message) => void) | null = null;
  readonly changed = new Signal();
  private readonly call: grpc.ClientDuplexStream<object, object>;

  constructor(call: grpc.ClientDuplexStream<object, object>) {
    this.call = call;
    call.on('data', (message: object) => {
      this.received.push(message as Message);
      this.onMessage?.(message as Message);
      this.changed.signal();
    });
    call.on('error', () => {});
    call.on('status', (status: grpc.StatusObject) => {
      this.ended = { code: status.code, message: status.details, response: null };
      this.changed.signal();
    });
  }

  send(message: Message): void {
    this.call.write(message);
  }

  /** Says that no message follows; the server may go on. */
  halfClose(): void {
    this.call.end();
  }

  cancel(): void {
    this.call.cancel();
  }

  /** Stops reading from the stream, so that flow control holds the server back. */
  pause(): void {
    this.call.pause();
  }

  resume(): void {
    this.call.resume();
  }

  /** Resolves when `test` holds for what came so far, or the stream has ended. */
  async until(ms: number, what: string, test: () => boolean): Promise<void> {
    await this.changed.wait(ms, what, () => this.ended !== null || test());
    if (!test()) throw new Error(`${what}: the stream ended with ${this.ended?.code} ${this.ended?.message}`);
  }
}

function metadataOf(headers: Readonly<Record<string, string>>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

export class Client {
  private readonly raw: grpc.Client;

  constructor(address: string, options: grpc.ClientOptions = {}) {
    this.raw = new grpc.Client(address, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      // Each client has its own connection, so that one which is misused does not disturb the others.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      ...options,
    });
  }

  /** Never rejects for what the server answers: errors are outcomes. */
  call(
    name: string,
    request: Message,
    deadlineMs = 20_000,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Outcome> {
    const method = methodOf(name);
    return new Promise((resolve, reject) => {
      // A message that the schema cannot express is a mistake of the test and throws right here.
      const bytes = method.requestSerialize(canonical(request));
      this.raw.makeUnaryRequest(
        method.path,
        (body: Buffer) => body,
        method.responseDeserialize,
        bytes,
        metadataOf(headers),
        { deadline: Date.now() + deadlineMs },
        (error, response) => {
          if (error !== null)
            resolve({ code: error.code ?? 2, message: error.details ?? error.message, response: null });
          else if (response === undefined) reject(new Error('neither an error nor a response'));
          else resolve({ code: 0, message: '', response: response as Message });
        },
      );
    });
  }

  /** The response; an error status is thrown. */
  async expect(name: string, request: Message, deadlineMs = 20_000): Promise<Message> {
    const outcome = await this.call(name, request, deadlineMs);
    if (outcome.response === null) throw new Error(`${name}: status ${outcome.code} ${outcome.message}`);
    return outcome.response;
  }

  /** Sends these bytes as the request message, whatever they are. */
  callRaw(
    path: string,
    bytes: Buffer,
    deadlineMs = 20_000,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Outcome & { bytes: Buffer }> {
    return new Promise((resolve) => {
      this.raw.makeUnaryRequest(
        path,
        (body: Buffer) => body,
        (body: Buffer) => body,
        bytes,
        metadataOf(headers),
        { deadline: Date.now() + deadlineMs },
        (error, response) => {
          const empty = Buffer.alloc(0);
          if (error === null) resolve({ code: 0, message: '', response: null, bytes: response ?? empty });
          else resolve({ code: error.code ?? 2, message: error.details ?? '', response: null, bytes: empty });
        },
      );
    });
  }

  stream(name: string, headers: Readonly<Record<string, string>> = {}): Stream {
    const method = methodOf(name);
    const call = this.raw.makeBidiStreamRequest(
      method.path,
      (message: object) => method.requestSerialize(canonical(message as Message)),
      method.responseDeserialize,
      metadataOf(headers),
    );
    return new Stream(call as unknown as grpc.ClientDuplexStream<object, object>);
  }

  close(): void {
    this.raw.close();
  }
}
