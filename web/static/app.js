// What every page needs: the stream, live regions, dialogs, and small comforts.
// Everything here improves on a page that already works without it.
import { follow } from './live.js';

follow(document.body.dataset.stream ?? '');

// Confirmations open in a dialog; the link's own page is the fallback.
document.addEventListener('click', async (event) => {
  const target = /** @type {Element} */ (event.target);
  const link = /** @type {HTMLAnchorElement | null} */ (target.closest('a[data-dialog]'));
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  try {
    const url = new URL(link.href);
    url.searchParams.set('back', location.pathname + location.search);
    const answer = await fetch(url, { credentials: 'same-origin' });
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const content = page.getElementById('dialog-content');
    if (!answer.ok || !content) throw new Error('no dialog');
    openDialog(content);
  } catch {
    location.assign(link.href);
  }
});

/** @param {Element} content */
function openDialog(content) {
  const dialog = document.createElement('dialog');
  const title = content.querySelector('h1');
  if (title) {
    title.id = 'dialog-title';
    dialog.setAttribute('aria-labelledby', title.id);
  }
  dialog.append(document.adoptNode(content));
  dialog.addEventListener('close', () => dialog.remove());
  dialog.querySelector('[data-close]')?.addEventListener('click', (event) => {
    event.preventDefault();
    dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  /** @type {HTMLElement | null} */ (dialog.querySelector('input:not([type=hidden])'))?.focus();
}

for (const select of document.querySelectorAll('select[data-submit]')) {
  select.addEventListener('change', () => /** @type {HTMLSelectElement} */ (select).form?.requestSubmit());
}
for (const button of document.querySelectorAll('[data-noscript]')) /** @type {HTMLElement} */ (button).hidden = true;

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll('[data-copy]'))) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy ?? '')?.textContent ?? '');
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
}

if (document.querySelector('[data-simulation]')) import('./simulation.js').then((m) => m.watch());
if (document.querySelector('[data-editor]')) import('./editor.js').then((m) => m.edit());
if (document.querySelector('[data-chart]')) import('./chart.js').then((m) => m.draw());
