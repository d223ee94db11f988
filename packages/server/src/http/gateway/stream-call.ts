/** A method that answers with any number of messages, each a line of its own. */
import { COMPACT, jsonString, wireToJson } from '@etsd/proto';
import type { BodyReceiver } from '../web-exchange.ts';
import { GatewayCall, JSON_TYPE } from './gateway-call.ts';
import { httpStatusOf } from './statuses.ts';

export class StreamGatewayCall extends GatewayCall {
  private hasBegun = false;
  private parted: Buffer[] = [];
  private partedBytes = 0;
  private partedTotal = 0;

  /** A method that takes one request. */
  run(request: Buffer): void {
    this.call.open();
    this.call.request(request);
    this.call.halfClose();
  }

  /** A method that takes any number: what reads them from the body. */
  open(receiver: BodyReceiver): void {
    this.call.open();
    this.exchange.receiveBody(receiver);
  }

  request(message: Buffer): void {
    this.call.request(message);
  }

  /** The client will send no more. */
  halfClose(): void {
    this.call.halfClose();
  }

  refuse(code: number, message: string): void {
    this.call.fail(code, message);
  }

  message(bytes: Buffer): void {
    if (!this.hasBegun) this.exchange.begin(200, this.okHeaders);
    this.hasBegun = true;
    this.exchange.write(`{"result":${wireToJson(this.route.response, bytes, COMPACT)}}\n`);
  }

  partsBegin(totalBytes: number): void {
    this.parted = [];
    this.partedBytes = 0;
    this.partedTotal = totalBytes;
  }

  part(bytes: Buffer): void {
    this.parted.push(Buffer.from(bytes));
    this.partedBytes += bytes.length;
    if (this.partedBytes < this.partedTotal) return;
    const whole = Buffer.concat(this.parted);
    this.parted = [];
    this.message(whole);
  }

  ended(): void {
    this.settled();
    if (!this.hasBegun) this.exchange.begin(200, this.headers);
    this.exchange.end();
  }

  failed(code: number, message: string): void {
    this.settled();
    if (!this.hasBegun) this.exchange.begin(httpStatusOf(code), [...this.headers, ...JSON_TYPE]);
    this.exchange.write(`{"error":{"code":${code},"message":${jsonString(message, COMPACT)}}}\n`);
    this.exchange.end();
  }
}
