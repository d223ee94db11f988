/** Members as far as a client can tell: servers in a simulated world that answer what a test says. */
import { type MessageClass, ResponseHeader } from '@etsd/proto';
import { type MethodHandler, RpcServer, type ServerCall } from '@etsd/rpc';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { EtcdClient } from '../client.ts';
import type { ClientOptions } from '../options.ts';

export const PORT = 2379;

/** A call as a test answers it. */
export class Asked<Request, Response> {
  readonly request: Request;
  readonly call: ServerCall;
  private readonly type: MessageClass<Response>;

  constructor(call: ServerCall, request: Request, type: MessageClass<Response>) {
    this.call = call;
    this.request = request;
    this.type = type;
  }

  header(name: string): string | undefined {
    return this.call.header(name);
  }

  /** One message of a stream. */
  send(response: Partial<Response>): void {
    if (this.call.isOpen) this.call.send(this.type.encode(this.type.create(response)));
  }

  answer(response: Partial<Response>): void {
    this.send(response);
    if (this.call.isOpen) this.call.end();
  }

  fail(code: number, message: string): void {
    if (this.call.isOpen) this.call.fail(code, message);
  }
}

interface AnyMethod<Request, Response> {
  readonly path: string;
  readonly request: MessageClass<Request>;
  readonly response: MessageClass<Response>;
}

export class Neighbour {
  readonly name: string;
  readonly machine: SimMachine;
  private server: RpcServer;

  constructor(name: string, machine: SimMachine) {
    this.name = name;
    this.machine = machine;
    this.server = new RpcServer(machine.world);
  }

  async listen(): Promise<void> {
    await this.server.listen({ host: this.name, port: PORT });
  }

  /** Answers each request of a method, whatever its kind. */
  on<Request, Response>(
    method: AnyMethod<Request, Response>,
    kind: MethodHandler['kind'],
    answer: (asked: Asked<Request, Response>) => void,
  ): void {
    this.server.handle(method.path, {
      kind,
      message(call, bytes, start, end) {
        const request = method.request.decode(Buffer.from(bytes.subarray(start, end)));
        answer(new Asked(call, request, method.response));
      },
    });
  }

  /** The process ends; what it was doing is not finished. */
  kill(): void {
    this.machine.kill();
    this.server = new RpcServer(this.machine.world);
  }
}

export class Neighbourhood {
  readonly universe = new SimUniverse(1);
  readonly home = this.universe.addMachine('client');

  async member(name: string): Promise<Neighbour> {
    const neighbour = new Neighbour(name, this.universe.addMachine(name));
    await this.outcome(neighbour.listen());
    return neighbour;
  }

  client(names: readonly string[], options: Partial<ClientOptions> = {}, world = this.home.world): EtcdClient {
    const endpoints = names.map((name) => `${name}:${PORT}`);
    return new EtcdClient({ endpoints, ...options }, world);
  }

  /** Lets time pass until the work is done. */
  outcome<T>(work: Promise<T>): Promise<T> {
    return this.universe.simulation.runToEnd(work);
  }

  pass(ms: number): Promise<void> {
    return this.universe.simulation.runFor(ms);
  }
}

export function headerAt(revision: number): ResponseHeader {
  return ResponseHeader.create({ revision });
}
