/* How is a what-if kept? As an account of its own, or as the text of its file. */

import { button, field, fill, h } from "../dom.js";
import { indented } from "../files.js";
import { problem, section } from "../widgets/parts.js";
import { keep, named } from "./import.js";

/** Keeps what a what-if leaves: as an account of its own under a name, or as the text of its file. */
export function saver(id, changed) {
  const told = h("div", { role: "status", "aria-live": "polite" });
  const name = named(`${id}-what-if`.slice(0, 128));
  const having = async (use) => {
    try {
      await use(await changed());
    } catch (error) {
      fill(told, problem(error));
    }
  };
  const copy = () => having(async (text) => {
    try {
      await navigator.clipboard.writeText(indented(text));
      fill(told, h("p", { class: "done" }, "The changed account's file is copied; paste it into a file, or into Import."));
    } catch { // no leave to write there: whoever asked can
      fill(told, field("The changed account's file", h("textarea", { rows: "12", readonly: true, class: "code", value: indented(text) })));
    }
  });
  return section("Save this what-if", h("p", {}, "The changed account, as it is shown here, with its own copy of prices and positions. ",
    "The account itself stays as it is."),
  h("form", { class: "bar", on: { submit: (event) => {
    event.preventDefault();
    having((text) => keep(told, name.value, text, { fresh: true }, "saved"));
  } } }, field("Name", name), h("button", { class: "primary" }, "Save as a new account"), button("Copy as file", copy)), told);
}
