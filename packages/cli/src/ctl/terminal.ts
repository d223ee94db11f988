import type { Surroundings } from './context.ts';

/** Everything up to the end of the input. */
export async function readAll(input: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of input) chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks);
}

/** Lines of the input, one at a time, without their ends; null at the end of the input, also after half a line. */
export class LineReader {
  private readonly chunks: AsyncIterator<Buffer>;
  private held = Buffer.alloc(0);
  private ended = false;

  constructor(input: NodeJS.ReadableStream) {
    this.chunks = (input as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  async next(): Promise<string | null> {
    for (;;) {
      const end = this.held.indexOf(10);
      if (end >= 0) {
        const line = this.held.toString('utf8', 0, end);
        this.held = this.held.subarray(end + 1);
        return line;
      }
      if (this.ended) return null;
      const { done, value } = await this.chunks.next();
      if (done === true) this.ended = true;
      else this.held = Buffer.concat([this.held, Buffer.from(value)]);
    }
  }

  /** What is left of a last line without an end. */
  get rest(): string {
    return this.held.toString('utf8');
  }
}

/** Asks for a line that does not show while it is typed. Empty without a terminal or an input. */
export async function askPassword(prompt: string, { stdin, stdout }: Surroundings): Promise<string> {
  const isTerminal = stdin.isTTY === true;
  // Before the prompt: who answers at once is not to be seen either.
  if (isTerminal) stdin.setRawMode(true);
  stdout.write(prompt);
  try {
    return await readHidden(stdin);
  } finally {
    if (isTerminal) stdin.setRawMode(false);
    stdout.write('\n');
  }
}

const CONTROL = { C: 3, D: 4, BACKSPACE: 8, LINE_FEED: 10, RETURN: 13, U: 21, DELETE: 127 } as const;

/** One line, edited as it was typed. What comes behind it, a second answer for example, stays in the input. */
function readHidden(stdin: NodeJS.ReadableStream & { readonly readableEnded?: boolean }): Promise<string> {
  if (stdin.readableEnded === true) return Promise.resolve('');
  return new Promise((resolve, reject) => {
    let typed: number[] = [];
    const finish = (rest: Buffer): void => {
      stdin.off('data', take).off('end', ended).off('error', reject);
      stdin.pause();
      if (rest.length > 0) stdin.unshift(rest);
      resolve(Buffer.from(typed).toString('utf8'));
    };
    const ended = (): void => finish(Buffer.alloc(0));
    const take = (data: Buffer | string): void => {
      const chunk = Buffer.from(data as string);
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at] as number;
        if (byte === CONTROL.RETURN && chunk[at + 1] === CONTROL.LINE_FEED) return finish(chunk.subarray(at + 2));
        if (byte === CONTROL.RETURN || byte === CONTROL.LINE_FEED || byte === CONTROL.D) {
          return finish(chunk.subarray(at + 1));
        }
        if (byte === CONTROL.C) process.kill(process.pid, 'SIGINT');
        else if (byte === CONTROL.U) typed = [];
        else if (byte === CONTROL.BACKSPACE || byte === CONTROL.DELETE) dropCharacter(typed);
        else typed.push(byte);
      }
    };
    stdin.on('data', take).on('end', ended).on('error', reject);
    stdin.resume();
  });
}

/** Takes the last character of UTF-8 away: its first byte and those that continue it. */
function dropCharacter(bytes: number[]): void {
  for (let byte = bytes.pop(); byte !== undefined && (byte & 0xc0) === 0x80; byte = bytes.pop());
}
