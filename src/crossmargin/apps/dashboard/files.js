/* Files that a user gives: chosen, or dropped anywhere on a view. Their digits are kept: the service reads TOML. */

import * as api from "./api.js";
import { h } from "./dom.js";

/** A place to choose or drop files; `take` gets the list of them, also of what is dropped beside it on `around`. */
export function drop(label, take, { accept = "", multiple = false, around = null } = {}) {
  const input = h("input", { type: "file", accept, multiple, on: { change: () => {
    take([...input.files]);
    input.value = "";
  } } });
  const place = h("label", { class: "drop" }, h("span", {}, label), input);
  const zone = around ?? place;
  const over = (yes) => (event) => {
    event.preventDefault();
    place.classList.toggle("over", yes);
  };
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    take([...event.dataTransfer.files]);
  });
  return place;
}

/** An account or a fund file as JSON text: JSON as it stands, TOML through the service, which keeps every digit. */
export async function jsonOf(file, kind = "account") {
  const text = await file.text();
  if (text.trimStart().startsWith("{")) return text;
  return JSON.stringify((await api.call("POST", `/v1/${kind}-file`, { text }))[kind]);
}

/** The rows of a price history in CSV, each cell as it was written; an empty cell is left out. */
export function rowsOf(text) {
  const [head, ...lines] = text.trim().split(/\r?\n/).map((line) => line.split(",").map((cell) => cell.trim()));
  return lines.map((cells) => Object.fromEntries(head.map((name, at) => [name,
    cells[at] ?? ""]).filter(([, cell]) => cell !== "")));
}

/** What a file is called without its ending, as an id the service takes. */
export const idOf = (name) => name.replace(/\.[a-z]+$/i, "").replace(/[^A-Za-z0-9._:-]+/g, "-").replace(/^[^A-Za-z0-9]+/,
  "").slice(0, 100) || "account";

/** JSON with a line for each entry; only blanks are touched, so every digit stays as it was written. */
export function indented(text) {
  let depth = 0;
  const line = (by) => `\n${" ".repeat(depth += by)}`;
  return text.replace(/"(?:[^"\\]|\\.)*"|\{\s*\}|\[\s*\]|[{}[\],:]|\s+/g, (token) => {
    if (token[0] === '"') return token;
    if (token.length > 1 && token.trim()) return token[0] + token.at(-1);
    if (token === "{" || token === "[") return token + line(1);
    if (token === "}" || token === "]") return line(-1) + token;
    if (token === ",") return token + line(0);
    return token === ":" ? ": " : "";
  });
}
