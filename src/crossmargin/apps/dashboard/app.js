/* The page: routes in the hash, the menu, keys, theme, connection. Views draw themselves into <main>. */

import * as api from "./api.js";
import { button, fill, h } from "./dom.js";
import { change, get, watch } from "./store.js";
import * as stream from "./stream.js";
import * as words from "./words.js";
import { repaint } from "./widgets/figure.js";
import { problem, tick } from "./widgets/parts.js";
import * as grid from "./widgets/table.js";

/** Route -> the module that draws it; loaded when first asked for. */
const VIEWS = {
  "": () => import("./views/overview.js"),
  account: () => import("./views/account.js"),
  allocation: () => import("./views/allocation.js"),
  replay: () => import("./views/replay.js"),
  alerts: () => import("./views/alerts.js"),
  import: () => import("./views/import.js"),
  "sign-in": () => import("./views/signin.js"),
};
const MENU = [["", "Overview"], ["allocation", "Allocation"], ["replay", "Replay"], ["alerts", "Alerts"], ["import", "Import"]];

const REFRESH = 60000;

const main = document.getElementById("main");
const dialog = document.getElementById("dialog");
const banner = document.getElementById("banner");
let leave = () => {};
let turn = 0;

const parts = () => location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);

/** Draws the view of the hash; a view that was left meanwhile draws nothing. */
async function route() {
  const mine = (turn += 1);
  const [name, ...rest] = parts();
  leave();
  leave = () => {};
  for (const link of document.querySelectorAll("#menu a")) {
    if (link.dataset.name === name || (link.dataset.name === "" && name === "account")) {
      link.setAttribute("aria-current", "page");
    } else link.removeAttribute("aria-current");
  }
  try {
    const view = await (VIEWS[name] ?? VIEWS[""])();
    if (mine !== turn) return;
    const place = h("div", { class: `view ${name || "overview"}` });
    fill(main, place);
    scrollTo(0, 0);
    leave = (await view.render(place, rest, () => mine === turn)) ?? (() => {});
    if (mine !== turn) leave();
  } catch (error) {
    if (mine === turn && !signIn(error)) fill(main, problem(error));
  }
}

/** Sends whoever is not signed in to the sign-in view; says whether it did. */
function signIn(error) {
  if (error.status !== 401) return false;
  if (parts()[0] !== "sign-in") location.hash = "#/sign-in";
  return true;
}

// live data -----------------------------------------------------------------------------------------------------------

const refresh = api.latest(async () => {
  try {
    change({ accounts: await api.accounts(), heard: Date.now() });
  } catch (error) {
    if (!signIn(error) && get().accounts === null && error.status) fill(main, problem(error));
  }
});

const refreshAlerts = api.latest(async () => {
  try {
    change({ alerts: (await api.call("GET", "/v1/alerts?state=open")).alerts });
  } catch (error) {
    if (error.status !== 404) signIn(error);
  }
});

/** What the stream says: rows of accounts that changed, an alert, or that it is connected (again). */
function receive(message) {
  if (message.type === "accounts" && message.accounts && get().accounts) {
    const changed = new Map(message.accounts.map((row) => [row.id, row]));
    const gone = new Set(message.deleted ?? []);
    const kept = get().accounts.filter((row) => !gone.has(row.id)).map((row) => changed.get(row.id) ?? row);
    const known = new Set(kept.map((row) => row.id));
    change({ accounts: [...kept, ...[...changed.values()].filter((row) => !known.has(row.id))] });
  } else if (message.type === "connected" || message.type === "accounts") refresh();
  if (message.type === "alert" || message.type === "connected") refreshAlerts();
}

