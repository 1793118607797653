import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import { withFolder } from './temp.ts';

/** A system's Chromium: nothing is downloaded. */
function chromiumPath(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  const path = process.env['CHROMIUM_PATH'] ?? found.find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error('no Chromium; `npm run setup -- --browser` installs it');
  return path;
}

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A page in a browser of its own. What it says on its console as an error fails the test. */
export async function withPage<T>(
  use: (page: Page) => Promise<T>,
  credentials?: { readonly username: string; readonly password: string },
): Promise<T> {
  return withFolder(async (folder) => {
    const context = await chromium.launchPersistentContext(join(folder, 'profile'), {
      executablePath: chromiumPath(),
      args: ARGS,
      headless: true,
      viewport: { width: 1360, height: 900 },
      ...(credentials ? { httpCredentials: credentials } : {}),
    });
    const errors: string[] = [];
    try {
      const page = await context.newPage();
      page.on('pageerror', (error) => errors.push(error.message));
      const result = await use(page);
      if (errors.length > 0) throw new Error(`the page failed: ${errors.join('; ')}`);
      return result;
    } finally {
      await context.close();
    }
  });
}
