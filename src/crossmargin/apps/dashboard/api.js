/* The only door to the service: questions, figures, accounts, alerts. Every refusal becomes a Problem with its faults. */

/** What the service refused, with each fault's path, value and remedy. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the service answered ${status}`);
    this.status = status;
    this.title = body.title || "Refused";
    this.faults = body.faults ?? [];
  }
}

let csrf = null; // what proves, with the cookie, that a change comes from this page

/** Learns who is signed in; the answer says the mode ("local" or "token"). A Problem of 401 asks to sign in. */
export async function session() {
  const found = await call("GET", "/v1/session");
  csrf = found.csrf;
  return found;
}

/** Signs in with a token; it is kept in a cookie that no script reads. */
export async function signIn(token) {
  csrf = (await call("POST", "/v1/session", { token })).csrf;
}

export async function signOut() {
  await call("DELETE", "/v1/session");
  csrf = null;
}

function headers(method, body) {
  const found = {};
  if (body !== undefined) found["Content-Type"] = "application/json";
  if (method !== "GET") {
    found["Idempotency-Key"] = crypto.randomUUID();
    if (csrf) found["X-CSRF-Token"] = csrf;
  }
  return found;
}

const isJson = (answer) => (answer.headers.get("Content-Type") ?? "").includes("json");

/** One request and its answer, or the Problem it is. `etag`: only while it is that; `fresh`: only while there is none. */
async function send(method, path, body, { etag, fresh } = {}) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const only = { ...(etag && { "If-Match": etag }), ...(fresh && { "If-None-Match": "*" }) };
  let answer;
  try {
    answer = await fetch(path, { method, body: text, headers: { ...headers(method, text), ...only } });
  } catch {
    throw new Problem(0, { title: "No connection", detail: "the service does not answer; it is asked again by itself" });
  }
  if (!answer.ok) throw new Problem(answer.status, isJson(answer) ? await answer.json() : {});
  return answer;
}

/** One request; `body` is a value, or a text that is JSON already (a file's own digits are never re-read as floats). */
export async function call(...given) {
  const answer = await send(...given);
  return isJson(answer) ? answer.json() : {};
}

/** The answer of one question: `subject` is {account} or {account_id} and what else the body names. */
export const ask = (name, subject, options) =>
  call("POST", `/v1/questions/${name}`, { ...subject, ...(options ? { options } : {}) });

/** The account file after changes, as text with every digit: what a what-if leaves. */
export async function changed(subject, changes) {
  const answer = await send("POST", "/v1/changed-account", { ...subject, options: { changes } });
  return JSON.stringify(JSON.parse(await answer.text()).account);
}

/** A question's answer to be shown: {words, figures: [{title, spec, table, note}], tables: [{title, columns, rows}]}. */
export const figures = (name, subject, options) =>
  call("POST", `/v1/figures/${name}`, { ...subject, ...(options ? { options } : {}) });

export const accounts = async () => (await call("GET", "/v1/accounts")).accounts;
const at = (id) => `/v1/accounts/${encodeURIComponent(id)}`;
export const account = (id) => call("GET", at(id));
export const removeAccount = (id) => call("DELETE", at(id));
export const history = (id) => call("GET", `${at(id)}/history`);

/** The text of a stored account with the ETag by which it is known: {text, etag}. */
export async function stored(id) {
  const answer = await send("GET", at(id));
  return { text: await answer.text(), etag: answer.headers.get("ETag") };
}

/**
 * Stores an account under a condition, so that nothing is overwritten unseen: {etag} of what it takes the place of, or
 * {fresh: true}. A Problem of 412 says that somebody else was first.
 */
export const putAccount = (id, file, condition) => call("PUT", at(id), file, condition);

/** The alert rules with the ETag by which the tenant's own are known: {found, etag}. */
export async function alertRules() {
  const answer = await send("GET", "/v1/alert-rules");
  return { found: await answer.json(), etag: answer.headers.get("ETag") };
}

/** Puts these rules in the place of those of `etag`; a Problem of 412 says that somebody else was first. */
export const putAlertRules = (rules, etag) => call("PUT", "/v1/alert-rules", { rules }, { etag });

/**
 * A runner for controls that fire faster than the service answers: one request in flight, and of those that wait only
 * the last is sent.
 */
export function latest(work) {
  let busy = false;
  let waiting = null;
  return async (...given) => {
    waiting = given;
    if (busy) return;
    busy = true;
    try {
      while (waiting) {
        const next = waiting;
        waiting = null;
        await work(...next);
      }
    } finally {
      busy = false;
    }
  };
}

/** Runs work over items, a few at a time. */
export async function few(items, work, atOnce = 4) {
  const left = [...items];
  await Promise.all(Array.from({ length: Math.min(atOnce, left.length) }, async () => {
    while (left.length) await work(left.shift());
  }));
}
