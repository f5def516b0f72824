// The front of the page: any two or three figures, limits by sliders, dominance only where intervals are apart.
// The rule is that of results/separated.py, which wrote the table of the page.
import { showChart, show } from "./chart.js";

const figure = document.getElementById("front-chart");
const form = document.getElementById("front-form");
const limits = document.getElementById("front-limits");
const summary = document.getElementById("front-summary");
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
let data = null;
const bounds = new Map();

const value = (point, name) => point.figures[name][0];
const text = (name, amount) => (data.figures[name].share ? `${number.format(100 * amount)} %` : number.format(amount));

export function spans(point, names) {
  return names.map((name) => {
    const [amount, low, high] = point.figures[name];
    return data.figures[name].maximised ? [-high, -amount, -low] : [low, amount, high];
  });
}

export function dominates(first, second) {
  let better = false;
  for (let i = 0; i < first.length; i += 1) {
    if (first[i][1] > second[i][1]) return false;
    better = better || first[i][2] < second[i][0];
  }
  return better;
}

// those that one of `by` beats: better in the first figure beyond the intervals, and not worse in the second; of all whose
// first interval ends before, the best second value decides
function beatenAlong(points, by, first, second) {
  const ordered = [...by].sort((a, b) => a.spans[first][2] - b.spans[first][2]);
  let best = Infinity;
  const bests = ordered.map((one) => (best = Math.min(best, one.spans[second][1])));
  return points.filter((one) => {
    let [low, high] = [0, ordered.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ordered[middle].spans[first][2] < one.spans[first][0]) low = middle + 1;
      else high = middle;
    }
    return low > 0 && bests[low - 1] <= one.spans[second][1];
  });
}

function frontOfTwo(all) {
  const beaten = new Set();
  const compare = (points, by) => {
    for (const one of [...beatenAlong(points, by, 0, 1), ...beatenAlong(points, by, 1, 0)]) beaten.add(one);
  };
  compare(all, all.filter((one) => one.reliable));
  const doubtful = all.filter((one) => !one.reliable);
  compare(doubtful, doubtful);
  return all.filter((one) => !beaten.has(one));
}

function frontOfMore(all) {
  const sum = (one) => one.spans.reduce((total, span) => total + span[1], 0);
  const promising = all.map((one) => [sum(one), one]).sort((a, b) => a[0] - b[0]).map(([, one]) => one);
  return all.filter((one) => !promising.some((other) => other !== one && (other.reliable || !one.reliable) && dominates(other.spans, one.spans)));
}

function frontOf(points, names) {
  const all = points.map((point) => ({ point, spans: spans(point, names), reliable: point.verdict === "valid" }));
  return new Set((names.length === 2 ? frontOfTwo(all) : frontOfMore(all)).map((one) => one.point));
}

function wishes() {
  const fields = new FormData(form);
  const names = [...new Set(["x", "y", "z"].map((name) => fields.get(name)).filter(Boolean))];
  return { names, device: fields.get("device") || null, shown: new Set(["measured", ...["simulated", "imported"].filter((name) => fields.has(name))]), across: fields.has("across") };
}

function chosen({ names, device, shown }) {
  return data.points.filter(
    (point) =>
      names.every((name) => point.figures[name]) &&
      (!device || point.device === device) &&
      shown.has(point.provenance),
  );
}

function isKept(point) {
  for (const [name, bound] of bounds) {
    const amount = point.figures[name]?.[0];
    if (amount === undefined) return false;
    if (data.figures[name].maximised ? amount < bound : amount > bound) return false;
  }
  return true;
}

