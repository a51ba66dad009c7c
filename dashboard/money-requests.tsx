/** What denied runs ask people for, and the answers of who may give them. */
import { useEffect, useState } from 'preact/hooks';
import { answerInWords } from '../core/budget/money-requests';
import { counted } from '../core/counted';
import { parseUsd } from '../core/money';
import { inWords, type Api, type CurrentKey, type MoneyRequest, type Overview } from './api';
import { Asker } from './askers';
import { Moment, Problem, Table, Usd } from './parts';
import { quotaName } from './tenant-tables';

interface AskedProps {
  api: Api;
  session: CurrentKey;
  tenantId: string;
  /** It looks again when this is new. */
  overview: Overview;
}

/** What waits for an answer. An `agent` or a `reader` sees it, and answers nothing. */
export function MoneyRequests({ api, session, tenantId, overview }: AskedProps) {
  const [requests, setRequests] = useState<readonly MoneyRequest[]>([]);
  const [problem, setProblem] = useState<string>();
  const look = (): Promise<void> =>
    api
      .get<{ requests: MoneyRequest[] }>(`/v1/money-requests?${new URLSearchParams({ tenantId }).toString()}`)
      .then((found) => setRequests(found.requests));
  // The stream says that the API is away, and brings us back here.
  useEffect(() => void look().catch(() => undefined), [overview]);
  const answer = (requestId: string, said: Answer): Promise<void> =>
    api
      .post(`/v1/money-requests/${requestId}`, { tenantId, ...said })
      .then(() => setProblem(undefined))
      .catch((error: unknown) => setProblem(inWords(error)))
      .then(look)
      .catch(() => undefined);
  const mayAnswer = session.role === 'administration' || session.role === 'operator';
  return (
    <>
      <Problem text={problem} />
      <Table
        rows={requests}
        keyOf={({ requestId }) => requestId}
        none="Nobody asks for money."
        columns={[
          { name: 'Run', of: (request) => <Asker tenantId={tenantId} links={session.links} {...request} /> },
          { name: 'For', of: ({ kind }) => kind },
          { name: 'Asks for', isNumber: true, of: ({ askedUsd }) => <Usd amount={askedUsd} /> },
          { name: 'Quota in the way', of: ({ quota }) => quotaName(quota) },
          { name: 'Done so far', of: (request) => <Done {...request} /> },
          { name: 'Waits until', of: ({ waitsUntil }) => <Moment at={waitsUntil} /> },
          {
            name: 'Answer',
            of: ({ requestId, ...request }) =>
              mayAnswer ? (
                <Answering {...request} onAnswer={(said) => answer(requestId, said)} />
              ) : (
                <span class="faint">by an operator</span>
              ),
          },
        ]}
      />
    </>
  );
}

type Answer = { decision: 'grant'; amountUsd: string } | { decision: 'refuse' };

/** What the run did before, and what its request before this one came to. */
function Done({ steps, costUsd, lastAnswer }: MoneyRequest) {
  return (
    <>
      {steps === null ? '–' : counted(steps, 'paid step')}
      {costUsd !== null && (
        <>
          , <Usd amount={costUsd} />
        </>
      )}
      {lastAnswer && <div class="faint">Asked before: {answerInWords(lastAnswer)}</div>}
    </>
  );
}

/** Of what is no amount the API says so. */
function isLess(amountUsd: string, leastUsd: string): boolean {
  try {
    return parseUsd(amountUsd) < parseUsd(leastUsd);
  } catch {
    return false;
  }
}

/** An amount, and the two answers. One that is sent cannot be sent again. */
function Answering({
  askedUsd,
  lacksUsd,
  onAnswer,
}: Pick<MoneyRequest, 'askedUsd' | 'lacksUsd'> & { onAnswer: (said: Answer) => Promise<void> }) {
  const [amountUsd, setAmountUsd] = useState(askedUsd);
  const [isSent, setIsSent] = useState(false);
  const send = (said: Answer): void => {
    setIsSent(true);
    void onAnswer(said).finally(() => setIsSent(false));
  };
  return (
    <form
      class="answer"
      onSubmit={(event) => {
        event.preventDefault();
        send({ decision: 'grant', amountUsd });
      }}
    >
      <input
        aria-label="US dollars to grant"
        inputMode="decimal"
        size={6}
        value={amountUsd}
        onInput={({ currentTarget }) => setAmountUsd(currentTarget.value.trim())}
      />
      {isLess(amountUsd, lacksUsd) && (
        <span class="faint">
          Less than the <Usd amount={lacksUsd} /> that its step lacks: it would ask again.
        </span>
      )}
      <button disabled={isSent}>Grant</button>
      <button class="quiet" type="button" disabled={isSent} onClick={() => send({ decision: 'refuse' })}>
        Refuse
      </button>
    </form>
  );
}
