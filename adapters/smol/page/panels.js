/**
 * Owns the two panels beside the log. Where there is room they stand there; where there is not, they
 * are drawers, one at a time, that a button opens and Escape closes.
 */

import { byId } from './elements.js';

/** The widths of page.css at which a panel stops being a drawer. */
const PANELS = [
  { toggle: 'rooms-toggle', panel: 'sidebar', wide: '(min-width: 45em)' },
  { toggle: 'people-toggle', panel: 'people-panel', wide: '(min-width: 66em)' },
];

/** The panels. */
export class Panels {
  #panels = PANELS.map(({ toggle, panel, wide }) => ({
    toggle: byId(toggle), panel: byId(panel), wide: matchMedia(wide),
  }));
  // What is in it rather than itself: the page keeps its main landmark.
  #behind = [...byId('conversation').children];

  constructor() {
    for (const each of this.#panels) {
      each.toggle.addEventListener('click', () => (isOpen(each) ? this.close() : this.#open(each)));
      each.wide.addEventListener('change', () => this.close());
    }
    // What is behind a drawer cannot have the focus; a click on it closes the drawer.
    document.addEventListener('pointerdown', ({ target }) => {
      const open = this.#panels.find(isOpen);
      if (open && !open.panel.contains(target) && !target.closest('.toggle')) this.close();
    });
    document.addEventListener('keydown', (event) => {
      const open = this.#panels.find(isOpen);
      if (event.key !== 'Escape' || open === undefined) return;
      this.close();
      open.toggle.focus();
    });
  }

  /** Whether an element of a panel can be seen. @param {Element} inside */
  isInSight(inside) {
    const each = this.#panels.find(({ panel }) => panel.contains(inside));
    // Before one has come in, the form is all there is.
    return each === undefined || each.toggle.hidden || each.wide.matches || isOpen(each);
  }

  /** Opens the drawer that an element is in, if it cannot be seen. @param {Element} inside */
  show(inside) {
    if (!this.isInSight(inside)) this.#open(this.#panels.find(({ panel }) => panel.contains(inside)));
  }

  /** Closes whichever is open. */
  close() {
    for (const each of this.#panels) set(each, false);
    for (const each of this.#behind) each.inert = false;
  }

  #open(panel) {
    this.close();
    set(panel, true);
    for (const each of this.#behind) each.inert = true;
    panel.panel.querySelector('button:not([hidden]), input, [tabindex]')?.focus();
  }
}

function isOpen({ toggle }) {
  return toggle.getAttribute('aria-expanded') === 'true';
}

function set({ toggle, panel }, open) {
  toggle.setAttribute('aria-expanded', String(open));
  panel.classList.toggle('open', open);
}
