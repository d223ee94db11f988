/** Fields of a query and of a form in the body, read as Go reads them: its errors are shown to clients. */

/** What stands for itself. */
const PLAIN = /^[\x20-\x24\x26-\x2a\x2c-\x7e]*$/;
const ESCAPE = /%(?![0-9a-fA-F]{2})/;
const FORM_TYPE = 'application/x-www-form-urlencoded';
/** Fields of one request. */
const FIELDS_MAX = 1000;
/** One parameter of a media type: a name and a value, which may be quoted. */
const MEDIA_PARAMETER = /^\s*[^\s"()/:;<=>?@[\\\]]+=(?:[^\s"()/:;<=>?@[\\\]]+|"(?:[^"\\]|\\.)*")\s*$/;

/** The values of each field in order, those of the body before those of the query; or why they can not be read. */
export class Form {
  private readonly values = new Map<string, string>();
  private fields = 0;
  /** Of the first thing that was wrong; empty where nothing is. */
  error = '';

  /** The first value of a field; undefined where there is no such field. */
  get(name: string): string | undefined {
    return this.values.get(name);
  }

  /** Takes in `a=1&b=2`, a text of bytes. */
  add(text: string): void {
    for (const part of text.split('&')) {
      if (part === '') continue;
      if (part.includes(';')) {
        this.fail('invalid semicolon separator in query');
        continue;
      }
      if (++this.fields > FIELDS_MAX) return this.fail('too many fields');
      const equals = part.indexOf('=');
      const name = this.decode(equals < 0 ? part : part.slice(0, equals));
      const value = this.decode(equals < 0 ? '' : part.slice(equals + 1));
      if (name !== null && value !== null && !this.values.has(name)) this.values.set(name, value);
    }
  }

  fail(error: string): void {
    if (this.error === '') this.error = error;
  }

  private decode(text: string): string | null {
    if (PLAIN.test(text)) return text;
    const bad = ESCAPE.exec(text);
    if (bad !== null) {
      this.fail(`invalid URL escape "${text.slice(bad.index, bad.index + 3)}"`);
      return null;
    }
    return percentDecode(text.replaceAll('+', ' '));
  }
}

/** What a text of bytes with escapes stands for, in UTF-8. Escapes must be whole. */
export function percentDecode(text: string): string {
  if (PLAIN.test(text)) return text;
  const bytes = text.includes('%')
    ? text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    : text;
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** The fields of a request: those of its body only where it is declared to be a form. */
export function readForm(method: string, query: string, contentType: string, body: Buffer): Form {
  const form = new Form();
  if ((method === 'PUT' || method === 'POST') && contentType !== '') {
    const [type = '', ...parameters] = contentType.split(';');
    const name = type.trim().toLowerCase();
    if (name === '') form.fail('mime: no media type');
    else if (parameters.some((part) => part.trim() !== '' && !MEDIA_PARAMETER.test(part))) {
      form.fail('mime: invalid media parameter');
    }
    if (name === FORM_TYPE) form.add(body.toString('latin1'));
  }
  form.add(query.startsWith('?') ? query.slice(1) : query);
  return form;
}
