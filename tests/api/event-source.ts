/** A client for server-sent events that does what browsers do: reads lines, keeps the last id, sends it when it comes back. */

export interface Told {
  readonly id: string | null;
  readonly event: string;
  readonly data: Record<string, unknown>;
}

export class EventSource {
  lastId = '';
  private readonly url: string;
  private abort = new AbortController();
  private reading: Promise<void>;
  private readonly told: Told[] = [];
  private wake: (() => void) | null = null;

  constructor(url: string) {
    this.url = url;
    this.reading = this.read();
  }

  /** The next event, which has to be of this kind. */
  async next(event: string): Promise<Told> {
    while (this.told.length === 0) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    const [told] = this.told.splice(0, 1) as [Told];
    if (told.event !== event) throw new Error(`${told.event} instead of ${event}: ${JSON.stringify(told.data)}`);
    return told;
  }

  async breakOff(): Promise<void> {
    this.abort.abort();
    await this.reading.catch(() => {});
  }

  async resume(): Promise<void> {
    this.abort = new AbortController();
    this.reading = this.read();
    await Promise.resolve();
  }

  private async read(): Promise<void> {
    const headers = { accept: 'text/event-stream', ...(this.lastId === '' ? {} : { 'last-event-id': this.lastId }) };
    const answer = await fetch(this.url, { headers, signal: this.abort.signal });
    if (answer.status !== 200 || answer.body === null) throw new Error(`${answer.status}: ${await answer.text()}`);
    let text = '';
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop() as string;
      for (const block of blocks) this.take(block);
    }
  }

  private take(block: string): void {
    const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/s) as [string, string]));
    const event = fields.get('event');
    if (event === undefined) return;
    const id = fields.get('id') ?? null;
    if (id !== null) this.lastId = id;
    this.told.push({ id, event, data: JSON.parse(fields.get('data') ?? '{}') });
    this.wake?.();
  }
}
