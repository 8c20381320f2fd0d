/* Elements from text, never from markup: whatever an account file says stays text. */

/**
 * An element with properties and children. `on` is {event: handler}, `data` is {name: value} for data-*; a property
 * that is null, undefined or false is left out, and so is such a child.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  put(element, ...children);
  return element;
}

/** Appends children: elements as they are, everything else as text; lists are opened, nothing is skipped silently. */
export function put(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** Empties an element and fills it anew. */
export function fill(element, ...children) {
  element.replaceChildren();
  return put(element, ...children);
}

/** A button that runs a handler. */
export function button(text, click, properties = {}) {
  return h("button", { type: "button", ...properties, on: { click } }, text);
}

let count = 0;

/** A labelled control; the label carries the name that a screen reader says and a click focuses. */
export function field(label, control, hint = "") {
  control.id ||= `field-${(count += 1)}`;
  const told = hint ? h("small", { id: `${control.id}-hint` }, hint) : null;
  if (told) control.setAttribute("aria-describedby", told.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, told);
}

/** A choice from a list of values or [value, text] pairs. */
export function choice(options, chosen, change, properties = {}) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  const list = h("select", { ...properties, on: { change: () => change(list.value) } },
    pairs.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  return list;
}
