// How the specs run: one after another, against services of one Pilotlight that
// TestUI or TestUIOverNomad has started, in the Chromium of the system. Each spec has a service of
// its own and asks what it changes for its present state, so that any subset of
// them can be run.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from '@playwright/test';

const artifacts = fileURLToPath(new URL('../../../artifacts/ui/', import.meta.url));
const chromium = process.env.PILOTLIGHT_UI_CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find((path) => existsSync(path));

export default defineConfig({
  testDir: '.',
  testMatch: process.env.PILOTLIGHT_UI_NOMAD ? '**/nomad.spec.js' : /(?<!nomad)\.spec\.js$/,
  outputDir: artifacts + 'failures',
  workers: 1,
  retries: 0,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  use: {
    baseURL: process.env.PILOTLIGHT_UI_CONTROL,
    actionTimeout: 10_000,
    navigationTimeout: 10_000,
    viewport: { width: 1280, height: 900 },
    colorScheme: 'light',
    contextOptions: { reducedMotion: 'reduce' },
    locale: 'en-GB',
    timezoneId: 'UTC',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: chromium,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync'],
    },
  },
});
