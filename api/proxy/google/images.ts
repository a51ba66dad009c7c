/**
 * How many tokens an image takes at most. Models before Gemini 3 look at a large one in tiles, of which a long and narrow one has many: what
 * an image is told by its own first bytes, since its length tells nothing of it.
 */
import { unbounded } from '../unbounded';

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

/** @throws ApiError where that follows from its width and height, and nobody can tell them. */
export function imageTokensOf(data: string, model: string): number {
  if (/^gemini-([3-9]|\d\d)/.test(model)) return imageTokensMax;
  const sizes = sizesOf(Buffer.from(data, 'base64'));
  if (sizes.length === 0)
    throw unbounded('An image whose width and height cannot be read (a PNG, JPEG, WebP, HEIC or HEIF is needed)');
  return Math.max(imageTokensMax, ...sizes.map(tiledTokens));
}

/** One more than its tiles: the whole is looked at too. */
function tiledTokens({ width, height }: Size): number {
  if (Math.max(width, height) <= untiledMax) return tileTokens;
  const tile = Math.max(1, Math.min(tileMax, Math.floor(Math.min(width, height) / 1.5)));
  return tileTokens * (1 + Math.ceil(width / tile) * Math.ceil(height / tile));
}

/** What it says that it is, by its first bytes and not by its name: several, where its format has several images in one. */
function sizesOf(bytes: Buffer): Size[] {
  const ascii = (from: number, to: number): string => bytes.toString('latin1', from, to);
  let sizes: Size[] = [];
  try {
    if (ascii(0, 8) === '\x89PNG\r\n\x1a\n' && ascii(12, 16) === 'IHDR')
      sizes = [{ width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) }];
    else if (bytes.readUInt16BE(0) === 0xffd8) sizes = sizesOfJpeg(bytes);
    else if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') sizes = [sizeOfWebP(bytes, ascii(12, 16))];
    else if (ascii(4, 8) === 'ftyp') sizes = sizesOfHeif(bytes);
  } catch {
    // It ends before it has said so.
    return [];
  }
  return sizes.every(({ width, height }) => width > 0 && height > 0) ? sizes : [];
}

/** Of each of its frames, before its first scan. */
function sizesOfJpeg(bytes: Buffer): Size[] {
  const found: Size[] = [];
  for (let at = 2; at + 4 <= bytes.length;) {
    if (bytes[at] !== 0xff) return found;
    const marker = bytes.readUInt8(at + 1);
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (marker === 0xda || marker === 0xd9) return found;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) found.push({ height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7) });
    const hasLength = marker !== 0x01 && !(marker >= 0xd0 && marker <= 0xd8);
    at += 2 + (hasLength ? bytes.readUInt16BE(at + 2) : 0);
  }
  return found;
}

function sizeOfWebP(bytes: Buffer, chunk: string): Size {
  if (chunk === 'VP8X') return { width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 };
  if (chunk === 'VP8L') {
    const bits = bytes.readUInt32LE(21);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (chunk !== 'VP8 ') return { width: 0, height: 0 };
  return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
}

/** All that its description has: of tiles, of thumbnails, and of the whole, which is the largest. */
function sizesOfHeif(bytes: Buffer): Size[] {
  const found: Size[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const length = bytes.readUInt32BE(at);
    const end = length === 0 ? bytes.length : at + length;
    if (length === 1 || (length > 0 && length < 8)) return found;
    if (bytes.toString('latin1', at + 4, at + 8) === 'meta') {
      const meta = bytes.subarray(at, end);
      for (let box = meta.indexOf('ispe'); box >= 0; box = meta.indexOf('ispe', box + 4))
        found.push({ width: meta.readUInt32BE(box + 8), height: meta.readUInt32BE(box + 12) });
      return found;
    }
    at = end;
  }
  return found;
}
