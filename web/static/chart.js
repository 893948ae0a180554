// The timeline of a service: demand above, replicas below, decisions as marks
// through both, on one time axis with one cursor.
import uPlot from './vendor/uPlot.esm.js';

/**
 * @typedef {{at: string, wanted: number, ready: number, starting: number, draining: number, held: number, in_flight: number}} Point
 * @typedef {{at: string, from: number, to: number, rule: string, reason: string}} Decision
 */

const sync = uPlot.sync('timeline');

export async function draw() {
  const box = /** @type {HTMLElement} */ (document.querySelector('[data-chart]'));
  const service = encodeURIComponent(box.dataset.service ?? '');
  const range = Number(box.dataset.range);
  addStyle();

  /** @type {Point[]} */
  let points = [];
  /** @type {Decision[]} */
  let decisions = [];
  /** @type {uPlot[]} */
  let charts = [];
  const note = document.createElement('p');
  note.className = 'mark-note';

  const load = async () => {
    try {
      const [p, d] = await Promise.all([
        fetch(`/api/v1/timeline?service=${service}&limit=${range}`), fetch(`/api/v1/decisions?service=${service}&limit=200`)]);
      if (p.ok) points = await p.json();
      if (d.ok) decisions = await d.json();
    } catch {
      // the stream's state says that the server is away
    }
    update();
  };

  const window_ = () => [Date.now() / 1000 - range, Date.now() / 1000];

  const update = () => {
    const [from] = window_();
    points = points.filter((p) => Date.parse(p.at) / 1000 >= from - 60);
    const { demand, replicas } = columns(points);
    charts[0]?.setData(demand);
    charts[1]?.setData(replicas);
  };

  const build = () => {
    for (const chart of charts) chart.destroy();
    box.replaceChildren();
    const colors = palette();
    const marks = () => decisions;
    const onCursor = (/** @type {number | null} */ at) => describe(note, decisions, at, range);
    charts = [
      panel(box, 'Demand (requests)', colors, window_, marks, onCursor, [
        { label: 'held', stroke: colors.waking, fill: colors.waking + '33', width: 2 },
        { label: 'in flight', stroke: colors.draining, width: 2 }]),
      panel(box, 'Replicas', colors, window_, marks, onCursor, [
        { label: 'wanted', stroke: colors.text, width: 1.5, dash: [5, 4], paths: stepped },
        { label: 'ready', stroke: colors.ready, fill: colors.ready + '33', width: 2, paths: stepped },
        { label: 'starting', stroke: colors.waking, width: 1.5, paths: stepped }]),
    ];
    box.append(note);
    describe(note, decisions, null, range);
    update();
  };

  build();
  await load();

  document.addEventListener('pl:point', (event) => {
    const detail = /** @type {CustomEvent<{point: Point}>} */ (event).detail;
    if (detail?.point && (points.length === 0 || detail.point.at > points[points.length - 1].at)) points.push(detail.point);
    update();
  });
  document.addEventListener('pl:decision', (event) => {
    decisions.unshift(/** @type {CustomEvent<Decision>} */ (event).detail);
    update();
  });
  document.addEventListener('pl:reset', load);
  setInterval(update, 1000); // time goes on without events
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', build);
  new ResizeObserver(() => {
    for (const chart of charts) chart.setSize({ width: inner(box), height: chart.height });
  }).observe(box);
}

const stepped = uPlot.paths.stepped?.({ align: 1 });

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

/** A time of day. @param {number} s since the epoch */
const clock = (s) => clockFormat.format(s * 1000);

/** @param {HTMLElement} box */
const inner = (box) => Math.max(200, box.clientWidth - 24);

/**
 * @param {HTMLElement} box @param {string} title @param {Record<string, string>} colors
 * @param {() => number[]} window_ @param {() => Decision[]} marks @param {(at: number | null) => void} onCursor
 * @param {uPlot.Series[]} series
 */
