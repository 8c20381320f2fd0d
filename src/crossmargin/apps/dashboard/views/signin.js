/* Who are you? In token mode the service wants a token once; it answers with a cookie that scripts cannot read. */

import * as api from "../api.js";
import { fill, field, h } from "../dom.js";
import { problem } from "../widgets/parts.js";

/** Draws the sign-in form. */
export async function render(place) {
  const told = h("div");
  const token = h("input", { type: "password", autocomplete: "current-password", required: true, spellcheck: "false" });
  const form = h("form", { class: "card narrow", on: { submit: async (event) => {
    event.preventDefault();
    try {
      await api.signIn(token.value.trim());
      token.value = "";
      dispatchEvent(new Event("crossmargin:signed-in"));
      location.hash = "#/";
    } catch (error) {
      fill(told, problem(error));
    }
  } } }, h("h1", {}, "Sign in"),
    h("p", {}, "This service asks for a token. Whoever runs it makes one with ", h("code", {}, "crossmargin token create"), "."),
    field("Token", token), told, h("button", { class: "primary" }, "Sign in"));
  fill(place, form);
  token.focus();
}
