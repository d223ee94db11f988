import { RingQueue } from '@etsd/base';
import type { Timer, Timers } from '@etsd/runtime';
import {
  binaryValues,
  Metadata,
  type MethodHandler,
  type RpcServer,
  type ServerCall,
  StatusCode,
} from '../src/index.ts';
import {
  type EchoStatus,
  type ResponseParameters,
  readSimpleRequest,
  readStreamingInputRequest,
  readStreamingOutputRequest,
  writePayloadResponse,
  writeStreamingInputResponse,
} from './messages.ts';

const SERVICE = '/grpc.testing.TestService';
const ECHO_INITIAL = 'x-grpc-test-echo-initial';
const ECHO_TRAILING = 'x-grpc-test-echo-trailing-bin';
/** A response larger than this is nobody's test. */
const RESPONSE_BYTES_MAX = 64 * 1024 * 1024;

/** Sends back what the client asked to see again. */
function echoMetadata(call: ServerCall): void {
  const initial = call.header(ECHO_INITIAL);
  if (initial !== undefined) call.headers = new Metadata().add(ECHO_INITIAL, initial);
  const trailing = binaryValues(call.request.fields, ECHO_TRAILING);
  if (trailing.length > 0) {
    call.trailers = new Metadata();
    for (const value of trailing) call.trailers.add(ECHO_TRAILING, value);
  }
}

function finish(call: ServerCall, status: EchoStatus | null): void {
  if (status === null || status.code === 0) call.end();
  else call.fail(status.code, status.message);
}

/** Whether the message came as the client says it sent it; if not, the call has failed. */
function checkCompression(call: ServerCall, expected: boolean | null): boolean {
  if (expected === null || expected === call.messageWasCompressed) return true;
  call.fail(StatusCode.INVALID_ARGUMENT, `the message came ${call.messageWasCompressed ? '' : 'un'}compressed`);
  return false;
}

function sizeFits(call: ServerCall, size: number): boolean {
  if (size <= RESPONSE_BYTES_MAX) return true;
  call.fail(StatusCode.INVALID_ARGUMENT, `a response of ${size} bytes`);
  return false;
}

const unaryCall: MethodHandler = {
  kind: 'unary',
  message(call, bytes, start, end) {
    const request = readSimpleRequest(bytes.subarray(start, end));
    echoMetadata(call);
    if (!checkCompression(call, request.expectCompressed) || !sizeFits(call, request.responseSize)) return;
    if (request.status !== null && request.status.code !== 0) {
      finish(call, request.status);
      return;
    }
    const response = writePayloadResponse(request.responseSize);
    if (request.responseCompressed && call.useGzip()) call.sendCompressed(response);
    else call.send(response);
    call.end();
  },
};

/** Responses of a streaming call that wait for their moment. */
class Outgoing {
  private readonly call: ServerCall;
  private readonly timers: Timers;
  private readonly queue = new RingQueue<ResponseParameters>();
  private timer: Timer | null = null;
  private status: EchoStatus | null = null;
  private ending = false;
  private gzip = false;
  /** Requests held back until the client has finished; null where they are answered at once. */
  held: ResponseParameters[] | null = null;

  constructor(call: ServerCall, timers: Timers) {
    this.call = call;
    this.timers = timers;
  }

  /** Answers with these; compression is agreed on before the first message goes out. */
  add(responses: readonly ResponseParameters[]): void {
    if (responses.some((response) => response.compressed)) this.gzip = this.call.useGzip();
    for (const response of responses) this.queue.push(response);
    this.pump();
  }

  end(status: EchoStatus | null): void {
    this.status = status;
    this.ending = true;
    this.pump();
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private pump(): void {
    if (this.timer !== null) return;
    while (this.queue.length > 0) {
      const next = this.queue.take() as ResponseParameters;
      if (next.intervalUs === 0) this.send(next);
      else {
        this.timer = this.timers.after(next.intervalUs / 1000, () => {
          this.timer = null;
          this.send(next);
          this.pump();
        });
        return;
      }
    }
    if (this.ending) finish(this.call, this.status);
  }

  private send(parameters: ResponseParameters): void {
    if (!this.call.isOpen || !sizeFits(this.call, parameters.size)) return;
    const response = writePayloadResponse(parameters.size);
    if (parameters.compressed && this.gzip) this.call.sendCompressed(response);
    else this.call.send(response);
  }
}

function streamingOutputCall(timers: Timers): MethodHandler {
  return {
    kind: 'unary',
    message(call, bytes, start, end) {
      const request = readStreamingOutputRequest(bytes.subarray(start, end));
      echoMetadata(call);
      const outgoing = new Outgoing(call, timers);
      call.context = outgoing;
      outgoing.add(request.responses);
      outgoing.end(request.status);
    },
    closed: (call) => (call.context as Outgoing | null)?.stop(),
  };
}

const streamingInputCall: MethodHandler = {
  kind: 'stream',
  opened(call) {
    echoMetadata(call);
    call.context = 0;
  },
  message(call, bytes, start, end) {
    const request = readStreamingInputRequest(bytes.subarray(start, end));
    if (checkCompression(call, request.expectCompressed)) {
      call.context = (call.context as number) + request.payloadBytes;
    }
  },
  halfClosed(call) {
    call.send(writeStreamingInputResponse(call.context as number));
    call.end();
  },
};

/** `holds`: answers come when the client has finished asking (HalfDuplexCall). */
function duplexCall(timers: Timers, holds: boolean): MethodHandler {
  return {
    kind: 'stream',
    opened(call) {
      echoMetadata(call);
      const outgoing = new Outgoing(call, timers);
      if (holds) outgoing.held = [];
      call.context = outgoing;
    },
    message(call, bytes, start, end) {
      const request = readStreamingOutputRequest(bytes.subarray(start, end));
      const outgoing = call.context as Outgoing;
      if (outgoing.held !== null) outgoing.held.push(...request.responses);
      else outgoing.add(request.responses);
      if (request.status !== null && request.status.code !== 0) outgoing.end(request.status);
    },
    halfClosed(call) {
      const outgoing = call.context as Outgoing;
      if (outgoing.held !== null) outgoing.add(outgoing.held);
      outgoing.end(null);
    },
    closed: (call) => (call.context as Outgoing | null)?.stop(),
  };
}

/** Serves gRPC's public test service. UnimplementedCall is left out on purpose. */
export function registerTestService(server: RpcServer, timers: Timers): void {
  server.handle(`${SERVICE}/EmptyCall`, {
    kind: 'unary',
    message(call) {
      echoMetadata(call);
      call.send(Buffer.alloc(0));
      call.end();
    },
  });
  server.handle(`${SERVICE}/UnaryCall`, unaryCall);
  server.handle(`${SERVICE}/CacheableUnaryCall`, unaryCall);
  server.handle(`${SERVICE}/StreamingOutputCall`, streamingOutputCall(timers));
  server.handle(`${SERVICE}/StreamingInputCall`, streamingInputCall);
  server.handle(`${SERVICE}/FullDuplexCall`, duplexCall(timers, false));
  server.handle(`${SERVICE}/HalfDuplexCall`, duplexCall(timers, true));
}
