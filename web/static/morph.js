// Brings one element up to date with another, touching only what differs, so
// that focus, selection and open details survive.

/** @param {Element} now @param {Element} next */
export function morph(now, next) {
  attributes(now, next);
  children(now, next);
}

/** @param {Element} now @param {Element} next */
function attributes(now, next) {
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
  for (const { name } of [...now.attributes]) {
    const kept = name === 'open' && now.nodeName === 'DETAILS'; // opened by the reader
    if (!next.hasAttribute(name) && !kept) now.removeAttribute(name);
  }
}

/** @param {Node} node */
const keyOf = (node) => (node instanceof Element ? node.getAttribute('data-key') || node.id : '');

/** @param {Element} now @param {Element} next */
function children(now, next) {
  /** @type {Map<string, ChildNode>} */
  const keyed = new Map();
  for (const child of now.childNodes) {
    const key = keyOf(child);
    if (key) keyed.set(key, child);
  }
  /** @type {ChildNode | null} */
  let place = now.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = keyOf(wanted);
    let found = key ? keyed.get(key) : place;
    if (found && (found.nodeName !== wanted.nodeName || (!key && keyOf(found)))) found = undefined;
    if (!found) {
      now.insertBefore(document.importNode(wanted, true), place);
      continue;
    }
    if (found === place) place = place.nextSibling;
    else now.insertBefore(found, place);
    if (found instanceof Element) {
      if (found !== document.activeElement || !found.matches('input, textarea, select')) morph(found, /** @type {Element} */ (wanted));
    } else if (found.nodeValue !== wanted.nodeValue) {
      found.nodeValue = wanted.nodeValue;
    }
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}
