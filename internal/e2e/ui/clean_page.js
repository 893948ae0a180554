// test: Playwright's, with a page that every spec must leave clean. After each
// spec it fails if any page has asked another origin for anything, has broken
// the content security policy, or has written an error to the console.
import { test as base, expect } from '@playwright/test';

export const test = base.extend({
  /** What the spec expects on the console, as patterns. @type {RegExp[]} */
  pardoned: [[], { option: true }],

  context: async ({ context, baseURL, pardoned }, use) => {
    /** @type {Set<string>} */
    const faults = new Set();
    context.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol === 'data:' || url.protocol === 'about:' || url.protocol === 'blob:') return;
      if (url.origin !== new URL(baseURL ?? '').origin) faults.add(`request to another origin: ${url.href}`);
    });
    context.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      const text = `console ${message.type()}: ${message.text()} (${message.location().url})`;
      if (!pardoned.some((pattern) => pattern.test(text))) faults.add(text);
    });
    context.on('weberror', (error) => faults.add(`uncaught: ${error.error().stack ?? error.error()}`));
    await context.exposeBinding('policyViolated', (_, what) => { faults.add(`content security policy: ${what}`); });
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        /** @type {any} */ (window).policyViolated(`${event.violatedDirective} forbids ${event.blockedURI}`);
      });
    });
    await use(context);
    expect([...faults], 'what the pages of this spec did wrong').toEqual([]);
  },
});

export { expect };
