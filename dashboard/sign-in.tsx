/** Who may see what: an API key says. It stays in this tab. */
import { useState } from 'preact/hooks';
import { Problem } from './parts';

export function SignIn({ problem, onKey }: { problem: string | undefined; onKey: (apiKey: string) => Promise<void> }) {
  const [isAsking, setIsAsking] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const key = new FormData(event.currentTarget as HTMLFormElement).get('key');
    if (typeof key !== 'string' || key.trim() === '') return;
    setIsAsking(true);
    await onKey(key.trim());
    setIsAsking(false);
  };
  return (
    <main class="sign-in">
      <form onSubmit={(event) => void submit(event)}>
        <h1>Spendlock</h1>
        <label for="key">API key</label>
        <input
          id="key"
          name="key"
          type="password"
          autocomplete="off"
          autofocus
          spellcheck={false}
          placeholder="slk_…"
        />
        <button disabled={isAsking}>Sign in</button>
        <Problem text={problem} />
        <p class="faint">
          A tenant’s key shows that tenant, a key of the administration all of them. <code>npm start</code> shows one,{' '}
          <code>npx spendlock keys create</code> (with <code>--tenant</code> or <code>--admin</code>) makes one. It is
          kept until this tab is closed.
        </p>
      </form>
    </main>
  );
}
