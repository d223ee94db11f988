/** What the frame of a table is drawn with: its lines, and for its top, middle and foot where they meet. */
export interface Pen {
  readonly across: string;
  readonly down: string;
  readonly top: readonly [string, string, string];
  readonly middle: readonly [string, string, string];
  readonly foot: readonly [string, string, string];
}

export const BOXES: Pen = {
  across: '─',
  down: '│',
  top: ['┌', '┬', '┐'],
  middle: ['├', '┼', '┤'],
  foot: ['└', '┴', '┘'],
};

export const ASCII: Pen = {
  across: '-',
  down: '|',
  top: ['+', '+', '+'],
  middle: ['+', '+', '+'],
  foot: ['+', '+', '+'],
};

/** A table with a frame, its headings centred and its cells to the right, as wide as the widest cell of each column. */
export function frame(headings: readonly string[], rows: readonly (readonly string[])[], pen: Pen = BOXES): string {
  const widths = headings.map((heading, column) =>
    Math.max(width(heading), ...rows.map((row) => width(row[column] ?? ''))),
  );
  const line = ([left, middle, right]: Pen['top']): string =>
    `${left}${widths.map((each) => pen.across.repeat(each + 2)).join(middle)}${right}\n`;
  const cells = (texts: readonly string[]): string =>
    `${pen.down}${texts.map((text, column) => ` ${text.padStart(widths[column] as number)} `).join(pen.down)}${pen.down}\n`;
  const centred = headings.map((heading, column) => {
    const space = (widths[column] as number) - width(heading);
    return `${' '.repeat(Math.floor(space / 2))}${heading}${' '.repeat(Math.ceil(space / 2))}`;
  });
  let out = line(pen.top) + cells(centred) + line(pen.middle);
  for (const row of rows) out += cells(row);
  return out + line(pen.foot);
}

function width(text: string): number {
  return [...text].length;
}
