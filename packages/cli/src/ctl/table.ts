/** A table with a frame, its headings centred and its cells to the right, as wide as the widest cell of each column. */
export function frame(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(width(heading), ...rows.map((row) => width(row[column] ?? ''))),
  );
  const line = (left: string, middle: string, right: string): string =>
    `${left}${widths.map((each) => '─'.repeat(each + 2)).join(middle)}${right}\n`;
  const cells = (texts: readonly string[]): string =>
    `│${texts.map((text, column) => ` ${text.padStart(widths[column] as number)} `).join('│')}│\n`;
  const centred = headings.map((heading, column) => {
    const space = (widths[column] as number) - width(heading);
    return `${' '.repeat(Math.floor(space / 2))}${heading}${' '.repeat(Math.ceil(space / 2))}`;
  });
  let out = line('┌', '┬', '┐') + cells(centred) + line('├', '┼', '┤');
  for (const row of rows) out += cells(row);
  return out + line('└', '┴', '┘');
}

function width(text: string): number {
  return [...text].length;
}