function panel(box, title, colors, window_, marks, onCursor, series) {
  const holder = document.createElement('div');
  holder.className = 'panel';
  const heading = document.createElement('h3');
  heading.textContent = title;
  holder.append(heading);
  box.append(holder);
  const axis = { stroke: colors.muted, grid: { stroke: colors.line, width: 1 }, ticks: { stroke: colors.line, width: 1 } };
  const chart = new uPlot({
    width: inner(box), height: 150, padding: [8, 34, 0, 0], // right: half of the last time's label
    cursor: { y: false, sync: { key: 'timeline' }, drag: { x: false, y: false }, points: { size: 6 } },
    legend: { live: true },
    scales: {
      x: { time: true, range: () => /** @type {[number, number]} */ (window_()) },
      y: { range: (_, __, max) => [0, Math.max(1, Math.ceil(max || 0))] },
    },
    axes: [{ ...axis, space: 80, size: 30, values: (_, splits) => splits.map(clock) }, { ...axis, size: 44, space: 28, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000] }],
    series: [{ label: 'time', value: (/** @type {any} */ _, /** @type {number | null} */ v) => (v == null ? '–' : clock(v)) }, ...series.map((s) => ({ points: { show: false }, value: (/** @type {any} */ _, /** @type {number | null} */ v) => (v == null ? '–' : String(v)), ...s }))],
    hooks: {
      draw: [(u) => drawMarks(u, marks(), colors)],
      setCursor: [(u) => onCursor(u.cursor.left != null && u.cursor.left >= 0 ? u.posToVal(u.cursor.left, 'x') : null)],
    },
  }, [[], ...series.map(() => [])], holder);
  sync.sub(chart);
  return chart;
}

/** Decisions are thin lines, marked up or down at the top. @param {uPlot} u @param {Decision[]} decisions @param {Record<string, string>} colors */
function drawMarks(u, decisions, colors) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const scale = devicePixelRatio || 1;
  ctx.save();
  for (const d of decisions) {
    const x = u.valToPos(Date.parse(d.at) / 1000, 'x', true);
    if (x < left || x > left + width || d.to === d.from) continue;
    ctx.strokeStyle = ctx.fillStyle = d.to > d.from ? colors.accent : colors.draining;
    ctx.globalAlpha = .55;
    ctx.lineWidth = scale;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.globalAlpha = 1;
    const s = 4 * scale;
    const tip = d.to > d.from ? -s : s;
    ctx.beginPath();
    ctx.moveTo(x - s, top - tip / 2);
    ctx.lineTo(x + s, top - tip / 2);
    ctx.lineTo(x, top + tip);
    ctx.fill();
  }
  ctx.restore();
}

/** Says the decision nearest to the cursor. @param {HTMLElement} note @param {Decision[]} decisions @param {number | null} at @param {number} range */
function describe(note, decisions, at, range) {
  const near = at === null ? undefined : decisions.find((d) => Math.abs(Date.parse(d.at) / 1000 - at) < range / 60 && d.to !== d.from);
  const text = near
    ? `${clock(Date.parse(near.at) / 1000)}: wanted ${near.from} → ${near.to} (${near.rule}): ${near.reason}`
    : '▲▼ marks are decisions; point at one to read its reason.';
  if (note.textContent !== text) note.textContent = text;
}

/** @param {Point[]} points */
function columns(points) {
  /** @type {number[]} */ const time = [];
  /** @type {(number | null)[][]} */ const rows = [[], [], [], [], []];
  let before = 0;
  for (const p of points) {
    const at = Date.parse(p.at) / 1000;
    if (before && at - before > 5) { // a gap: at rest if it began so, unknown if not
      const rest = rows.every((row) => row[row.length - 1] === 0) ? 0 : null;
      time.push(before + 1, at - 1);
      for (const row of rows) row.push(rest, rest);
    }
    time.push(at);
    rows[0].push(p.held); rows[1].push(p.in_flight); rows[2].push(p.wanted); rows[3].push(p.ready); rows[4].push(p.starting);
    before = at;
  }
  return { demand: /** @type {any} */ ([time, rows[0], rows[1]]), replicas: /** @type {any} */ ([time, rows[2], rows[3], rows[4]]) };
}

/** The colours of the page as they are now, as #rrggbb. */
function palette() {
  const canvas = document.createElement('canvas').getContext('2d');
  const probe = document.createElement('i');
  document.body.append(probe);
  /** @type {Record<string, string>} */ const out = {};
  for (const name of ['text', 'muted', 'line', 'accent', 'waking', 'ready', 'draining']) {
    probe.style.color = `var(--${name})`;
    const color = getComputedStyle(probe).color;
    if (canvas) canvas.fillStyle = color;
    out[name] = canvas ? String(canvas.fillStyle) : color;
  }
  probe.remove();
  return out;
}

function addStyle() {
  const link = document.createElement('link');
  link.rel = 'stylesheet';
  link.href = new URL('vendor/uPlot.min.css', import.meta.url).href;
  document.head.prepend(link);
}
