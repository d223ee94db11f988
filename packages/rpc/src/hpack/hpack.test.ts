import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Prng } from '@etsd/base';
import { Decoder } from './decoder.ts';
import { Encoder, fieldBound } from './encoder.ts';
import { huffmanDecode, huffmanEncode, huffmanSize } from './huffman.ts';
import { KnownBlocks } from './known-blocks.ts';
import { FieldKind, STATIC_COUNT, STATIC_TABLE } from './table.ts';

const LIMITS = { headerListBytes: 16_384, headerFields: 100 };

function decodeHex(decoder: Decoder, hex: string): string[] | null {
  const bytes = Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
  const block = decoder.decode(bytes, 0, bytes.length);
  return block === null ? null : block.fields.map((field) => `${field.name}: ${field.value}`);
}

/** Table content as the RFC prints it: newest first. */
function table(decoder: Decoder): string[] {
  return Array.from({ length: decoder.table.count }, (_, i) => {
    const field = decoder.table.at(i);
    return `${field?.name}: ${field?.value}`;
  });
}

describe('HPACK, the examples of RFC 7541 appendix C', () => {
  it('C.2: the four ways to write one field', () => {
    const literal = '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572';
    const decoder = new Decoder(LIMITS, 4096);
    assert.deepEqual(decodeHex(decoder, literal), ['custom-key: custom-header']);
    assert.equal(decoder.table.size, 55);
    assert.deepEqual(decodeHex(decoder, '040c 2f73 616d 706c 652f 7061 7468'), [':path: /sample/path']);
    assert.deepEqual(decodeHex(decoder, '1008 7061 7373 776f 7264 0673 6563 7265 74'), ['password: secret']);
    assert.deepEqual(decodeHex(decoder, '82'), [':method: GET']);
    assert.equal(decoder.table.count, 1);
  });

  it('C.3: requests without Huffman, over one table', () =>
    requests(
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ));

  it('C.4: the same with Huffman', () =>
    requests(
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ));

  function requests(first: string, second: string, third: string): void {
    const decoder = new Decoder(LIMITS, 4096);
    const common = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
    assert.deepEqual(decodeHex(decoder, first), common);
    assert.deepEqual(decodeHex(decoder, second), [...common, 'cache-control: no-cache']);
    assert.deepEqual(decodeHex(decoder, third), [
      ':method: GET',
      ':scheme: https',
      ':path: /index.html',
      ':authority: www.example.com',
      'custom-key: custom-value',
    ]);
    const entries = ['custom-key: custom-value', 'cache-control: no-cache', ':authority: www.example.com'];
    assert.deepEqual(table(decoder), entries);
    assert.equal(decoder.table.size, 164);
  }

  it('C.5: responses with eviction from a table of 256 bytes', () =>
    responses(
      `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
     2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
      '4803 3330 37c1 c0bf',
      `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
     7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
     6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
    ));

  it('C.6: the same with Huffman', () =>
    responses(
      `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
     1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
      '4883 640e ffc1 c0bf',
      `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
     e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
    ));

  function responses(first: string, second: string, third: string): void {
    const decoder = new Decoder(LIMITS, 256);
    const location = 'location: https://www.example.com';
    const date = 'date: Mon, 21 Oct 2013 20:13:21 GMT';
    assert.deepEqual(decodeHex(decoder, first), [':status: 302', 'cache-control: private', date, location]);
    assert.equal(decoder.table.size, 222);
    assert.deepEqual(decodeHex(decoder, second), [':status: 307', 'cache-control: private', date, location]);
    const later = 'date: Mon, 21 Oct 2013 20:13:22 GMT';
    const cookie = 'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
    const gzip = 'content-encoding: gzip';
    const fields = [':status: 200', 'cache-control: private', later, location, gzip, cookie];
    assert.deepEqual(decodeHex(decoder, third), fields);
    assert.deepEqual(table(decoder), [cookie, gzip, later]);
    assert.equal(decoder.table.size, 215);
  }
});

