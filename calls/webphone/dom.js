// Elements from code: no markup as text, so nothing that arrives from outside can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** h("p", {class: "quiet", onclick: f}, "text", child, …). Null and false children are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  call: "M6.6 3.5 9 3l2 4.6-1.9 1.5a12 12 0 0 0 5.8 5.8l1.5-1.9 4.6 2-.5 2.4a3 3 0 0 1-3 2.4C10.3 19.8 4.2 13.7 4.2 6.5a3 3 0 0 1 2.4-3z",
  hangup: "M3.5 15.5l-.9-2.3c3.3-5 15.5-5 18.8 0l-.9 2.3-4.6.8-.8-2.6a14 14 0 0 0-6.2 0l-.8 2.6z",
  mute: "M12 3.5a2.7 2.7 0 0 1 2.7 2.7v5a2.7 2.7 0 0 1-5.4 0v-5A2.7 2.7 0 0 1 12 3.5zM6 11a6 6 0 0 0 12 0M12 17v3.5",
  shield: "M12 3l7.5 2.7v5.6c0 4.5-3 7.8-7.5 9.7-4.5-1.9-7.5-5.2-7.5-9.7V5.7zM8.8 12l2.3 2.3 4.2-4.4",
  person: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4.5 20.5a7.5 7.5 0 0 1 15 0",
  out: "M7 17 17 7M9 7h8v8",
  in: "M17 7 7 17M15 17H7V9",
  missed: "M4 7l8 8 8-8M15 7h5v5",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  info: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM12 11v5M12 7.8v.2",
  back: "M19 12H5M11 6l-6 6 6 6",
};

/** A line drawing, hidden from screen readers: the words stand beside it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Sets text only when it differs, so that a live region speaks of changes and not of every look. */
export function setText(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
