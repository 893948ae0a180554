// The page of a simulation: reads itself again until it is over.
import { morph } from './morph.js';

const pause = 700; // ms between two looks

export async function watch() {
  const shown = /** @type {HTMLElement} */ (document.getElementById('simulation'));
  const under = () => ['waiting', 'running'].includes(shown.dataset.state ?? '');
  while (under()) {
    await new Promise((done) => { setTimeout(done, pause); });
    try {
      const answer = await fetch(location.href, { credentials: 'same-origin' });
      const next = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('simulation');
      if (!next) { // it is not kept any more, or the server was restarted
        location.reload();
        return;
      }
      morph(shown, next);
    } catch {
      // the server is away: the next look may find it
    }
  }
}
