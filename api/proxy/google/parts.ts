/**
 * What a part of a content shows to a Gemini model. It comes with the call, or is refused: what Google keeps as a file, or fetches from
 * elsewhere, may be of anybody who uses the same account, and another thing by the time of the call.
 */
import { geminiImageTokens } from '../../../core/prices/image-tokens';
import { overheads, textTokensMax, valueTokensMax } from '../../../core/prices/token-bounds';
import { isRecord } from '../../../core/prices/usage';
import { checkFields, lookInside, quoted, refuse, saidIn, unbounded } from '../unbounded';

/** Fields of a part that are text, or what was said and called before. */
const plainFields = ['codeExecutionResult', 'executableCode', 'functionCall', 'mediaResolution', 'partMetadata'];
const saidFields = ['functionResponse', 'inlineData', 'text', 'thought', 'thoughtSignature'];

/** What contents come to: tokens that their bytes tell, and what only their provider can count. */
export class ContentsBound {
  tokens = 0;
  images = 0;
  /** What they take at most, beside what their provider counts. */
  imageTokens = 0;
  documents = 0;
  /** A high resolution is asked for somewhere. */
  isHigh = false;

  constructor(private readonly model: string) {}

  contents(value: unknown): void {
    if (!Array.isArray(value) || value.length === 0) throw refuse('contents: at least one content is needed.');
    for (const content of value as unknown[]) this.content(content, 'contents');
  }

  content(value: unknown, where: string): void {
    if (!isRecord(value)) throw refuse(`${where}: each content must be an object.`);
    const { parts, ...rest } = value;
    checkFields(rest, ['role']);
    this.tokens += overheads.messageTokens + valueTokensMax(rest);
    for (const part of listOf(parts, where)) this.part(part, where);
  }

  private part(part: unknown, where: string): void {
    if (!isRecord(part)) throw refuse(`${where}: each part must be an object.`);
    checkSource(part);
    checkFields(part, [...plainFields, ...saidFields]);
    const { text, inlineData, functionResponse, ...rest } = part;
    this.isHigh ||= isHighResolution(part.mediaResolution);
    this.tokens += overheads.blockTokens + valueTokensMax(rest);
    if (text != null) this.tokens += textTokensMax(saidIn(text));
    if (inlineData != null) this.data(inlineData, where);
    if (functionResponse == null) return;
    if (!isRecord(functionResponse)) throw refuse(`${where}: a functionResponse must be an object.`);
    const { parts, ...said } = functionResponse;
    this.tokens += 128 + valueTokensMax(said);
    for (const inner of listOf(parts, where)) this.part(inner, where);
  }

  private data(value: unknown, where: string): void {
    const { mimeType, data, ...rest }: Record<string, unknown> = isRecord(value) ? value : {};
    if (typeof mimeType !== 'string' || typeof data !== 'string')
      throw refuse(`${where}: inlineData needs mimeType and data.`);
    checkFields(rest, ['displayName']);
    this.tokens += valueTokensMax(rest);
    const type = mimeType.trim().toLowerCase();
    if (/^image\//.test(type)) {
      this.images += 1;
      const tokens = geminiImageTokens(() => Buffer.from(data, 'base64'), this.model);
      if (tokens === undefined)
        throw unbounded('An image whose width and height cannot be read (a PNG, JPEG or WebP is needed)');
      this.imageTokens += tokens;
    } else if (/^application\/pdf\b/.test(type)) this.documents += 1;
    else if (/^text\//.test(type))
      this.tokens += Math.max(data.length, textTokensMax(Buffer.from(data, 'base64').toString()));
    else throw unbounded(`Inline data of the type ${quoted(mimeType)}`);
  }
}

/** Whatever is not said to be low or medium: an enumeration may come as a number too. */
export function isHighResolution(asked: unknown): boolean {
  if (isRecord(asked) && Object.keys(asked).some((name) => name !== 'level')) return true;
  const level = isRecord(asked) ? asked.level : asked;
  return level != null && !(typeof level === 'string' && /(^|_)(unspecified|low|medium)$/i.test(level));
}

function listOf(value: unknown, where: string): readonly unknown[] {
  if (value == null) return [];
  if (!Array.isArray(value)) throw refuse(`${where}: parts must be a list.`);
  return value as unknown[];
}

function checkSource({ fileData, videoMetadata }: Record<string, unknown>): void {
  if (fileData != null) throw unbounded('A file that the provider keeps or fetches (fileData: send it as inlineData)');
  if (videoMetadata != null) throw unbounded('A video (videoMetadata)');
}

/**
 * Looks for what does not come with the call, however deep inside.
 * @throws ApiError by its name.
 */
export const checkSources = (value: unknown): void =>
  lookInside(value, (inside) => {
    checkSource(inside);
    if (inside.cachedContent != null) throw unbounded('A cache that the provider keeps (cachedContent)');
  });
