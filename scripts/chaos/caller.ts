/** Somebody who calls the API, and asks again as a patient client does. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Installation } from './installation';

export interface Answer {
  status: number;
  body: Record<string, unknown>;
}

export class Caller {
  /** How often a path was answered with which status. */
  readonly answers = new Map<string, number>();

  constructor(private readonly installation: Installation) {}

  /** Asks until there is an answer that is not the server's trouble, for two minutes: longer than any fault. */
  async insist(
    method: string,
    where: string,
    body: object,
    headers: Record<string, string> = {},
  ): Promise<Answer | undefined> {
    for (const giveUpMs = Date.now() + 120_000; Date.now() < giveUpMs; await sleep(300)) {
      const answer = await this.call(method, where, body, headers);
      // The process that began to carry it out may have been killed.
      const isInProgress = answer?.body.error === 'idempotency_in_progress';
      if (answer && answer.status < 500 && !isInProgress) return answer;
    }
    return undefined;
  }

  /** Asks once. Nothing when there is no answer. */
  async call(
    method: string,
    where: string,
    body?: object,
    headers: Record<string, string> = {},
  ): Promise<Answer | undefined> {
    const { apiUrl, apiKey } = this.installation;
    const path = where.replace(/\?.*/, '').replace(/[0-9a-f-]{36}/i, '…');
    try {
      const response = await fetch(`${apiUrl}${where}`, {
        method,
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(20_000),
      });
      const answer = (await response.json()) as Record<string, unknown>;
      this.note(`${path} ${response.status}`);
      return { status: response.status, body: answer };
    } catch {
      this.note(`${path} no answer`);
      return undefined;
    }
  }

  private note(what: string): void {
    this.answers.set(what, (this.answers.get(what) ?? 0) + 1);
  }
}
