/* How do my accounts get here? An account file, or what a venue's API answered; nothing missing is filled in. */

import * as api from "../api.js";
import { button, field, fill, h } from "../dom.js";
import { drop, idOf, jsonOf } from "../files.js";
import { heading, amount } from "../words.js";
import { problem, section, status } from "../widgets/parts.js";
import { plain } from "../widgets/table.js";

/** Draws the import. */
export async function render(place) {
  const compared = h("div"); // over the whole width: it has many columns
  fill(place, h("h1", {}, "Import an account"), h("div", { class: "split even" }, fromFile(), fromVenue(compared)), compared);
  place.querySelector("input")?.focus();
}

/** A field for the name of an account. */
export const named = (value = "") => h("input", { type: "text", value, pattern: "[A-Za-z0-9][A-Za-z0-9._:\\-]{0,127}", required: true,
  autocomplete: "off", title: "Letters, digits, dot, dash; the page shows it under this name" });

/** Stores an account file under a new name, then shows what it is; one of that name is replaced only when that is said. */
export async function keep(told, id, text, condition = { fresh: true }, done = "imported") {
  try {
    await api.putAccount(id, text, condition);
    const report = await api.ask("evaluate", { account_id: id });
    fill(told, h("div", { class: "done", role: "status" }, h("p", {}, h("strong", {}, `${id} is ${done}: `),
      status(report.status),
      ` – equity ${amount(report.equity)} ${report.currency}, maintenance margin ${amount(report.maintenance_margin)}.`),
      h("p", {}, h("a", { href: `#/account/${encodeURIComponent(id)}` }, "See what kills it"))));
  } catch (error) {
    fill(told, error.status === 412 ? await taken(told, id, text, done) : problem(error));
  }
}

/** What to do where a name is taken: look at the account that has it, replace that one, or choose another name. */
async function taken(told, id, text, done) {
  try {
    const { etag } = await api.stored(id);
    return h("div", { class: "problem", role: "alert" }, h("strong", {}, `There is an account ${id} already`),
      h("p", {}, "Nothing was overwritten. ", h("a", { href: `#/account/${encodeURIComponent(id)}` }, "Look at it"),
        ", give yours another name, or put it in its place; what stood before stays in its history."),
      button(`Replace ${id}`, () => keep(told, id, text, { etag }, done), { class: "danger" }));
  } catch (error) {
    return problem(error);
  }
}

function fromFile() {
  const told = h("div");
  const card = section("An account file");
  const take = async (files) => {
    for (const file of files) {
      const place = h("div");
      told.append(place);
      try {
        await keep(place, idOf(file.name), await jsonOf(file));
      } catch (error) {
        fill(place, problem(error));
      }
    }
  };
  const text = h("textarea", { rows: "10", spellcheck: "false",
    placeholder: 'profile = "binance-usdm"\nas_of = 2026-11-20T08:00:00Z\nbalances = { USDT = "2000" }\n…' });
  const id = named("my-account");
  card.append(h("p", {}, "TOML or JSON with profile, balances, positions and prices, as the command line reads it. " +
    "The name of the file becomes the name of the account."),
    drop("Choose or drop account files", (files) => {
      fill(told);
      take(files);
    }, { accept: ".toml,.json", multiple: true, around: card }),
    h("details", {}, h("summary", {}, "or paste one"), h("form", { on: { submit: async (event) => {
      event.preventDefault();
      fill(told);
      take([new File([text.value], `${id.value}.${text.value.trimStart().startsWith("{") ? "json" : "toml"}`)]);
    } } }, field("Name", id), field("Account file", text), h("button", { class: "primary" }, "Import"))), told);
  return card;
}

function fromVenue(compared) {
  const told = h("div");
  const kept = h("div");
  const card = section("What a venue answered");
  const venue = h("input", { type: "text", required: true, list: "venues", placeholder: "binance", autocomplete: "off" });
  const list = h("datalist", { id: "venues" });
  api.call("GET", "/v1/profiles").then((found) => fill(list,
    [...new Set((found.profiles ?? found).flatMap((row) => [row.venue, row.id]))]
    .map((value) => h("option", { value }))), () => {});
  const given = h("ul");
  const payloads = new Map(); // file name -> JSON text
  const id = named("my-venue");
  const read = async () => {
    try {
      const parts = [...payloads].map(([name, text]) => `${JSON.stringify(name)}:${text}`);
      const found = await api.call("POST", `/v1/import/${encodeURIComponent(venue.value.trim())}`,
        `{"payloads":{${parts.join(",")}}}`);
      fill(told);
      fill(kept);
      fill(compared, section("Reported by the venue and by its rules", reconciled(found.reconciliation), h("p", {},
        button("Keep this account", () => keep(kept, id.value, JSON.stringify(found.account)), { class: "primary" })), kept));
    } catch (error) {
      fill(compared);
      fill(told, problem(error));
    }
  };
  card.append(h("p", {}, "The answers of balances, positions and prices as JSON files. " +
    "Each figure the venue reported is compared with what its rules give."),
    h("form", { on: { submit: (event) => {
      event.preventDefault();
      read();
    } } }, field("Venue or profile", venue), list, field("Name", id), drop("Choose or drop the answers (JSON)", async (files) => {
      for (const file of files) payloads.set(file.name, await file.text());
      fill(given, [...payloads.keys()].map((name) => h("li", {}, name)));
    }, { accept: ".json", multiple: true, around: card }), given, h("button", { class: "primary" }, "Read")), told);
  return card;
}

/** A decimal of the service as an amount, everything else as it stands. */
const figureOf = (value) => (/^-?\d+(\.\d+)?$/.test(value) ? amount(value) : String(value ?? ""));

/** The comparison with what the venue reported: whatever rows it has, as a table. */
function reconciled(found) {
  const rows = Array.isArray(found) ? found : found?.rows ?? found?.figures ?? found?.comparisons ?? [];
  if (!rows.length) return h("p", { class: "dim" }, "The venue reported no figure to compare with.");
  const names = Object.keys(rows[0]).filter((name) => rows.some((row) => row[name] !== null && typeof row[name] !== "object"));
  return plain("Reconciliation", names.map(heading), rows.map((row) => names.map((name) => figureOf(row[name]))));
}
