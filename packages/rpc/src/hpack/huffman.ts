/**
 * The Huffman code of HPACK (RFC 7541 §5.2 and appendix B). The code is canonical: code words are handed out by length
 * and, within a length, by symbol; so the lengths alone define it.
 *
 * One letter per symbol 0…256 (256 = end of string): 'A' = 5 bits, 'B' = 6 bits … 'Z' = 30 bits.
 */
const LENGTHS =
  'ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJB' +
  'KABABABBBACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRS' +
  'VVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWVZ';

const END_OF_STRING = 256;
const LENGTH = new Uint8Array(257);
const CODE = new Uint32Array(257);

function assignCodes(): void {
  let code = 0;
  for (let bits = 5; bits <= 30; bits++) {
    for (let symbol = 0; symbol <= END_OF_STRING; symbol++) {
      if (LENGTHS.charCodeAt(symbol) - 65 + 5 !== bits) continue;
      LENGTH[symbol] = bits;
      CODE[symbol] = code;
      code++;
    }
    code *= 2;
  }
}
assignCodes();

/*
 * Decoding takes four bits a step through a table of states. A state is an inner node of the code tree, so what is left
 * undecoded between steps is the path to that node. No code word is shorter than five bits: a step yields at most one
 * symbol. One table entry: bits 0–8 next state, 9–16 symbol, 17 a symbol is given, 18 stopping here is legal padding
 * (fewer than eight bits, all ones), 19 dead end (the end-of-string symbol must not occur).
 */
const EMIT = 1 << 17;
const ACCEPT = 1 << 18;
const FAIL = 1 << 19;
const STEP = buildSteps();

interface TreeNode {
  readonly id: number;
  readonly depth: number;
  readonly allOnes: boolean;
  readonly children: [TreeNode | number | null, TreeNode | number | null];
}

function buildTree(): TreeNode[] {
  const nodes: TreeNode[] = [{ id: 0, depth: 0, allOnes: true, children: [null, null] }];
  for (let symbol = 0; symbol <= END_OF_STRING; symbol++) {
    let at = nodes[0] as TreeNode;
    for (let bit = (LENGTH[symbol] as number) - 1; bit > 0; bit--) {
      const side = ((CODE[symbol] as number) >>> bit) & 1;
      let next = at.children[side];
      if (next === null) {
        next = { id: nodes.length, depth: at.depth + 1, allOnes: at.allOnes && side === 1, children: [null, null] };
        nodes.push(next);
        at.children[side] = next;
      }
      at = next as TreeNode;
    }
    at.children[(CODE[symbol] as number) & 1] = symbol;
  }
  return nodes;
}

function buildSteps(): Uint32Array {
  const nodes = buildTree();
  const root = nodes[0] as TreeNode;
  const steps = new Uint32Array(nodes.length * 16);
  for (const start of nodes) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let at = start;
      let entry = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = at.children[(nibble >>> bit) & 1] as TreeNode | number;
        if (next === END_OF_STRING) {
          entry = FAIL;
          break;
        }
        if (typeof next === 'number') {
          entry |= EMIT | (next << 9);
          at = root;
        } else at = next;
      }
      if (at.allOnes && at.depth < 8) entry |= ACCEPT;
      steps[start.id * 16 + nibble] = entry === FAIL ? FAIL : entry | at.id;
    }
  }
  return steps;
}

/** Longest string that can be decoded; the header-list limit is far below. */
const SCRATCH = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * Decodes `bytes[start, end)` to a one-byte string. Null: not a legal encoding, or longer than `limit` bytes decoded.
 */
export function huffmanDecode(bytes: Buffer, start: number, end: number, limit: number): string | null {
  const bound = Math.min(limit, SCRATCH.length);
  let length = 0;
  let entry = ACCEPT;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    entry = STEP[(entry & 0x1ff) * 16 + (byte >>> 4)] as number;
    if (entry & (EMIT | FAIL)) {
      if (entry & FAIL || length === bound) return null;
      SCRATCH[length++] = (entry >>> 9) & 0xff;
    }
    entry = STEP[(entry & 0x1ff) * 16 + (byte & 15)] as number;
    if (entry & (EMIT | FAIL)) {
      if (entry & FAIL || length === bound) return null;
      SCRATCH[length++] = (entry >>> 9) & 0xff;
    }
  }
  if ((entry & ACCEPT) === 0) return null;
  return SCRATCH.toString('latin1', 0, length);
}

/** Bytes that the encoded form of a one-byte string takes. */
export function huffmanSize(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += LENGTH[text.charCodeAt(i)] as number;
  return (bits + 7) >>> 3;
}

/** Writes the encoded form and returns the offset behind it. */
export function huffmanEncode(text: string, target: Buffer, offset: number): number {
  let at = offset;
  let held = 0; // up to 7 bits not yet written
  let heldBits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i);
    let left = LENGTH[symbol] as number;
    const code = CODE[symbol] as number;
    while (left > 0) {
      const take = Math.min(left, 8 - heldBits);
      held = (held << take) | ((code >>> (left - take)) & ((1 << take) - 1));
      heldBits += take;
      left -= take;
      if (heldBits === 8) {
        target[at++] = held;
        held = 0;
        heldBits = 0;
      }
    }
  }
  if (heldBits > 0) target[at++] = (held << (8 - heldBits)) | (0xff >>> heldBits);
  return at;
}
