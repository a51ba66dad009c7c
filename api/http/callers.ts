/**
 * Whom an API key speaks for, remembered for some seconds. Postgres tells when a key was revoked: it is forgotten then, and
 * what is open under it ends. While nobody would hear of that nothing is remembered.
 */
import { isKeyShaped, type KeyOwner } from '../../store/api-keys';
import { keyChannel, readKeyEnds, type FoundKey } from '../../store/key-callers';
import { listenTo, type Listener } from '../../store/listener';
import type { Pool } from '../../store/pool';
import { KeyLookups } from './key-lookups';

/** How long a key is remembered, and how many. */
const rememberMs = 5_000;
const entriesMax = 10_000;
/** How often keys with something open are looked up while nobody tells of their end. */
const lookMs = 1_000;
/** The longest that a timer is set for: a later end is looked up again. */
const timerMaxMs = 86_400_000;
/** How far apart statements begin that look up keys which nobody knew before: what a flood of them costs at most. */
const unknownApartMs = 20;

interface Remembered {
  owner: FoundKey;
  untilMs: number;
}

/** What is open under a key. */
interface Open {
  ended: AbortController;
  count: number;
  timer?: NodeJS.Timeout | undefined;
}

export class Callers {
  private readonly known = new Map<string, Remembered>();
  /** Whoever was known a while ago does not wait with those whom nobody knows. */
  private readonly lookups: { known: KeyLookups; unknown: KeyLookups };
  private readonly open = new Map<string, Open>();
  private readonly listener: Listener;
  private readonly looking: NodeJS.Timeout;
  /** Grows with each change that was told: what was read before it is not remembered. */
  private changes = 0;

  constructor(private readonly pool: Pool) {
    this.lookups = { known: new KeyLookups(pool, 0), unknown: new KeyLookups(pool, unknownApartMs) };
    this.listener = listenTo(pool, {
      channel: keyChannel,
      onPayload: (apiKeyId) => this.changed(apiKeyId),
      onChange: () => this.forgetAll(),
    });
    this.looking = setInterval(() => {
      if (!this.listener.isListening()) void this.look([...this.open.keys()]).catch(() => undefined);
    }, lookMs);
    this.looking.unref();
  }

  /** Whether it was good when it was last looked up. */
  wasKnown(key: string): boolean {
    return this.known.has(key);
  }

  /** Whom a key speaks for; undefined when it is none. */
  async of(key: string): Promise<KeyOwner | undefined> {
    if (!isKeyShaped(key)) return undefined;
    const known = this.known.get(key);
    if (known && known.untilMs > Date.now() && this.listener.isListening()) return known.owner;
    return this.lookUp(key, known ? this.lookups.known : this.lookups.unknown);
  }

  /**
   * A signal that a key was revoked, for what stays open under it. `release` when it is no longer open.
   * @throws Error when Postgres cannot be asked whether it is good at the moment.
   */
  async whileGood(apiKeyId: string): Promise<{ ended: AbortSignal; release: () => void }> {
    const open = this.open.get(apiKeyId) ?? { ended: new AbortController(), count: 0 };
    this.open.set(apiKeyId, open);
    open.count += 1;
    const release = (): void => {
      open.count -= 1;
      if (open.count > 0) return;
      clearTimeout(open.timer);
      if (this.open.get(apiKeyId) === open) this.open.delete(apiKeyId);
    };
    try {
      await this.look([apiKeyId]);
    } catch (error) {
      release();
      throw error;
    }
    return { ended: open.ended.signal, release };
  }

  async close(): Promise<void> {
    clearInterval(this.looking);
    for (const { timer } of this.open.values()) clearTimeout(timer);
    await this.listener.stop();
  }

  private async lookUp(key: string, lookups: KeyLookups): Promise<FoundKey | undefined> {
    const { changes } = this;
    const owner = await lookups.of(key);
    if (!owner) {
      this.known.delete(key);
      return undefined;
    }
    if (changes !== this.changes) return owner;
    if (this.known.size >= entriesMax) this.known.clear();
    const untilMs = Math.min(Date.now() + rememberMs, owner.revokedAt?.getTime() ?? Infinity);
    this.known.set(key, { owner, untilMs });
    return owner;
  }

  private changed(apiKeyId: string): void {
    this.changes += 1;
    // An entry without time says that the key was known once.
    for (const remembered of this.known.values()) if (remembered.owner.apiKeyId === apiKeyId) remembered.untilMs = 0;
    if (this.open.has(apiKeyId)) void this.look([apiKeyId]).catch(() => this.end(apiKeyId));
  }

  private forgetAll(): void {
    this.changes += 1;
    for (const remembered of this.known.values()) remembered.untilMs = 0;
    void this.look([...this.open.keys()]).catch(() => undefined);
  }

  /** Ends what is open under those of these keys that have ended, now or at their time. */
  private async look(apiKeyIds: string[]): Promise<void> {
    if (apiKeyIds.length === 0) return;
    const ends = await readKeyEnds(this.pool, apiKeyIds);
    for (const apiKeyId of apiKeyIds) {
      const open = this.open.get(apiKeyId);
      clearTimeout(open?.timer);
      const inMs = ends.get(apiKeyId);
      if (!open || inMs === undefined) continue;
      if (inMs <= 0) this.end(apiKeyId);
      else {
        open.timer = setTimeout(
          () => void this.look([apiKeyId]).catch(() => this.end(apiKeyId)),
          Math.min(inMs, timerMaxMs),
        );
        open.timer.unref();
      }
    }
  }

  private end(apiKeyId: string): void {
    this.open.get(apiKeyId)?.ended.abort();
    this.open.delete(apiKeyId);
  }
}