describe('HPACK, what must be refused', () => {
  const refused: [string, string][] = [
    ['index 0', '80'],
    ['an index beyond the table', 'be'],
    ['a name index beyond the table', '7f 00 01 61'],
    ['an integer that goes on for ever', 'ff ff ff ff ff ff ff ff'],
    ['an integer padded with zeros', 'ff 80 80 80 80 80 00'],
    ['an integer cut off', 'ff'],
    ['a string longer than the block', '00 05 61'],
    ['a string without length', '00'],
    ['a table larger than was offered', '3f e2 1f'],
    ['a table size behind a field', '82 20'],
    ['Huffman padding of eight bits', '00 82 1f ff 01 61'],
    ['Huffman padding of zeros', '00 81 18 01 61'],
    ['the Huffman end of string', '00 84 ff ff ff ff 01 61'],
  ];
  for (const [what, hex] of refused) {
    it(what, () => assert.equal(decodeHex(new Decoder(LIMITS, 4096), hex), null));
  }

  it('does not keep more than the limits allow, but decodes to the end', () => {
    const decoder = new Decoder({ headerListBytes: 1000, headerFields: 5 }, 4096);
    const many = Buffer.from(`400161${'01'}62${'be'.repeat(50)}`, 'hex');
    const block = decoder.decode(many, 0, many.length);
    assert.equal(block?.tooLarge, true);
    assert.equal(block?.fields.length, 5);
    assert.equal(block?.size, 51 * 34);
    const long = Buffer.concat([Buffer.from('0001617fce03', 'hex'), Buffer.alloc(589, 0x62), Buffer.from('82', 'hex')]);
    assert.equal(decoder.decode(long, 0, long.length)?.tooLarge, false);
  });
});

describe('HPACK, the rest', () => {
  it('knows the static table and sorts names', () => {
    assert.equal(STATIC_TABLE.length, STATIC_COUNT + 1);
    assert.equal(STATIC_TABLE[61]?.name, 'www-authenticate');
    assert.equal(STATIC_TABLE[16]?.value, 'gzip, deflate');
    assert.equal(STATIC_TABLE[4]?.kind, FieldKind.PATH);
    const decoder = new Decoder(LIMITS, 4096);
    const kinds = (hex: string) => {
      const bytes = Buffer.from(hex, 'hex');
      return decoder.decode(bytes, 0, bytes.length)?.fields.map((field) => field.kind);
    };
    assert.deepEqual(kinds('00014101610003617c6200'), [FieldKind.MALFORMED, FieldKind.OTHER]);
    assert.deepEqual(kinds('00000161'), [FieldKind.MALFORMED]);
    assert.deepEqual(kinds('0001610300010a'.replace('0300', '0361')), [FieldKind.MALFORMED]);
  });

  it('encodes every byte with Huffman and back', () => {
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1');
    for (let end = 0; end <= 256; end++) {
      const text = all.slice(0, end);
      const target = Buffer.alloc(huffmanSize(text));
      assert.equal(huffmanEncode(text, target, 0), target.length);
      assert.equal(huffmanDecode(target, 0, target.length, 65_536), text);
    }
  });

  it('returns the same object for a repeated block until the table changes', () => {
    const known = new KnownBlocks(new Decoder(LIMITS, 4096));
    const decode = (hex: string) => {
      const bytes = Buffer.from(hex, 'hex');
      return known.decode(bytes, 0, bytes.length);
    };
    decode('4001610162');
    const first = decode('82be');
    assert.equal(first?.fields[1]?.value, 'b');
    assert.equal(decode('82be'), first);
    decode('4001610163');
    assert.equal(decode('82be')?.fields[1]?.value, 'c');
  });

  it('agrees with itself over random lists, table sizes and settings (seed printed)', (test) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    test.diagnostic(`SEED=${seed}`);
    const random = new Prng(seed);
    const encoder = new Encoder();
    const decoder = new Decoder({ headerListBytes: 1 << 20, headerFields: 1000 }, 4096);
    const word = (length: number) => {
      let text = '';
      for (let i = 0; i < length; i++) text += String.fromCharCode(97 + (random.u32() % 26));
      return text;
    };
    const values = Array.from({ length: 40 }, () => word(random.u32() % 60));
    for (let round = 0; round < 500; round++) {
      if (random.u32() % 20 === 0) encoder.setPeerTableSize(random.u32() % 5000);
      const fields: [string, string][] = [];
      for (let i = random.u32() % 12; i > 0; i--) {
        fields.push([`x-${values[random.u32() % 8]}`, values[random.u32() % 40] as string]);
      }
      const target = Buffer.alloc(fields.reduce((sum, [name, value]) => sum + fieldBound(name, value), 16));
      let at = encoder.begin(target, 0);
      for (const [name, value] of fields) at = encoder.field(target, at, name, value, random.u32() % 2 === 0);
      const block = decoder.decode(target, 0, at);
      assert.deepEqual(
        block?.fields.map((field) => [field.name, field.value]),
        fields,
      );
    }
  });

  it('survives random bytes (seed printed)', (test) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    test.diagnostic(`SEED=${seed}`);
    const random = new Prng(seed);
    for (let round = 0; round < 3000; round++) {
      const decoder = new Decoder(LIMITS, 4096);
      for (let blocks = 0; blocks < 4; blocks++) {
        const bytes = Buffer.from(Array.from({ length: random.u32() % 200 }, () => random.u32() & 255));
        const block = decoder.decode(bytes, 0, bytes.length);
        assert.ok(decoder.table.size <= 4096);
        if (block === null) break;
        assert.ok(block.fields.length <= LIMITS.headerFields);
      }
    }
  });
});
