/** What denied runs ask people for, and the answers. */
import type { moneyAnswerBody, moneyRequestsView, moneyRequestView } from '../api/money-requests/schemas';
import type { Http } from './http';
import { withoutKey, type Given, type Of, type Ordered } from './views';

export type MoneyRequestView = Of<typeof moneyRequestView>;
type Answer = Given<typeof moneyAnswerBody>;

export function moneyRequestsOf(http: Http) {
  const answer = (requestId: string, ordered: Ordered<Answer>): Promise<MoneyRequestView> =>
    http.post<MoneyRequestView>(`/v1/money-requests/${encodeURIComponent(requestId)}`, ...withoutKey(ordered));
  return {
    /** What people are asked for and have not answered, the longest waiting first; with `runId` all of that run or conversation. */
    list: (query: { tenantId?: string; runId?: string; cursor?: string; limit?: number } = {}) =>
      http.get<Of<typeof moneyRequestsView>>('/v1/money-requests', query),
    /** Lifts the limits in the way, so that what is asked for, or `amountUsd`, fits more than before, and wakes the run. */
    grant: (requestId: string, ordered: Ordered<Omit<Answer, 'decision'>> = {}) =>
      answer(requestId, { ...ordered, decision: 'grant' }),
    /** Ends the run, or the turn, as a denial does. */
    refuse: (requestId: string, ordered: Ordered<Omit<Answer, 'decision' | 'amountUsd' | 'expiresAt'>> = {}) =>
      answer(requestId, { ...ordered, decision: 'refuse' }),
  };
}
