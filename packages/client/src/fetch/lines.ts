/** Lines of UTF-8 out of pieces cut anywhere, also inside of a character. */
export class LineSplitter {
  private readonly decoder = new TextDecoder();
  /** Pieces of the line that is not whole yet; joined once, or a long line would be copied with every piece. */
  private parts: string[] = [];

  /** The lines that are whole now, without their ends. */
  take(bytes: Uint8Array): string[] {
    const lines = this.decoder.decode(bytes, { stream: true }).split('\n');
    const rest = lines.pop() as string;
    if (lines.length > 0) {
      lines[0] = this.parts.join('') + lines[0];
      this.parts = [];
    }
    if (rest !== '') this.parts.push(rest);
    return lines;
  }
}