function showConnection(state) {
  const said = { connecting: "connecting", live: "live", lost: "not connected" }[state.connection];
  const light = document.getElementById("connection");
  light.className = state.connection;
  if (light.textContent !== said) light.textContent = said;
  document.body.classList.toggle("stale", state.connection === "lost");
  const lost = state.connection === "lost";
  if (lost && banner.hidden) {
    const since = h("time", { class: "age", datetime: "", data: { moment: new Date(state.heard ?? Date.now()).toISOString() } });
    since.textContent = words.age(since.dataset.moment);
    fill(banner, "Connection lost. What you see was heard ", since, " and may no longer hold; trying again by itself. ",
      button("Try now", stream.now));
  }
  banner.hidden = !lost;
}

function showMenu(state) {
  const open = state.alerts.filter((alert) => !alert.acknowledged_at && !alert.cleared_at).length;
  const link = document.querySelector('#menu a[data-name="alerts"] .count');
  link.textContent = open || "";
  link.hidden = !open;
}

// theme and keys ------------------------------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");

function switchTheme() {
  const root = document.documentElement;
  const now = root.dataset.theme === "system" ? (dark.matches ? "dark" : "light") : root.dataset.theme;
  root.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("crossmargin-theme", root.dataset.theme);
  repaint();
}

const KEYS = [
  ["/", "search in the table"], ["j, k", "next row, row before (in a table also ↓, ↑)"], ["Enter", "open the row"],
  ["Esc", "back, or close what is open"], ["g then o, a, r, l, i", "overview, allocation, replay, alerts, import"],
  ["t", "light or dark"], ["?", "this list"],
];

/** Shows a dialog with a heading; gives the function that closes it. */
export function showDialog(title, ...children) {
  fill(dialog, h("h2", { id: "dialog-title" }, title), ...children,
    h("form", { method: "dialog" }, h("button", { class: "plain" }, "Close")));
  if (!dialog.open) dialog.showModal();
  return () => dialog.close();
}

const help = () => showDialog("Keys", h("dl", { class: "keys" }, KEYS.map(([key, what]) =>
  [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])));

function back() {
  const [name, ...rest] = parts();
  if (name === "account" && rest.length > 1) location.hash = `#/account/${encodeURIComponent(rest[0])}`;
  else if (name) location.hash = "#/";
}

const GO = { o: "", a: "allocation", r: "replay", l: "alerts", i: "import" };
let going = false;

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) typing.blur();
    else back();
    return;
  }
  if (typing) return;
  const search = () => document.querySelector("input[type=search]")?.focus();
  const actions = { "/": search, "?": help, t: switchTheme, j: () => grid.walk(1), k: () => grid.walk(-1),
    g: () => (going = true) };
  // arrows scroll the page, except in a table
  if (event.target.closest(".table")) Object.assign(actions, { ArrowDown: actions.j, ArrowUp: actions.k });
  const go = going && event.key in GO;
  going = false;
  if (go) location.hash = `#/${GO[event.key]}`;
  else if (event.key === "Enter" && !event.target.closest("a, button, summary")) grid.open();
  else if (event.key in actions) actions[event.key]();
  else return;
  event.preventDefault();
}

// start ---------------------------------------------------------------------------------------------------------------

fill(document.getElementById("menu"), MENU.map(([name, title]) => h("a", { href: `#/${name}`, data: { name } }, title,
  name === "alerts" && h("span", { class: "count", hidden: true, "aria-label": "open alerts" }))));
document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("help").addEventListener("click", help);
document.getElementById("sign-out").addEventListener("click", async () => {
  await api.signOut();
  location.reload();
});
dark.addEventListener("change", repaint);
addEventListener("keydown", press);
addEventListener("hashchange", route);
addEventListener("crossmargin:signed-in", begin);
setInterval(tick, 1000);
setInterval(() => get().accounts && refresh(), REFRESH); // data grows stale also when nothing comes
watch(showConnection);
watch(showMenu);

/** Learns who is signed in, then shows the view and listens; whoever is not signed in is asked to. */
async function begin() {
  try {
    const { mode } = await api.session();
    document.getElementById("sign-out").hidden = mode !== "token";
  } catch (error) {
    if (!signIn(error)) fill(main, problem(error));
    else route();
    return;
  }
  route();
  refresh();
  stream.start(receive);
}

begin();
