// Asks this process for its figures every two seconds, and shows them. Whatever comes from the
// stream is put in as text.

import { clock, draw } from "./chart.js";

const EVERY_MS = 2000;
const PATIENCE_MS = 5000;
const UNKNOWN = "—";

const OUTCOMES = {
  labelled: "learnt from",
  late: "learnt from, after the request had been closed",
  revised: "learnt from, in place of an earlier answer",
  retracted: "withdrawn",
  skipped: "the annotator could not tell",
  flagged: "remarks that something is wrong with the event",
  noted: "one of several that are wanted",
  disagreed: "against another annotator's: the last word is asked for",
  gold: "about cases whose class was known",
  expired: "requests that nobody answered in time",
  assumed: "requests that nobody answered in time, where silence means a class",
  repeated: "said before",
  conflicting: "against what was said before, and refused",
  unknown: "to no request that is known, and refused",
  refused: "not usable",
  early: "before their request; counted again once it has come",
  unsolicited: "nobody had asked",
};

const byId = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;

function percent(value, digits = 2) {
  return known(value) ? `${(100 * value).toFixed(digits)} %` : UNKNOWN;
}

function count(value) {
  return known(value) ? Math.round(value).toLocaleString("en-US") : UNKNOWN;
}

function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

function bytes(value) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6]]) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${Math.round(value / 1e3)} kB`;
}

// The value is the exact figure, the text what people read.
function show(id, value, format) {
  const place = byId(id);
  place.value = known(value) ? String(value) : "";
  place.textContent = format(value);
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function cell(text, kind, label) {
  const made = element("td", text, kind);
  if (label) made.dataset.label = label;
  return made;
}

// Figures of a metric: its sum over all series that have these labels; null where there is none.
function figure(told, name, labels = {}) {
  const found = told.samples.filter(
    ([each, theirs]) =>
      each === name && Object.entries(labels).every(([key, value]) => theirs[key] === value),
  );
  return found.length ? found.reduce((sum, [, , value]) => sum + value, 0) : null;
}

function table(told) {
  const chosen = Number(document.querySelector("input[name=range]:checked").value);
  const rows = told.points.filter(([time]) => time >= told.now - chosen);
  return (...names) => {
    const at = ["time", ...names].map((name) => told.columns.indexOf(name));
    return rows.map((row) => at.map((n) => row[n]));
  };
}

function spending(told, asked, allowed) {
  if (!known(allowed)) return ["", ""];
  if (asked <= allowed) return ["Within the budget.", "good"];
  // A partition that comes brings what it had saved, and one that goes takes its burst along.
  if (figure(told, "restores_total", { role: "gate" }) > 1) {
    return ["Partitions have moved, each with a burst of its own: no verdict here.", "waits"];
  }
  return ["More than the budget allows.", "bad"];
}

function showQueries(told, column) {
  const asked = figure(told, "predictions_total", { action: "ask" });
  const decided = asked + figure(told, "predictions_total", { action: "auto" });
  const budget = figure(told, "budget_ratio");
  const burst = figure(told, "budget_burst_requests");
  const allowed = known(budget) ? Math.floor(budget * decided + burst) : null;
  const query = figure(told, "query_ratio");
  show("query-ratio", query, percent);
  byId("query-window").textContent =
    decided < 10000 ? `${count(decided)} events, all since this process started,` : "10,000 events or so";
  for (const id of ["budget-ratio", "budget-share"]) show(id, budget, percent);
  for (const id of ["asked", "saved-asked"]) show(id, asked, count);
  for (const id of ["decided", "saved-decided"]) show(id, decided, count);
  show("burst", burst, count);
  show("allowed", allowed, count);
  show("saved", decided - asked, count);
  [byId("spending").textContent, byId("spending").className] = spending(told, asked, allowed);
  draw(byId("query-chart"), {
    title: "Query rate against the budget",
    words: `Now ${percent(query)} of events are asked about, at a budget of ${percent(budget)}.`,
    lines: [
      { kind: "budget", points: column("budget") },
      { kind: "query", points: column("query") },
    ],
    low: 0,
    high: 1.5 * (budget ?? 0.01),
    format: (value) => `${Number((100 * value).toFixed(2))} %`,
  });
}

function showAccuracy(told, column) {
  const value = figure(told, "rolling_accuracy_ratio");
  const lower = figure(told, "rolling_accuracy_limit_ratio", { limit: "lower" });
  const upper = figure(told, "rolling_accuracy_limit_ratio", { limit: "upper" });
  const naive = figure(told, "rolling_accuracy_naive_ratio");
  show("accuracy", value, percent);
  show("accuracy-lower", lower, percent);
  show("accuracy-upper", upper, percent);
  show("naive", naive, percent);
  byId("accuracy-unknown").hidden = known(value);
  show("watermark-lag", figure(told, "accuracy_watermark_lag_events"), count);
  draw(byId("accuracy-chart"), {
    title: "Rolling accuracy with its limits, and the naive accuracy",
    words:
      `Estimate now: ${percent(value)}, between ${percent(lower)} and ${percent(upper)}. ` +
      `Naive: ${percent(naive)}.`,
    band: column("lower", "upper"),
    lines: [
      { kind: "naive", points: column("naive") },
      { kind: "accuracy", points: column("accuracy") },
    ],
    low: 0.9,
    high: 1,
    format: (each) => `${Number((100 * each).toFixed(2))} %`,
  });
}

function showWarnings(told) {
  const signs = told.samples.filter(([name]) => name === "warning");
  const named = (chosen) => signs.filter(chosen).map(([, labels]) => labels.sign);
  const on = named(([, , value]) => value > 0);
  const off = named(([, , value]) => value === 0);
  byId("warnings-off").replaceChildren(
    ...off.map((name) => element("li", `${name}, not on: ${told.warnings[name]?.why ?? ""}`)),
  );
  show("warnings-on", on.length, String);
  byId("warnings-on").className = on.length ? "bad" : "good";
  show("warnings-known", signs.length, String);
  byId("warnings").replaceChildren(
    ...on.map((name) => {
      const item = element("li");
      item.append(element("strong", `${name}: `, "bad"));
      const { meaning, why } = told.warnings[name] ?? {};
      if (meaning) item.append(`${meaning}. Now: ${why}.`);
      return item;
    }),
  );
}

function showLabels(told, column) {
  const open = figure(told, "open_requests");
  show("open-requests", open, count);
  show("oldest", figure(told, "oldest_open_request_age_seconds"), duration);
  show("early-labels", figure(told, "early_labels"), count);
  draw(byId("open-chart"), {
    title: "Open requests",
    words: `${count(open)} requests are open now.`,
    lines: [{ kind: "open", points: column("open_requests") }],
    low: 0,
    high: 4,
    whole: true,
    format: count,
  });
  const found = told.samples.filter(([name, , value]) => name === "labels_total" && value > 0);
  found.sort((one, other) => other[2] - one[2]);
  show("answers", figure(told, "labels_total"), count);
  byId("outcomes").replaceChildren(
    ...found.map(([, { outcome }, value]) => {
      const row = element("tr");
      row.append(cell(outcome), cell(OUTCOMES[outcome] ?? ""), cell(count(value), "number"));
      return row;
    }),
  );
}

function state({ ready, why, hangs }) {
  if (hangs) return ["hangs", "bad"];
  if (!ready) return ["not ready", "waits"];
  return [why ? "ready, stands by" : "ready", "good"];
}

function stateCell(found) {
  const told = element("td");
  told.append(element("span", ...state(found)));
  if (found.why) told.append(element("small", found.why));
  if (found.hangs) told.append(element("small", `Its last round ended ${duration(found.age)} ago.`));
  return told;
}

function showHealth(told) {
  const said = Object.entries(told.roles).map(([role, found]) => {
    const [text, kind] = state(found);
    return element("span", `${role} ${text}`, kind);
  });
  for (const [action, text] of [["pause", "paused by an operator"], ["boost", "boosted by an operator"]]) {
    if (figure(told, "control", { action })) said.push(element("span", text, "waits"));
  }
  if (figure(told, "assigned_partitions", { role: "gate" }) === 0) {
    said.push(element("span", "no partition is this gate's: its figures are of when it had some", "waits"));
  }
  const on = figure(told, "warning");
  if (known(on)) {
    said.push(element("span", `${on || "no"} warning ${on === 1 ? "sign" : "signs"}`, on ? "bad" : "good"));
  }
  byId("health").replaceChildren(...said);
}

function showProcess(told) {
  byId("roles").replaceChildren(
    ...Object.entries(told.roles).map(([role, found]) => {
      const row = element("tr");
      row.id = `role-${role}`;
      const waiting = figure(told, "consumer_lag_records", { role });
      const dead = figure(told, "dead_letters_total", { role });
      row.append(
        element("th", role),
        stateCell(found),
        cell(count(waiting), "number", "records that wait"),
        cell(count(dead), "number", "dead letters"),
      );
      return row;
    }),
  );
  const taken = figure(told, "log_bytes");
  const free = figure(told, "log_disk_free_bytes");
  byId("storage").textContent = known(taken)
    ? `The embedded log takes ${bytes(taken)}; ${bytes(free)} are free on its disk.`
    : "";
}

function decisionRow(told) {
  const row = element("tr");
  const asked = told.action === "ask";
  const event = element("th", told.id || told.event);
  event.scope = "row";
  if (told.id) event.append(element("small", told.event));
  if (known(told.time)) event.append(element("small", `at ${clock(told.time)}`));
  const action = element("td");
  action.append(element("strong", asked ? "● asked" : "○ not asked"), ` (${told.reason})`);
  action.append(element("small", told.why));
  const predicted = cell(told.prediction ?? "no class known", "", "prediction");
  if (known(told.probability)) {
    predicted.append(element("small", `probability ${told.probability.toFixed(3)}`));
  }
  const features = cell(undefined, "", told.weighed.length ? "weighed most" : "");
  if (told.weighed.length) {
    const list = element("ul", undefined, "weighed");
    for (const [name, value, share] of told.weighed) {
      const part = `${share < 0 ? "−" : "+"}${Math.abs(share).toFixed(2)}`;
      list.append(element("li", `${name}${value ? ` = ${value}` : ""} (${part})`));
    }
    features.append(list);
  }
  row.append(
    event,
    action,
    predicted,
    cell(told.score.toFixed(3), "number", "score"),
    cell(told.threshold.toFixed(3), "number", "threshold"),
    features,
  );
  return row;
}

function showDecisions(told) {
  const rows = told.decisions ?? [];
  byId("decisions-said").textContent =
    told.refusal ??
    `The last ${told.each} that were asked about, then the last ${told.each} that were not, newest ` +
      "first. Behind a feature: its part in the log odds of the predicted class.";
  byId("decisions-table").hidden = rows.length === 0;
  byId("decisions").replaceChildren(...rows.map(decisionRow));
}

let last = null;

function render() {
  if (last === null) return;
  const column = table(last);
  const has = (role) => role in last.roles;
  byId("main").hidden = false;
  byId("name").textContent = [last.name, last.instance].filter(Boolean).join(" · ");
  for (const section of document.querySelectorAll("[data-role]")) {
    section.hidden = !has(section.dataset.role);
  }
  if (has("gate")) {
    showQueries(last, column);
    showAccuracy(last, column);
    showWarnings(last);
    showDecisions(last);
  }
  if (has("ledger")) showLabels(last, column);
  showHealth(last);
  showProcess(last);
}

function say(text, stale) {
  const status = byId("status");
  // Said once, or a screen reader would say it every two seconds.
  if (status.textContent !== text) status.textContent = text;
  status.className = stale ? "stale" : "";
  document.body.className = stale ? "stale" : "live";
}

async function poll() {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch("page.json", { signal, cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    last = await answer.json();
    render();
    say("Live: figures are new every 2 s.", false);
  } catch (error) {
    console.info(error);
    const since = last === null ? "" : ` since ${clock(last.now)}, and so are all figures`;
    say(`Stale${since}: the process does not answer. Asking again every 2 s.`, true);
  }
  setTimeout(poll, EVERY_MS);
}

byId("ranges").addEventListener("change", render);
window.addEventListener("resize", render);
poll();
