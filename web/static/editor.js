// The policy editor: line numbers that follow the text, checking as it is typed,
// and word of a change made elsewhere. The text itself is never touched.
import { morph } from './morph.js';

const pause = 350; // ms of silence before a draft is checked

export function edit() {
  const form = /** @type {HTMLFormElement} */ (document.querySelector('[data-editor]'));
  const text = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem('text'));
  const gutter = /** @type {HTMLElement} */ (form.querySelector('.gutter'));
  const verdict = /** @type {HTMLElement} */ (document.getElementById('verdict'));
  const began = text.value;
  let leaving = false;
  let timer = 0;
  /** @type {AbortController | undefined} */
  let asking;

  const number = () => {
    const lines = text.value.split('\n').length;
    text.rows = lines;
    while (gutter.childElementCount > lines) gutter.lastElementChild?.remove();
    while (gutter.childElementCount < lines) {
      const line = document.createElement('li');
      line.textContent = String(gutter.childElementCount + 1);
      gutter.append(line);
    }
  };

  /** Numbers of the lines that are to be put right; what is only worth a thought is not. */
  const wrongLines = () => [...verdict.querySelectorAll('.problems li[data-line]')]
    .filter((item) => !item.closest('.warnings')).map((item) => Number(item.getAttribute('data-line')));

  const mark = () => {
    const wrong = new Set(wrongLines());
    [...gutter.children].forEach((line, i) => line.classList.toggle('wrong', wrong.has(i + 1)));
    text.setAttribute('aria-invalid', String(wrong.size > 0));
  };

  const check = async () => {
    asking?.abort();
    asking = new AbortController();
    const draft = new URLSearchParams(/** @type {any} */ (new FormData(form)));
    draft.set('do', 'check');
    try {
      const answer = await fetch(form.action, { method: 'POST', body: draft, signal: asking.signal, credentials: 'same-origin' });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const next = page.getElementById('verdict');
      if (next) morph(verdict, next);
      mark();
    } catch {
      // aborted by a later key, or the server is away: saving checks again
    }
  };

  text.addEventListener('input', () => {
    number();
    clearTimeout(timer);
    timer = setTimeout(check, pause);
  });
  text.addEventListener('keydown', (event) => { // Tab moves on, as everywhere; Enter keeps the indent
    if (event.key !== 'Enter' || event.ctrlKey || event.metaKey || event.isComposing) return;
    const before = text.value.slice(0, text.selectionStart);
    const indent = /(?:^|\n)([ \t]*)[^\n]*$/.exec(before)?.[1] ?? '';
    const deeper = /[{[]\s*$/.test(before) ? '  ' : '';
    if (indent + deeper === '') return;
    event.preventDefault();
    document.execCommand('insertText', false, '\n' + indent + deeper); // keeps undo
  });
  verdict.addEventListener('click', (event) => {
    const link = /** @type {Element} */ (event.target).closest('[data-goto]');
    if (!link) return;
    event.preventDefault();
    select(text, Number(link.getAttribute('data-goto')));
  });
  form.addEventListener('submit', () => { leaving = true; });
  addEventListener('beforeunload', (event) => {
    if (!leaving && text.value !== began) event.preventDefault();
  });
  document.addEventListener('pl:policy', (event) => tell(/** @type {CustomEvent} */ (event).detail));

  number();
  mark();
  const [first] = wrongLines();
  if (first) select(text, first);
  else if (document.querySelector('.conflict h2')) /** @type {HTMLElement} */ (document.querySelector('.conflict h2')).focus();
}

/** Puts the cursor at a line. @param {HTMLTextAreaElement} text @param {number} line */
function select(text, line) {
  const lines = text.value.split('\n');
  const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
}

/** Says that somebody else has saved. @param {{name: string, version: number, author: string, comment: string, deleted: boolean}} change */
function tell(change) {
  const box = document.getElementById('elsewhere');
  if (!box || change?.name !== box.dataset.policy || change.version <= Number(box.dataset.base)) return;
  const notice = document.createElement('p');
  notice.className = 'notice warn';
  const what = change.deleted ? `${change.author || 'Somebody'} deleted this policy` : `${change.author} saved version ${change.version}`;
  notice.append(`${what} just now${change.comment ? `: “${change.comment}”` : ''}. Your text is untouched. `);
  const link = document.createElement('a');
  link.href = `/policies/${change.name}/history`;
  link.target = '_blank';
  link.textContent = 'See the change';
  notice.append(link);
  box.replaceChildren(notice);
}
