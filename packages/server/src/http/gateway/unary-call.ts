/** A method with one request and one answer. */
import { JsonFields, SPACED, wireToJson } from '@etsd/proto';
import { GatewayCall, respondError } from './gateway-call.ts';
import { GrowingMessage } from './growing-message.ts';

export class UnaryGatewayCall extends GatewayCall {
  private answer: Buffer | null = null;
  /** Where the answer is so large that it is sent while it is made. */
  private growing: GrowingMessage | null = null;

  /** `request` is the message itself. */
  run(request: Buffer): void {
    this.call.request(request);
  }

  message(bytes: Buffer): void {
    this.answer = bytes;
  }

  partsBegin(): void {
    this.exchange.begin(200, this.okHeaders);
    this.exchange.write('{');
    this.growing = new GrowingMessage(new JsonFields(this.route.response, SPACED));
  }

  part(bytes: Buffer): void {
    this.exchange.write(this.growing?.push(bytes) ?? '');
  }

  ended(): void {
    this.settled();
    const { exchange } = this;
    if (this.growing !== null) {
      exchange.write(`${this.growing.close()}}`);
      exchange.end();
      return;
    }
    const text = wireToJson(this.route.response, this.answer ?? Buffer.alloc(0), SPACED);
    if (!/\btrailers\b/i.test(exchange.header('te') ?? '')) {
      exchange.respond(200, this.okHeaders, text);
      return;
    }
    // Who could take trailers is answered in chunks, as if there were any.
    exchange.begin(200, this.okHeaders);
    exchange.write(text);
    exchange.end();
  }

  failed(code: number, message: string): void {
    this.settled();
    if (this.growing === null) respondError(this.exchange, this.headers, code, message);
    else this.exchange.abort();
  }
}
