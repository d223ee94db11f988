/** Calls of the Lock and Election services that can be given up, over grpc-js. */
import * as grpc from '@grpc/grpc-js';
import { type Message, methodOf, type Outcome } from '../support/client.ts';
import { Signal } from '../support/conditions.ts';

const WAIT_MS = 15_000;

/** A unary call under way. */
export class Pending {
  outcome: Outcome | null = null;
  private readonly changed = new Signal();
  private readonly call: grpc.ClientUnaryCall;

  constructor(raw: grpc.Client, name: string, request: Message) {
    const method = methodOf(name);
    this.call = raw.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      (error, response) => {
        this.outcome =
          error === null
            ? { code: 0, message: '', response: response as Message }
            : { code: error.code, message: error.details, response: null };
        this.changed.signal();
      },
    );
  }

  async done(): Promise<Outcome> {
    await this.changed.wait(WAIT_MS, 'an answer', () => this.outcome !== null);
    return this.outcome as Outcome;
  }

  cancel(): void {
    this.call.cancel();
  }
}

/** A stream of messages from the server. */
export class Stream {
  readonly messages: Message[] = [];
  private readonly changed = new Signal();
  private readonly call: grpc.ClientReadableStream<object>;

  constructor(raw: grpc.Client, name: string, request: Message) {
    const method = methodOf(name);
    this.call = raw.makeServerStreamRequest(method.path, method.requestSerialize, method.responseDeserialize, request);
    this.call.on('data', (message: Message) => {
      this.messages.push(message);
      this.changed.signal();
    });
    this.call.on('error', () => {});
  }

  async received(count: number): Promise<Message[]> {
    await this.changed.wait(WAIT_MS, `${count} messages`, () => this.messages.length >= count);
    return this.messages.slice(0, count);
  }

  cancel(): void {
    this.call.cancel();
  }
}

export function connect(address: string): grpc.Client {
  return new grpc.Client(address, grpc.credentials.createInsecure());
}
