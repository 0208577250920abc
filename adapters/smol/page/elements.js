/**
 * Owns how elements are made. What comes from others enters as a text node or as a property that
 * holds text, never as markup.
 */

/**
 * Makes an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * The element of the page that has this id. All of them are in index.html.
 * @param {string} id
 */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * Sets text only where it changes: live regions speak, and layouts move, at each setting.
 * @param {Element} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Makes the children of `parent` those of `keys`, in that order, and touches only what differs:
 * focus, selection and scroll position of the others stay.
 * @template T
 * @param {Element} parent
 * @param {Map<string, Element>} made the children by key; is kept up to date here
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => Element} make
 * @param {(child: Element, item: T) => void} update
 */
export function reconcile(parent, made, items, keyOf, make, update) {
  const wanted = new Set(items.map(keyOf));
  // Removing comes first: otherwise each child behind a removed one would be moved.
  for (const [key, child] of made) {
    if (wanted.has(key)) continue;
    child.remove();
    made.delete(key);
  }
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = made.get(key);
    if (child === undefined) {
      child = make(item);
      made.set(key, child);
    }
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
}
