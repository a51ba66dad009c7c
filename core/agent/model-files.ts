/**
 * Images and PDFs that a model is shown: what a file is by its first bytes, and which model takes what. Sources, as of 2026-11-29: Anthropic's
 * "Vision" and "PDF support", OpenAI's "Images and vision" and "File inputs", Google's "Image understanding" and "Document understanding".
 */
import { geminiImageTokens } from '../prices/image-tokens';

/** Its length stands there. */
const any = undefined;

const beginnings: [mediaType: string, bytes: (number | undefined)[]][] = [
  ['application/pdf', [0x25, 0x50, 0x44, 0x46, 0x2d]],
  ['image/png', [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ['image/jpeg', [0xff, 0xd8, 0xff]],
  ['image/gif', [0x47, 0x49, 0x46, 0x38, 0x37, 0x61]],
  ['image/gif', [0x47, 0x49, 0x46, 0x38, 0x39, 0x61]],
  ['image/webp', [0x52, 0x49, 0x46, 0x46, any, any, any, any, 0x57, 0x45, 0x42, 0x50]],
];

/** Undefined of what no model is shown: text, or something else. */
export const mediaTypeOf = (content: Uint8Array): string | undefined =>
  beginnings.find(([, bytes]) => bytes.every((byte, index) => byte === any || content[index] === byte))?.[0];

const images = ['image/png', 'image/jpeg', 'image/webp'];
const pdf = 'application/pdf';
const megabyte = 1_000_000;

interface TakenFiles {
  types: readonly string[];
  imageBytesMax: number;
  pdfBytesMax: number;
}

/** Beyond what a provider takes in one request (32 MB, in base64) nothing is sent; the API takes no larger files anyway. */
const most = { imageBytesMax: 20 * megabyte, pdfBytesMax: 20 * megabyte };

function takenBy({ provider, model }: { provider: string; model: string }): TakenFiles {
  if (provider === 'anthropic') {
    const isOld = /^claude-3-(haiku|opus|5-haiku)/.test(model);
    // An image is at most 5 MB in base64.
    return { types: [...images, 'image/gif', ...(isOld ? [] : [pdf])], ...most, imageBytesMax: 3.75 * megabyte };
  }
  if (provider === 'google')
    return { types: [...images, pdf], imageBytesMax: 14 * megabyte, pdfBytesMax: 14 * megabyte };
  if (provider !== 'openai' || /^(gpt-3|o3-mini)/.test(model)) return { types: [], ...most };
  return { types: [...images, ...(/^gpt-4-turbo/.test(model) ? [] : [pdf])], ...most };
}

/** Why a model is not shown a file, and what it takes, as sentences; undefined where it is. */
export function problemOfFile(
  named: { provider: string; model: string },
  { name, mediaType, content }: { name: string; mediaType: string; content: Uint8Array },
): string | undefined {
  const { types, imageBytesMax, pdfBytesMax } = takenBy(named);
  const takes = `It takes ${[...types, 'text'].join(', ')}.`;
  if (!types.includes(mediaType))
    return `${name} is of the type ${mediaType}, which ${named.model} does not take. ${takes}`;
  const max = mediaType === pdf ? pdfBytesMax : imageBytesMax;
  const isBounded = named.provider !== 'google' || mediaType === pdf || geminiImageTokens(() => content, named.model);
  if (!isBounded) return `${name} has no width and height that can be read, so that nobody can say what it costs.`;
  if (content.length <= max) return undefined;
  return `${name} has ${content.length} bytes; of the type ${mediaType} ${named.model} takes at most ${max}.`;
}
