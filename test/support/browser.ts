/** A Chromium for tests of what people see: the system's, or the one that SPENDLOCK_CHROMIUM names. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** @throws Error when there is none, with how to get one. */
export async function startBrowser(): Promise<Browser> {
  const executablePath = [process.env.SPENDLOCK_CHROMIUM, ...places].find((place) => place && existsSync(place));
  if (!executablePath)
    throw new Error(
      'There is no Chromium. Install one (on Debian: apt-get install chromium), or name it in SPENDLOCK_CHROMIUM.',
    );
  // As root, in a container, Chromium has no sandbox of its own; the pages are ours, on loopback.
  return chromium.launch({ executablePath, args: ['--no-sandbox'] });
}

/** Where pictures are kept, when somebody wants them. */
const pictures = process.env.SPENDLOCK_SCREENSHOTS;

/** Takes a picture of a page, for docs/images or for a look. Does nothing unless SPENDLOCK_SCREENSHOTS names a folder. */
export async function picture(
  page: Page,
  name: string,
  { fullPage = true }: { fullPage?: boolean } = {},
): Promise<void> {
  if (!pictures) return;
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage });
}
