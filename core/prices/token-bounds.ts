/**
 * How many tokens a text has at most, told from its bytes: no tokenizer in use makes more tokens of a text than it has bytes of UTF-8.
 * Why so, and what was measured: docs/decisions/0045-estimate.md.
 */

/** What providers add around what is sent, above what they document. */
export const overheads = {
  promptTokens: 64,
  /** Instructions of the provider's own for a prompt with tools: 530 is the most that one documents. */
  toolsTokens: 1_024,
  toolTokens: 64,
  /** The same for a prompt that asks for thoughts, or for an answer of a certain form. */
  settingsTokens: 1_024,
  messageTokens: 16,
  blockTokens: 64,
  /** Around each value of what is structured: marks, spaces, a name that is repeated at the end. */
  valueTokens: 16,
};

/** A character can be 18 in its compatibility form: a long text is bounded in pieces, none of which can become too long for a text. */
const pieceUnits = 65_536;
/** At most what letter and marks on both sides of a seam have more bytes together than apart, where they compose otherwise. */
const seamTokens = 16;

/** Bytes as they are sent, or as some tokenizers rewrite them first: in their compatibility form, where that is longer. */
export function textTokensMax(text: string): number {
  let tokens = 0;
  let from = 0;
  do {
    const to = from + pieceUnits - (isFirstHalf(text.charCodeAt(from + pieceUnits - 1)) ? 1 : 0);
    tokens += pieceTokensMax(text.slice(from, to)) + (from > 0 ? seamTokens : 0);
    from = to;
  } while (from < text.length);
  return tokens;
}

const isFirstHalf = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;

function pieceTokensMax(text: string): number {
  const bytes = utf8Bytes(JSON.stringify(text));
  return bytes === text.length + 2 ? bytes : Math.max(bytes, utf8Bytes(JSON.stringify(text.normalize('NFKC'))));
}

/** What is structured may be shown to the model as JSON in ASCII, with spaces, or with marks around each value. */
export function valueTokensMax(value: unknown): number {
  let values = 0;
  const json = JSON.stringify(value ?? {}, (_, inner: unknown) => {
    values += 1;
    return inner;
  });
  const escaped = json.replace(/[\0-\x7f]+/g, '').length;
  return json.length + 5 * escaped + values * overheads.valueTokens;
}

/** Of a text without lone surrogates, as JSON is. */
function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x80) continue;
    const isHalf = code >= 0xd800 && code <= 0xdfff;
    bytes += code < 0x800 || isHalf ? 1 : 2;
  }
  return bytes;
}
