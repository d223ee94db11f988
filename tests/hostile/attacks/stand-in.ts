/**
 * Who is attacked in the member's stead, to tell what an attack takes of the machine, whoever it is aimed at: a server in
 * the member's place that makes nothing of what it gets. It closes every connection at once, or (`reads`) lets in as many a
 * second as the member would, reads what they send and closes the connection of whoever sends much.
 */
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { fileURLToPath } from 'node:url';

export interface StandInOrder {
  readonly certFile: string;
  readonly keyFile: string;
  readonly reads: boolean;
}

export interface StandIn {
  readonly port: number;
  end(): Promise<void>;
}

/** As the member's `--tls-handshakes-per-address`. */
const LET_IN_EVERY_MS = 20;
const MUCH_BYTES = 100_000;

export async function startStandIn(order: StandInOrder): Promise<StandIn> {
  const child = fork(fileURLToPath(import.meta.url), ['--serve', JSON.stringify(order)]);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(message as number));
    child.once('exit', (code) => reject(new Error(`the stand-in ended with ${code}`)));
  });
  return {
    port,
    end: () => {
      child.kill('SIGKILL');
      return ended;
    },
  };
}

function serve({ certFile, keyFile, reads }: StandInOrder): void {
  const files = { cert: readFileSync(certFile), key: readFileSync(keyFile), ALPNProtocols: ['h2', 'http/1.1'] };
  const shakes = createTlsServer(files, (socket) => {
    let bytes = 0;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MUCH_BYTES) socket.destroy();
    });
  });
  const waiting: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {});
    if (reads) waiting.push(socket);
    else socket.destroy();
  });
  setInterval(() => {
    const next = waiting.splice(0, 1)[0];
    if (next !== undefined) shakes.emit('connection', next);
  }, LET_IN_EVERY_MS);
  server.listen(0, '127.0.0.1', 1024, () => {
    const bound = server.address();
    process.send?.(typeof bound === 'object' ? bound?.port : 0);
  });
  process.on('disconnect', () => process.exit(0));
}

if (process.argv[2] === '--serve') serve(JSON.parse(process.argv[3] as string) as StandInOrder);
