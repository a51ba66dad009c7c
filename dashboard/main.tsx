/**
 * The dashboard: a page that the API serves at `/` (api/dashboard.ts bundles it). Who signs in with a key of the administration
 * sees every tenant, with a tenant's key that tenant. All it shows comes from the public API, live.
 */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Api, inWords, type CurrentKey } from './api';
import { Shell } from './shell';
import { placeOf, type Place } from './places';
import { RunDetails } from './run';
import { SignIn } from './sign-in';
import { TenantPage } from './tenant';
import { TenantsPage } from './tenants';
import './style.css';

/** Of this tab, and gone with it. */
const keyName = 'spendlock-api-key';

interface Session {
  api: Api;
  key: CurrentKey;
}

function App() {
  const [session, setSession] = useState<Session>();
  const [problem, setProblem] = useState<string>();
  const [isReady, setIsReady] = useState(false);
  const place = usePlace();

  const signOut = (why?: string): void => {
    sessionStorage.removeItem(keyName);
    setSession(undefined);
    setProblem(why);
  };
  const signIn = async (apiKey: string): Promise<void> => {
    let isIn = false;
    const api = new Api(apiKey, () => {
      if (isIn) signOut('The key is not taken any more. Sign in with another.');
    });
    try {
      const key = await api.get<CurrentKey>('/v1/keys/current');
      sessionStorage.setItem(keyName, apiKey);
      isIn = true;
      setProblem(undefined);
      setSession({ api, key });
    } catch (error) {
      signOut(inWords(error));
    }
  };
  useEffect(() => {
    const kept = sessionStorage.getItem(keyName);
    void (kept === null ? Promise.resolve() : signIn(kept)).then(() => setIsReady(true));
  }, []);

  if (!isReady) return null;
  if (!session) return <SignIn problem={problem} onKey={signIn} />;
  return (
    <Shell place={place} session={session.key} onSignOut={() => signOut()}>
      <Page place={place} session={session} />
    </Shell>
  );
}

function Page({ place, session: { api, key } }: { place: Place; session: Session }) {
  if (place.name === 'run') return <RunDetails key={place.runId} api={api} links={key.links} {...place} />;
  // A tenant's key has one tenant to show.
  const tenantId = key.tenantId ?? (place.name === 'tenant' ? place.tenantId : undefined);
  return tenantId === undefined ? (
    <TenantsPage api={api} />
  ) : (
    <TenantPage key={tenantId} api={api} session={key} tenantId={tenantId} />
  );
}

/** Where the address says we are, as it changes. */
function usePlace(): Place {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const move = (): void => {
      setPlace(placeOf(location.hash));
      window.scrollTo(0, 0);
    };
    window.addEventListener('hashchange', move);
    return () => window.removeEventListener('hashchange', move);
  }, []);
  return place;
}

const root = document.getElementById('app');
if (root) render(<App />, root);
