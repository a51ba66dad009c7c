/**
 * The caches of prompts that providers document: Anthropic's, up to the marks that a request sets, and those that OpenAI and Google keep
 * by themselves. A prompt is its blocks in the order in which the provider reads them; what is cached of it is a beginning, byte for byte.
 * As documented by Anthropic ("Prompt caching"), OpenAI ("Prompt caching") and Google ("Context caching"), 2026-11.
 */
import { createHash } from 'node:crypto';

export interface CachedBlock {
  value: unknown;
  /** What it is a part of, which is no part of what is counted: the role of its message. */
  within?: string;
  /** A mark: the prompt is to be cached up to here, so long. */
  ttl?: '5m' | '1h';
}

/** How a provider caches a prompt. */
export interface CacheRule {
  blocks: CachedBlock[];
  /** What else has to be the same: the model, and what its provider finds its caches by. */
  key: unknown[];
  /** A shorter beginning is not cached. */
  minimumTokens: number;
  /** Where the provider caches by itself: in pieces of so many tokens. Otherwise up to the marks. */
  stepTokens?: number;
}

/** Tokens of a prompt that a cache took part in. */
export interface CacheCounts {
  read: number;
  written5m: number;
  written1h: number;
}

const lifetimesMs = { '5m': 300_000, '1h': 3_600_000 };
/** From a mark the provider looks back over so many blocks for what it has. */
const lookbackBlocks = 20;
/** More than this are forgotten, the oldest first. */
const entriesMax = 200_000;

interface Beginning {
  hash: string;
  tokens: number;
  ttl: '5m' | '1h';
}

export class PromptCache {
  private readonly entries = new Map<string, { expiresAt: number; ttl: '5m' | '1h' }>();

  /** What of a prompt of so many tokens is read and written by a call that begins to answer now. */
  take(rule: CacheRule | undefined, tokens: number, nowMs: number): CacheCounts {
    if (!rule) return { read: 0, written5m: 0, written1h: 0 };
    return rule.stepTokens === undefined ? this.byMarks(rule, tokens, nowMs) : this.byItself(rule, tokens, nowMs);
  }

  private byMarks({ blocks, key, minimumTokens }: CacheRule, tokens: number, nowMs: number): CacheCounts {
    const hash = createHash('sha256').update(JSON.stringify(key));
    let weight = 0;
    const beginnings = blocks.map(({ value, within, ttl = '5m' }): Beginning => {
      const text = JSON.stringify(value);
      weight += weightOf(text);
      hash.update(`${within} ${text}\n`);
      return { hash: hash.copy().digest('base64'), tokens: Math.min(tokens, Math.floor(weight / 4)), ttl };
    });
    const marks = blocks.flatMap(({ ttl }, index) => (ttl === undefined ? [] : [index]));
    const found = marks
      .flatMap((mark) => beginnings.slice(Math.max(0, mark - lookbackBlocks + 1), mark + 1))
      .filter((beginning) => this.isLive(beginning, nowMs));
    const counts = { read: Math.max(0, ...found.map((beginning) => beginning.tokens)), written5m: 0, written1h: 0 };
    let end = counts.read;
    for (const beginning of [...found, ...marks.map((mark) => beginnings[mark] as Beginning)]) {
      if (beginning.tokens < minimumTokens) continue;
      this.keep(beginning, nowMs);
      if (beginning.tokens <= end) continue;
      counts[beginning.ttl === '1h' ? 'written1h' : 'written5m'] += beginning.tokens - end;
      end = beginning.tokens;
    }
    return counts;
  }

  private byItself(rule: CacheRule, tokens: number, nowMs: number): CacheCounts {
    const { blocks, key, minimumTokens, stepTokens = 1 } = rule;
    const hash = createHash('sha256').update(JSON.stringify(key));
    const bytes = Buffer.from(JSON.stringify(blocks.map(({ value }) => value)));
    const beginnings: Beginning[] = [];
    let [from, weight] = [0, 0];
    for (let at = 0; at < bytes.length; at += 1) {
      weight += (bytes[at] ?? 0) < 0x80 ? 1 : 2;
      if (weight < stepTokens * 4) continue;
      hash.update(bytes.subarray(from, at + 1));
      const length = (beginnings.length + 1) * stepTokens;
      beginnings.push({ hash: hash.copy().digest('base64'), tokens: length, ttl: '5m' });
      [from, weight] = [at + 1, 0];
    }
    const cacheable = beginnings.filter((one) => one.tokens >= minimumTokens && one.tokens <= tokens);
    const read = cacheable.findLast((beginning) => this.isLive(beginning, nowMs))?.tokens ?? 0;
    for (const beginning of cacheable) this.keep(beginning, nowMs);
    return { read, written5m: Math.max(0, (cacheable.at(-1)?.tokens ?? 0) - read), written1h: 0 };
  }

  private isLive({ hash }: Beginning, nowMs: number): boolean {
    return (this.entries.get(hash)?.expiresAt ?? 0) > nowMs;
  }

  /** Being read begins its time anew. */
  private keep({ hash, ttl: asked }: Beginning, nowMs: number): void {
    const kept = this.entries.get(hash);
    const ttl = kept && kept.expiresAt > nowMs && kept.ttl === '1h' ? '1h' : asked;
    this.entries.delete(hash);
    this.entries.set(hash, { expiresAt: nowMs + lifetimesMs[ttl], ttl });
    const [oldest] = this.entries.keys();
    if (this.entries.size > entriesMax && oldest !== undefined) this.entries.delete(oldest);
  }
}

/** A token has four bytes of ASCII, or two of anything else. */
function weightOf(text: string): number {
  const others = Buffer.byteLength(text.replace(/[\0-\x7f]+/g, ''));
  return Buffer.byteLength(text) + others;
}

export const tokensOf = (text: string): number => Math.max(1, Math.ceil(weightOf(text) / 4));
