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
  stdout.write(prompt);
  const isTerminal = stdin.isTTY === true;
  if (isTerminal) stdin.setRawMode(true);
  let text = '';
  try {
    for await (const chunk of stdin as AsyncIterable<Buffer>) {
      for (const character of chunk.toString('utf8')) {
        if (character === '\r' || character === '\n') return text;
        if (character === '\x03') process.kill(process.pid, 'SIGINT');
        else if (character === '\x7f') text = text.slice(0, -1);
        else text += character;
      }
    }
    return text;
  } finally {
    if (isTerminal) stdin.setRawMode(false);
    stdin.pause();
    stdout.write('\n');
  }
}
