/** The ways to print a result. What a result does not offer is refused, in etcdctl's words and with its exit code. */
import { ExitCode, Failure } from './failure.ts';
import { frame } from './table.ts';

export const FORMATS = ['fields', 'json', 'protobuf', 'simple', 'table'] as const;
export type Format = (typeof FORMATS)[number];

export interface View {
  /** Text with its line breaks. */
  readonly simple: () => string;
  /** The simple text holds one character per byte, since keys and values may be any bytes. */
  readonly simpleIsBytes?: true;
  /** Without a line break at its end. */
  readonly json: () => string;
  readonly fields?: () => string;
  readonly protobuf?: () => Buffer;
  readonly table?: () => { headings: readonly string[]; rows: readonly (readonly string[])[] };
}

/** How the user wants results. */
export interface Style {
  readonly format: Format;
  /** Keys, values and ids in hexadecimal. */
  readonly hex: boolean;
}

export function styleOf(format: string, hex: boolean): Style {
  if (!(FORMATS as readonly string[]).includes(format)) {
    throw new Failure(ExitCode.BAD_FEATURE, 'unsupported output format', `--write-out is one of ${FORMATS.join(', ')}`);
  }
  return { format: format as Format, hex };
}

/** The bytes to print. */
export function render(view: View, style: Style): string | Buffer {
  switch (style.format) {
    case 'simple':
      return view.simple();
    case 'json':
      return `${view.json()}\n`;
    case 'fields':
      if (view.fields !== undefined) return view.fields();
      break;
    case 'protobuf':
      if (view.protobuf !== undefined) return view.protobuf();
      break;
    case 'table':
      if (view.table !== undefined) {
        const { headings, rows } = view.table();
        return frame(headings, rows);
      }
  }
  throw new Failure(ExitCode.BAD_FEATURE, `${style.format} not supported as output format`);
}
