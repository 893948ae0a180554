// Everybody but the operator's browser: clients of the data plane, programs that
// use the API, and Prometheus.
import { expect } from '@playwright/test';

const address = (/** @type {string} */ name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the specs through go test -run TestUI ./internal/e2e/`);
  return value.replace(/\/$/, '');
};
const control = address('PILOTLIGHT_UI_CONTROL');
const data = address('PILOTLIGHT_UI_DATA');
const metricsURL = address('PILOTLIGHT_UI_METRICS');

/**
 * Asks for a translation; prefix is the service's own part of the path.
 * @param {string} prefix @returns {Promise<{status: number, cold: string | null, translation: string}>}
 */
export async function translate(prefix = '') {
  const answer = await fetch(`${data}${prefix}/translate`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ text: 'Hello, how are you today?', source_lang: 'en', target_lang: 'es' }),
  });
  const body = await answer.json();
  return { status: answer.status, cold: answer.headers.get('Pilotlight-Cold-Start'), translation: body.translation };
}

/**
 * Any request to the data plane.
 * @param {string} path @param {Record<string, string>} headers @param {string} [body] @param {string} [method]
 * @returns {Promise<{status: number, location: string, body: string}>}
 */
export async function ask(path, headers = {}, body, method = 'POST') {
  const answer = await fetch(`${data}${path}`, { method, headers, body });
  return { status: answer.status, location: answer.headers.get('Location') ?? '', body: await answer.text() };
}

/** GET of the API. @param {string} path below /api/v1 @returns {Promise<any>} */
export async function api(path) {
  const answer = await fetch(`${control}/api/v1${path}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** The service as the API answers it. @param {string} name @returns {Promise<any>} */
export const service = (name) => api(`/services/${name}`);

/**
 * An operator's command, through the API.
 * @param {string} name @param {string} verb @param {{replicas?: number, reason?: string}} [body]
 */
export async function command(name, verb, body = {}) {
  body = { reason: 'a test', ...body };
  const answer = await fetch(`${control}/api/v1/services/${name}/${verb}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', From: 'Grace' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${verb} ${name}: ${answer.status} ${await answer.text()}`);
}

/**
 * What a person does in Nomad itself, past Pilotlight.
 * @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>}
 */
export async function nomad(method, path, body) {
  const answer = await fetch(`${address('PILOTLIGHT_UI_NOMAD')}${path}`, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/**
 * The policy in force as text, with its version.
 * @param {string} name @returns {Promise<{version: number, text: string}>}
 */
export async function policy(name) {
  const answer = await fetch(`${control}/api/v1/policies/${name}`, { headers: { Accept: 'text/hcl' } });
  if (!answer.ok) throw new Error(`policy ${name}: ${answer.status}`);
  return { version: Number(answer.headers.get('ETag')?.replaceAll('"', '')), text: await answer.text() };
}

/**
 * Saves a policy over its present version, as another person would.
 * @param {string} name @param {string} text @param {{by: string, comment: string}} who
 * @returns {Promise<number>} the new version
 */
export async function savePolicy(name, text, who) {
  const { version } = await policy(name);
  const answer = await fetch(`${control}/api/v1/policies/${name}?comment=${encodeURIComponent(who.comment)}`, {
    method: 'PUT',
    headers: { 'Content-Type': 'text/hcl', 'If-Match': `"${version}"`, From: who.by },
    body: text,
  });
  if (!answer.ok) throw new Error(`save policy ${name}: ${answer.status} ${await answer.text()}`);
  return Number(answer.headers.get('ETag')?.replaceAll('"', ''));
}

/**
 * The samples of one metric about a service, by their remaining labels.
 * @param {string} metric @param {string} name of the service @returns {Promise<Record<string, number>>}
 */
export async function metrics(metric, name) {
  const answer = await fetch(`${metricsURL}/metrics`);
  /** @type {Record<string, number>} */
  const samples = {};
  for (const line of (await answer.text()).split('\n')) {
    const [, found, labels, value] = /^([a-z_]+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (found !== metric || !labels.includes(`service="${name}"`)) continue;
    samples[labels.replace(`service="${name}"`, '').replaceAll(/^,|,$/g, '')] = Number(value);
  }
  return samples;
}

/** Waits until the service is at zero, where a wake begins. @param {string} name */
export async function atZero(name) {
  await expect.poll(async () => (await service(name)).state, { message: `${name} at zero`, timeout: 40_000 }).toBe('zero');
}
