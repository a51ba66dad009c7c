/** What is around every page: where one is, the way out, light or dark, and the keys. */
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { CurrentKey } from './api';
import { tenantAddress, type Place } from './places';

interface ShellProps {
  place: Place;
  session: CurrentKey;
  onSignOut: () => void;
  children: ComponentChildren;
}

type Theme = 'light' | 'dark';
const themeName = 'spendlock-theme';

export function Shell({ place, session, onSignOut, children }: ShellProps) {
  const [isHelpShown, setIsHelpShown] = useState(false);
  useEffect(() => {
    const chosen = localStorage.getItem(themeName);
    if (chosen !== null) document.documentElement.dataset.theme = chosen;
    const onKey = (event: KeyboardEvent): void => {
      const isTyping = event.target instanceof HTMLInputElement;
      if (event.ctrlKey || event.metaKey || event.altKey || (isTyping && event.key !== 'Escape')) return;
      const act = keys(place, session)[event.key];
      if (event.key === '?') setIsHelpShown((was) => !was);
      else if (!act) return;
      else if (event.key === 'Escape' && !isTyping && isHelpShown) setIsHelpShown(false);
      else act.do();
      event.preventDefault();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, [place, session, isHelpShown]);
  const isAdministration = session.tenantId === null;
  return (
    <>
      <header>
        <nav aria-label="Where you are">
          <a href="#/" class="brand">
            Spendlock
          </a>
          {isAdministration && <a href="#/">tenants</a>}
          {place.name !== 'tenants' && <a href={tenantAddress(place.tenantId)}>{place.tenantId}</a>}
          {place.name === 'run' && <span>{place.runId.slice(0, 8)}</span>}
        </nav>
        <div class="tools">
          <span class="faint">{isAdministration ? 'administration' : `${session.role} of ${session.tenantId}`}</span>
          <button class="quiet" onClick={switchTheme}>
            Light / dark
          </button>
          <button class="quiet" aria-expanded={isHelpShown} onClick={() => setIsHelpShown(!isHelpShown)}>
            Shortcuts
          </button>
          <button class="quiet" onClick={onSignOut}>
            Sign out
          </button>
        </div>
      </header>
      {isHelpShown && (
        <dl class="keys" aria-label="Shortcuts">
          {Object.entries(keys(place, session)).map(([key, { what }]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      )}
      <main>{children}</main>
      <footer class="faint">
        Amounts are US dollars; hold the pointer over one for all its digits. Periods are in UTC, times in yours.{' '}
        <kbd>?</kbd> shows the shortcuts.
      </footer>
    </>
  );
}

interface Key {
  what: string;
  do: () => void;
}

function keys(place: Place, { tenantId }: CurrentKey): Record<string, Key> {
  return {
    '/': { what: 'to the filter', do: () => document.querySelector<HTMLInputElement>('input[type=search]')?.focus() },
    j: { what: 'next link of a table', do: () => moveFocus(1) },
    k: { what: 'link before', do: () => moveFocus(-1) },
    u: {
      what: 'up: from a run to its tenant, from there to all',
      do: () => {
        if (place.name === 'run') location.hash = tenantAddress(place.tenantId);
        else if (tenantId === null) location.hash = '#/';
      },
    },
    d: { what: 'light or dark', do: switchTheme },
    Escape: {
      what: 'leaves a field, or these shortcuts',
      do: () => (document.activeElement as HTMLElement | null)?.blur(),
    },
  };
}

function moveFocus(by: number): void {
  const links = [...document.querySelectorAll<HTMLAnchorElement>('main td a')];
  const at = links.indexOf(document.activeElement as HTMLAnchorElement);
  links[Math.min(links.length - 1, Math.max(0, at === -1 ? 0 : at + by))]?.focus();
}

function switchTheme(): void {
  const { dataset } = document.documentElement;
  const isDark = dataset.theme ? dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  const theme: Theme = isDark ? 'light' : 'dark';
  dataset.theme = theme;
  localStorage.setItem(themeName, theme);
  // Charts are painted in the colours of the moment.
  window.dispatchEvent(new Event('themechange'));
}
