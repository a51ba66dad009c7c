/**
 * Alerts to a webhook. The body is JSON; `x-spendlock-signature: t=<seconds>,v1=<hex>` is the HMAC-SHA256 of
 * `<seconds>.<body>` under the shared secret, so that a receiver can tell who sent it and when. `alertId` is the same in a
 * repeat: one whose answer was lost is sent again.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { abortedAfter } from '../own-time';
import type { CostAlert, NotificationService } from './alerts';

/** Connecting, sending and the answer together. */
const timeoutMs = 10_000;

const signatureOf = ({ body, secret, atSeconds }: { body: string; secret: string; atSeconds: number }): string =>
  `t=${atSeconds},v1=${createHmac('sha256', secret).update(`${atSeconds}.${body}`).digest('hex')}`;

/** Whether a signature is that of the body under the secret, and no older than `maxAgeSeconds`. For receivers. */
export function isSignedBy(
  secret: string,
  {
    body,
    signature,
    nowSeconds,
    maxAgeSeconds = 300,
  }: { body: string; signature: string; nowSeconds: number; maxAgeSeconds?: number },
): boolean {
  const atSeconds = Number(/^t=(\d+),v1=[0-9a-f]{64}$/.exec(signature)?.[1] ?? NaN);
  if (!(Math.abs(nowSeconds - atSeconds) <= maxAgeSeconds)) return false;
  return timingSafeEqual(Buffer.from(signature), Buffer.from(signatureOf({ body, secret, atSeconds })));
}

export function webhookNotifications({
  url,
  secret,
  nowMs = Date.now,
}: {
  url: string;
  secret: string;
  nowMs?: () => number;
}): NotificationService {
  return {
    async sendAlert(alert: CostAlert, signal?: AbortSignal) {
      const body = JSON.stringify(alert);
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-spendlock-signature': signatureOf({ body, secret, atSeconds: Math.floor(nowMs() / 1000) }),
        },
        body,
        redirect: 'error',
        signal: abortedAfter(timeoutMs, signal),
      });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`The webhook answered ${response.status}.`);
    },
  };
}

/** Sends through one channel after the other; when one fails, all are tried again. The one that can fail goes first. */
export const allOf = (channels: readonly NotificationService[]): NotificationService => ({
  async sendAlert(alert, signal) {
    for (const channel of channels) await channel.sendAlert(alert, signal);
  },
});
