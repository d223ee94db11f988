/** What a configuration must look like, written as the type that it then has. */
import type { Entries } from './config.ts';

/** Makes a setting of its text, `undefined` where it is not set; throws what is wrong with it. */
export type Field<T> = (text: string | undefined) => T;

type Shaped<Fields extends Record<string, Field<unknown>>> = {
  readonly [Name in keyof Fields]: ReturnType<Fields[Name]>;
};

/** All settings of these names; what is stored beside them does not count. The error names every setting that is wrong. */
export function shape<Fields extends Record<string, Field<unknown>>>(
  fields: Fields,
): (entries: Entries) => Shaped<Fields> {
  return (entries) => {
    const values: Record<string, unknown> = {};
    const problems: string[] = [];
    for (const [name, field] of Object.entries(fields)) {
      try {
        values[name] = field(Object.hasOwn(entries, name) ? entries[name] : undefined);
      } catch (error) {
        problems.push(`${name} ${(error as Error).message}`);
      }
    }
    if (problems.length > 0) throw new TypeError(problems.join('; '));
    return values as Shaped<Fields>;
  };
}

/** Whatever it is. */
export function anyText(): Field<string> {
  return given((value) => value);
}

/** A whole number within bounds, both included. */
export function wholeNumber(least = Number.MIN_SAFE_INTEGER, most = Number.MAX_SAFE_INTEGER): Field<number> {
  return given((value) => {
    const number = Number(value);
    if (value.trim() !== '' && Number.isSafeInteger(number) && number >= least && number <= most) return number;
    throw new TypeError(`is ${JSON.stringify(value)}, not a whole number from ${least} to ${most}`);
  });
}

/** `true` or `false`. */
export function yesNo(): Field<boolean> {
  const word = oneOf('true', 'false');
  return (value) => word(value) === 'true';
}

export function oneOf<const Words extends readonly string[]>(...words: Words): Field<Words[number]> {
  return given((value) => {
    if (words.includes(value)) return value;
    throw new TypeError(`is ${JSON.stringify(value)}, not one of ${words.join(', ')}`);
  });
}

/** JSON that passes a check of one's own. */
export function parsed<T>(check: (value: unknown) => T): Field<T> {
  return given((value) => check(JSON.parse(value)));
}

/** What it is where it is not set. */
export function optional<T, Default>(field: Field<T>, otherwise: Default): Field<T | Default> {
  return (value) => (value === undefined ? otherwise : field(value));
}

function given<T>(parse: (value: string) => T): Field<T> {
  return (value) => {
    if (value === undefined) throw new TypeError('is not set');
    return parse(value);
  };
}
