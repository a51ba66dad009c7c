/**
 * How many tokens an image takes at most with Gemini. Models before Gemini 3 look at a large one in tiles, of which a long and narrow one has many: what
 * an image is told by its own first bytes, since its length tells nothing of it.
 */
/**
 * The most that an image takes: 2,240 tokens at the highest resolution of Gemini 3, about as much of earlier models whose tiles are few
 * ("Media resolution" of Google's documentation, as of 2026-11-29). Its counting may say 258 for any.
 */
const imageTokensMax = 2_304;
/** Of a tile, and of an image that has none. */
const tileTokens = 258;
/** An image is looked at in tiles where one of its sides is longer. */
const untiledMax = 384;
/** A tile is as long as two thirds of the shorter side, and no longer than this ("Image understanding", as of 2026-11-29). */
const tileMax = 768;

interface Size {
  width: number;
  height: number;
}

/** A picture has one frame, some formats have one a scan. */
const framesMax = 256;
/** What a frame of a JPEG has at least: its length, its precision, its height, its width and how many components it has. */
const frameLengthMin = 8;

/** Undefined where that follows from its width and height, and nobody can tell them. @param bytes of the image. */
export function geminiImageTokens(bytes: () => Uint8Array, model: string): number | undefined {
  if (/^gemini-([3-9]|\d\d)/.test(model)) return imageTokensMax;
  const tokens = tokensIn(bytes());
  return tokens === undefined ? undefined : Math.max(imageTokensMax, tokens);
}

/** A page of a document is counted at 258 tokens, and may take 560 with its text, or 1,120 where a high resolution is asked for. */
export const geminiPageFactor = { plain: 3, high: 5 };

/** One more than its tiles: the whole is looked at too. Undefined of what is no size. */
function tiledTokens({ width, height }: Size): number | undefined {
  if (width <= 0 || height <= 0) return undefined;
  if (Math.max(width, height) <= untiledMax) return tileTokens;
  const tile = Math.max(1, Math.min(tileMax, Math.floor(Math.min(width, height) / 1.5)));
  return tileTokens * (1 + Math.ceil(width / tile) * Math.ceil(height / tile));
}

/**
 * By what it says that it is in its first bytes, and not by its name. A HEIC or HEIF is not read: it has several images in one, made of
 * others, and what each of its decoders takes for the whole is for it to say.
 */
function tokensIn(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ascii = (from: number, to: number): string => String.fromCharCode(...bytes.subarray(from, to));
  try {
    if (ascii(0, 8) === '\x89PNG\r\n\x1a\n' && ascii(12, 16) === 'IHDR')
      return tiledTokens({ width: view.getUint32(16), height: view.getUint32(20) });
    if (view.getUint16(0) === 0xffd8) return tokensOfJpeg(view);
    if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') return tiledTokens(sizeOfWebP(view, ascii(12, 16)));
  } catch {
    // It ends before it has said so.
  }
  return undefined;
}

/** Of the largest of its frames, before its first scan. */
function tokensOfJpeg(view: DataView): number | undefined {
  let [most, frames] = [0, 0];
  for (let at = 2; at + 4 <= view.byteLength && view.getUint8(at) === 0xff;) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (marker === 0xda || marker === 0xd9) break;
    const hasLength = marker !== 0x01 && !(marker >= 0xd0 && marker <= 0xd8);
    const length = hasLength ? view.getUint16(at + 2) : 0;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      const tokens = tiledTokens({ height: view.getUint16(at + 5), width: view.getUint16(at + 7) });
      frames += 1;
      if (tokens === undefined || frames > framesMax || length < frameLengthMin) return undefined;
      most = Math.max(most, tokens);
    }
    at += 2 + length;
  }
  return most > 0 ? most : undefined;
}

function sizeOfWebP(view: DataView, chunk: string): Size {
  if (chunk === 'VP8X') return { width: uint24(view, 24) + 1, height: uint24(view, 27) + 1 };
  if (chunk === 'VP8L') {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (chunk !== 'VP8 ') return { width: 0, height: 0 };
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

const uint24 = (view: DataView, at: number): number => view.getUint16(at, true) + view.getUint8(at + 2) * 0x1_0000;