function groupsOf(points, wish) {
  const groups = new Map();
  for (const point of points) {
    const key = wish.across ? (point.provenance === "measured" ? "all boards" : point.provenance) : `${point.device}${point.provenance === "measured" ? "" : ` (${point.provenance})`}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(point);
  }
  return groups;
}

function compute() {
  const wish = wishes();
  const kept = chosen(wish).filter(isKept);
  const winners = new Set();
  for (const members of groupsOf(kept, wish).values()) for (const winner of frontOf(members, wish.names)) winners.add(winner);
  return { wish, kept, winners };
}

function chartOf({ wish, kept, winners }) {
  const [x, y, z] = wish.names;
  const label = (name) => data.figures[name].label;
  const axis = (name) => ({ label: label(name), kind: data.figures[name].share ? "share" : "value" });
  const largest = z ? Math.max(...kept.map((point) => value(point, z))) : 0;
  const series = [...groupsOf(kept, { across: false })].map(([name, members]) => ({
    name,
    kind: "scatter",
    points: members.map((point) => ({
      x: value(point, x),
      y: value(point, y),
      ...(point.figures[x][2] > point.figures[x][1] ? { xLow: point.figures[x][1], xHigh: point.figures[x][2] } : {}),
      ...(point.figures[y][2] > point.figures[y][1] ? { low: point.figures[y][1], high: point.figures[y][2] } : {}),
      label: point.name,
      note: [z ? `${label(z)}: ${text(z, value(point, z))}` : "", point.verdict === "valid" ? "" : point.verdict].filter(Boolean).join("\n"),
      size: z ? 7 + 16 * Math.sqrt(value(point, z) / largest) : undefined,
      strong: winners.has(point),
      hatched: point.provenance !== "measured",
      href: `/runs/${point.run}`,
    })),
  }));
  const columns = ["variant", "board", "figures", ...wish.names.map(label), "verdict", "on the front"];
  const rows = kept.map((point) => [point.name, point.device, point.provenance, ...wish.names.map((name) => value(point, name)), point.verdict, winners.has(point) ? "yes" : "no"]);
  return { x: axis(x), y: axis(y), series, bands: [], marks: markedLimits(x, y), table: { columns, rows }, nothing: "No result is within all limits" };
}

function markedLimits(x, y) {
  return [...bounds]
    .filter(([name]) => name === x || name === y)
    .map(([name, bound]) => ({ at: bound, along: name === y ? "y" : "x", label: `${data.figures[name].maximised ? "at least" : "at most"} ${text(name, bound)}`, tone: "bad" }));
}

function cell(kind, content, className) {
  const place = document.createElement(kind);
  if (className) place.className = className;
  place.append(content);
  return place;
}

function writeTable({ wish, kept, winners }) {
  const table = document.getElementById("front-table");
  const sorted = [...kept].sort((a, b) => winners.has(b) - winners.has(a) || value(a, wish.names[0]) - value(b, wish.names[0])).slice(0, 200);
  const head = document.createElement("tr");
  for (const [i, label] of ["Variant", "Board", "Verdict", ...wish.names.map((name) => data.figures[name].label)].entries()) {
    const th = cell("th", label, i > 2 ? "number" : "");
    th.scope = "col";
    head.append(th);
  }
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(
    ...sorted.map((point) => {
      const row = document.createElement("tr");
      if (winners.has(point)) row.className = "on-front";
      const link = document.createElement("a");
      link.href = `/runs/${point.run}`;
      link.textContent = point.name;
      const name = cell("th", link);
      name.scope = "row";
      if (winners.has(point)) name.append(document.createElement("br"), cell("small", "on the front"));
      const trust = point.provenance === "measured" ? point.verdict : `${point.verdict}, ${point.provenance}`;
      row.append(name, cell("td", point.device), cell("td", trust));
      for (const figureName of wish.names) {
        const [amount, low, high] = point.figures[figureName];
        const td = cell("td", text(figureName, amount), "number");
        if (high > low) td.append(document.createElement("br"), cell("small", `[${text(figureName, low)}, ${text(figureName, high)}]`));
        row.append(td);
      }
      return row;
    }),
  );
}

function update() {
  const found = compute();
  const chart = chartOf(found);
  if (found.kept.length) showChart(figure, chart);
  else {
    showChart(figure, { ...chart, series: [] });
  }
  writeTable(found);
  const [best] = [...found.winners].sort((a, b) => value(a, found.wish.names[0]) - value(b, found.wish.names[0]));
  const lead = best ? ` First by ${data.figures[found.wish.names[0]].label}: ${best.name} on ${best.device}.` : " Loosen a limit.";
  summary.textContent = `${found.winners.size} of ${found.kept.length} results are on the front.${lead}`;
}

// one slider for each figure that any result has, from the smallest to the largest of them
function makeLimits() {
  for (const [name, about] of Object.entries(data.figures)) {
    const amounts = data.points.filter((point) => point.figures[name]).map((point) => value(point, name));
    if (!amounts.length) continue;
    const [low, high] = [Math.min(...amounts), Math.max(...amounts)];
    if (!(high > low)) continue;
    const row = document.createElement("div");
    const label = document.createElement("label");
    const shown = document.createElement("output");
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", id: `limit-${name}`, min: "0", max: "200", value: about.maximised ? "0" : "200" });
    label.htmlFor = shown.htmlFor = slider.id;
    label.textContent = `${about.maximised ? "At least" : "At most"}: ${about.label}`;
    shown.textContent = "no limit";
    slider.addEventListener("input", () => {
      const isOff = slider.value === (about.maximised ? slider.min : slider.max);
      // small figures get as much of the slider as large ones where they differ a lot
      const share = slider.value / 200;
      const bound = low > 0 && high / low > 20 ? low * (high / low) ** share : low + (high - low) * share;
      if (isOff) bounds.delete(name);
      else bounds.set(name, bound);
      shown.textContent = isOff ? "no limit" : text(name, bound);
      slider.setAttribute("aria-valuetext", shown.textContent);
      update();
    });
    slider.setAttribute("aria-valuetext", "no limit");
    row.append(label, slider, shown);
    limits.append(row);
  }
}

async function begin() {
  try {
    const answer = await fetch(form.dataset.points, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    data = await answer.json();
    // figures whose errors are not known came alone
    for (const point of data.points) for (const figure of Object.values(point.figures)) if (figure.length === 1) figure.push(figure[0], figure[0]);
  } catch (error) {
    figure.dataset.state = "failed";
    summary.textContent = `The points could not be loaded (${error.message}). The table is that of the page as it was asked for.`;
    return;
  }
  makeLimits();
  form.addEventListener("change", (event) => {
    if (event.target.name === "job") form.requestSubmit();
    else {
      history.replaceState(null, "", `/front?${new URLSearchParams([...new FormData(form)].filter(([name, one]) => one && name !== "across"))}`);
      update();
    }
  });
  update();
}

if (form) begin();
else if (figure) show(figure);
