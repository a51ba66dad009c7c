/** What was spent by a label, alone or with another thing, and of what has certain labels only. */
import { useEffect, useState } from 'preact/hooks';
import { inWords, type Api, type Usage } from './api';
import { Problem, Shares, Usd } from './parts';

/** What each of its groups can be divided by, beside the other labels. */
const others = ['model', 'day', 'kind', 'resource', 'user'];
/** How often it is asked for again: less often than what the page is told of by itself, since it is not told of this. */
const againMs = 10_000;

interface SpendByLabelProps {
  api: Api;
  tenantId: string;
  /** The keys of its labels. */
  keys: readonly string[];
  from: string;
}

export function SpendByLabel({ api, tenantId, keys, from }: SpendByLabelProps) {
  const [chosen, setKey] = useState('');
  const [thenBy, setThenBy] = useState('');
  /** Terms such as `team:search`, one a key. */
  const [only, setOnly] = useState<readonly string[]>([]);
  const key = chosen === '' ? (keys[0] ?? '') : chosen;
  const query = new URLSearchParams({ tenantId, from, groupBy: `label:${key}` });
  if (thenBy !== '' && thenBy !== `label:${key}`) query.set('thenBy', thenBy);
  for (const term of only) query.append('label', term);
  const { usage, problem } = useUsage(api, `/v1/usage?${query.toString()}`);
  const narrow = (term: string): void => {
    const ofKey = `${term.slice(0, term.indexOf(':'))}:`;
    setOnly([...only.filter((one) => !one.startsWith(ofKey)), term]);
  };
  return (
    <>
      <div class="choices">
        <Choice name="By label" value={key} of={keys} onChoice={setKey} />
        <Choice
          name="and by"
          value={thenBy}
          of={['', ...others, ...keys.filter((one) => one !== key).map((one) => `label:${one}`)]}
          onChoice={setThenBy}
        />
        {only.map((term) => (
          <button
            key={term}
            class="quiet"
            aria-label={`Show what is not ${term} too`}
            onClick={() => setOnly(only.filter((one) => one !== term))}
          >
            only {term} ×
          </button>
        ))}
      </div>
      <Problem text={problem} />
      {usage && (
        <>
          <Shares
            lines={usage.lines.map(({ group, thenGroup, ...line }) => ({
              ...line,
              group: [group, thenGroup]
                .map((name) => (name === '' ? 'none' : name))
                .filter(Boolean)
                .join(' · '),
              ...(group === '' ? {} : { onChoice: () => narrow(`${key}:${group}`) }),
            }))}
            none="Nothing was spent."
          />
          <p class="faint">
            <Usd amount={usage.costUsd} /> in all
            {usage.isCut && `, of which the dearest ${usage.lines.length} of ${usage.groups} are listed`}
          </p>
        </>
      )}
    </>
  );
}

interface ChoiceProps {
  name: string;
  value: string;
  of: readonly string[];
  onChoice: (value: string) => void;
}

const Choice = ({ name, value, of, onChoice }: ChoiceProps) => (
  <span>
    {name}{' '}
    <select aria-label={name} value={value} onChange={({ currentTarget }) => onChoice(currentTarget.value)}>
      {of.map((one) => (
        <option key={one} value={one}>
          {one === '' ? 'nothing else' : one.replace('label:', 'label ')}
        </option>
      ))}
    </select>
  </span>
);

/** What the path answers, now and again every few seconds. */
function useUsage(api: Api, path: string): { usage?: Usage; problem?: string } {
  const [found, setFound] = useState<{ usage?: Usage; problem?: string }>({});
  useEffect(() => {
    let isCurrent = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = (): void => {
      api
        .get<Usage>(path)
        .then((usage) => isCurrent && setFound({ usage }))
        .catch((error: unknown) => isCurrent && setFound((was) => ({ ...was, problem: inWords(error) })))
        .finally(() => {
          if (isCurrent) timer = setTimeout(ask, againMs);
        });
    };
    ask();
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [path]);
  return found;
}
