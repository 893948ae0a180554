// The one stream. When it says that something moved, the page is fetched again
// and its live regions are brought up to date in place: one rendering of each
// thing, on the server. Events are also passed on to the page as "pl:TOPIC".
import { morph } from './morph.js';

const topics = ['status', 'decision', 'coldstart', 'policy', 'point', 'beat', 'reset'];
const lateAfter = 7000; // ms without a word: beats come every 3 s
const atMostEvery = 400; // ms between two fetches of the page

let lastWord = Date.now();
let connected = false;
let wanted = false; // a fetch is due
let fetching = false;
let lastFetch = 0;

/** Follow the stream at url for as long as the page lives. @param {string} url */
export function follow(url) {
  let lastID = '';
  let pause = 1000;
  const open = () => {
    const stream = new EventSource(url + (lastID ? `&last_event_id=${encodeURIComponent(lastID)}` : ''));
    for (const topic of topics) {
      stream.addEventListener(topic, (event) => {
        const message = /** @type {MessageEvent} */ (event);
        heard();
        if (message.lastEventId) lastID = message.lastEventId;
        if (topic === 'beat') return;
        document.dispatchEvent(new CustomEvent('pl:' + topic, { detail: parse(message.data) }));
        if (topic === 'reset' || concerns(topic)) refresh();
      });
    }
    stream.onopen = () => {
      if (pause > 1000 || !connected) refresh(); // what changed between this page and the stream
      pause = 1000;
      connected = true;
      heard();
    };
    stream.onerror = () => {
      connected = false;
      show();
      if (stream.readyState !== EventSource.CLOSED) return; // it tries again by itself
      setTimeout(open, pause);
      pause = Math.min(pause * 2, 10_000);
    };
  };
  open();
  document.addEventListener('visibilitychange', () => { if (!document.hidden && wanted) refresh(); });
  setInterval(show, 1000);
}

/** @param {string} data @returns {unknown} */
function parse(data) {
  try { return JSON.parse(data); } catch { return null; }
}

/** Whether a region of this page shows the topic. @param {string} topic */
function concerns(topic) {
  return topic !== 'point' && document.querySelector(`[data-live~="${topic}"]`) !== null;
}

function heard() {
  lastWord = Date.now();
  show();
}

function show() {
  const late = !connected || Date.now() - lastWord > lateAfter;
  const box = document.getElementById('live');
  if (!box) return;
  const state = late ? 'late' : 'live';
  if (box.dataset.state !== state) {
    box.dataset.state = state;
    box.title = late ? 'The stream is interrupted: what is shown may be old' : 'Changes appear as they happen';
    setText('live-words', late ? 'reconnecting' : 'live');
  }
  setText('live-age', late ? `, ${words(Date.now() - lastWord)} old` : '');
  countTimes();
}

/** @param {string} id @param {string} text */
function setText(id, text) {
  const element = document.getElementById(id);
  if (element && element.textContent !== text) element.textContent = text;
}

async function refresh() {
  wanted = true;
  if (fetching || document.hidden) return;
  fetching = true;
  const wait = lastFetch + atMostEvery - Date.now();
  if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  wanted = false;
  lastFetch = Date.now();
  try {
    const answer = await fetch(location.href, { credentials: 'same-origin' });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      for (const region of document.querySelectorAll('[data-live]')) {
        const next = page.getElementById(region.id);
        if (next) morph(region, next);
      }
      countTimes();
    }
  } catch {
    // the stream's own state says that the server is away; the next event tries again
  } finally {
    fetching = false;
    if (wanted) refresh();
  }
}

/** Relative times count on between two refreshes. */
function countTimes() {
  for (const time of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll('time[data-ago], time[data-since]'))) {
    const ms = Date.now() - Date.parse(time.dateTime);
    const text = ms < 1000 ? 'now' : words(ms) + ' ago';
    const shown = time.hasAttribute('data-since') ? words(Math.max(ms, 0)) : text;
    if (time.textContent !== shown) time.textContent = shown;
  }
}

/** A length of time in words, as the server writes it. @param {number} ms */
export function words(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} d`;
}
