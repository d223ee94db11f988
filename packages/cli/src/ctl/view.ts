/** The ways to print a result. What a result does not offer is refused, in etcdctl's words and with its exit code. */
import { ExitCode, Failure } from './failure.ts';
import { ASCII, BOXES, frame } from './table.ts';

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
  /** Of which etcdctl the results are to be, where its versions differ. */
  readonly compat: Compat;
}

export const COMPATS = ['3.5', '3.6'] as const;
export type Compat = (typeof COMPATS)[number];

export function styleOf(format: string, hex: boolean, compat: string): Style {
  if (!(COMPATS as readonly string[]).includes(compat)) {
    throw new Failure(
      ExitCode.BAD_FEATURE,
      `unsupported version "${compat}"`,
      `write --compat=${COMPATS.join(' or =')}`,
    );
  }
  if (!(FORMATS as readonly string[]).includes(format)) {
    throw new Failure(ExitCode.BAD_FEATURE, 'unsupported output format', `--write-out is one of ${FORMATS.join(', ')}`);
  }
  return { format: format as Format, hex, compat: compat as Compat };
}

/** The bytes to print. */
export function render(view: View, style: Style): string | Buffer {
  switch (style.format) {
    case 'simple':
      return view.simple();
    case 'json':
      return `${view.json()}\n`;
    case 'fields':
      // A header without a revision says so up to 3.5 only.
      if (view.fields !== undefined && style.compat === '3.6') return view.fields().replace(/^"Revision" : 0\n/gm, '');
      if (view.fields !== undefined) return view.fields();
      break;
    case 'protobuf':
      if (view.protobuf !== undefined) return view.protobuf();
      break;
    case 'table':
      if (view.table !== undefined) {
        const { headings, rows } = view.table();
        return frame(headings, rows, style.compat === '3.6' ? ASCII : BOXES);
      }
  }
  throw new Failure(ExitCode.BAD_FEATURE, `${style.format} not supported as output format`);
}
