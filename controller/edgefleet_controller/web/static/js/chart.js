// Draws the charts of a page from the JSON beside them; the table below each holds the same figures.
// A chart: {x, y, y2?, series, bands, marks, table}. See web/charts.py, which writes it.
import * as echarts from "../vendor/echarts/echarts.esm.min.js";

const drawn = new Map();
const still = matchMedia("(prefers-reduced-motion: reduce)");
const PALETTE = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];
const SYMBOLS = ["circle", "rect", "triangle", "diamond", "roundRect", "pin"];
const LARGE = 3000;

// custom properties are resolved by the browser alone: a probe wears each colour, and is asked for it
function colours() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const read = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const named = Object.fromEntries(
    ["ink", "muted", "line", "paper", "raised", "accent", "accent-soft", "good", "good-soft", "warn", "warn-soft", "bad", "calm-soft"].map(
      (name) => [name, read(`--${name}`)],
    ),
  );
  const palette = PALETTE.map(read);
  probe.remove();
  return { ...named, palette };
}

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
function shown(value, axis) {
  if (axis?.kind === "time") return new Date(value).toISOString().slice(0, 16).replace("T", " ");
  if (axis?.kind === "share") return `${number.format(100 * value)} %`;
  return typeof value === "number" ? number.format(value) : String(value);
}

function axisOf(axis, c, isY) {
  const kind = { time: "time", category: "category", log: "log" }[axis.kind] ?? "value";
  return {
    type: kind,
    name: axis.label,
    nameLocation: "middle",
    nameGap: isY ? 52 : 30,
    nameTextStyle: { color: c.muted, fontSize: 12 },
    data: axis.categories,
    scale: axis.fromZero !== true,
    min: axis.min,
    max: axis.max,
    axisLabel: {
      color: c.muted,
      hideOverlap: true,
      formatter: kind === "value" || kind === "log" ? (value) => shown(value, axis) : undefined,
    },
    axisLine: { show: !isY, lineStyle: { color: c.line } },
    splitLine: { show: isY || kind === "value", lineStyle: { color: c.line, opacity: 0.6 } },
  };
}

// whiskers of points whose errors are known, in both directions
function whiskers(series, colour, yAxisIndex) {
  const data = series.points.filter((p) => p.low !== undefined || p.xLow !== undefined);
  if (!data.length) return [];
  const none = NaN;
  return [
    {
      type: "custom",
      silent: true,
      yAxisIndex,
      z: 1,
      data: data.map((p) => [p.x, p.y, p.low ?? none, p.high ?? none, p.xLow ?? none, p.xHigh ?? none]),
      encode: { x: [0, 4, 5], y: [1, 2, 3] },
      renderItem(_params, api) {
        const [x, y, low, high, left, right] = [0, 1, 2, 3, 4, 5].map((i) => api.value(i));
        const lines = [];
        const add = (from, to) => {
          lines.push({ type: "line", shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }, style: { stroke: colour, lineWidth: 1.25, opacity: 0.75 } });
        };
        if (Number.isFinite(low)) {
          const [a, b] = [api.coord([x, low]), api.coord([x, high])];
          add(a, b);
          for (const end of [a, b]) add([end[0] - 4, end[1]], [end[0] + 4, end[1]]);
        }
        if (Number.isFinite(left)) {
          const [a, b] = [api.coord([left, y]), api.coord([right, y])];
          add(a, b);
          for (const end of [a, b]) add([end[0], end[1] - 4], [end[0], end[1] + 4]);
        }
        return { type: "group", children: lines };
      },
    },
  ];
}

const HATCH = { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 3], rotation: -Math.PI / 4 };

function scatter(series, index, c) {
  const colour = c.palette[index % c.palette.length];
  const isLarge = series.points.length > LARGE;
  const main = {
    type: "scatter",
    name: series.name,
    symbol: SYMBOLS[index % SYMBOLS.length],
    symbolSize: isLarge ? 5 : (_value, item) => (item.data.size ?? 11) + (item.data.strong ? 3 : 0),
    large: isLarge,
    itemStyle: { color: colour },
    z: 3,
    data: series.points.map((p) => ({
      value: [p.x, p.y],
      name: p.label,
      href: p.href,
      note: p.note,
      size: p.size,
      strong: p.strong,
      itemStyle: isLarge
        ? undefined
        : {
            color: p.strong ? colour : c.paper,
            borderColor: colour,
            borderWidth: 2,
            borderType: p.hatched ? "dashed" : "solid",
            decal: p.hatched ? { ...HATCH, color: colour } : undefined,
          },
      label: p.strong ? { show: true, formatter: "{b}", position: "right", color: c.ink, fontSize: 11 } : undefined,
    })),
    labelLayout: { hideOverlap: true },
  };
  return [...whiskers(series, colour, series.axis ?? 0), main];
}

function line(series, index, c) {
  const colour = c.palette[index % c.palette.length];
  const main = {
    type: "line",
    name: series.name,
    yAxisIndex: series.axis ?? 0,
    showSymbol: series.points.length <= 40,
    symbol: SYMBOLS[index % SYMBOLS.length],
    symbolSize: 6,
    step: series.kind === "steps" ? "end" : false,
    sampling: series.points.length > 2000 ? "minmax" : undefined,
    lineStyle: { width: 1.75, type: ["solid", "dashed", "dotted"][Math.floor(index / 2) % 3], color: colour },
    itemStyle: { color: colour },
    z: 2,
    data: series.points.map((p) => ({ value: [p.x, p.y], name: p.label, note: p.note, href: p.href })),
  };
  return [...whiskers(series, colour, series.axis ?? 0), main];
}

function bar(series, index, c, chart) {
  const place = (p) => (chart.flat ? [p.y, p.x] : [p.x, p.y]);
  const colour = c.palette[index % c.palette.length];
  return [
    {
      type: "bar",
      name: series.name,
      barCategoryGap: series.kind === "histogram" ? "4%" : "30%",
      itemStyle: { color: colour },
      data: series.points.map((p) => ({ value: place(p), name: p.label, note: p.note })),
    },
  ];
}

const DRAW = { scatter, line, steps: line, bar, histogram: bar };

function ornaments(chart, c) {
  const tones = { good: c["good-soft"], warn: c["warn-soft"], calm: c["calm-soft"], accent: c["accent-soft"] };
  const bands = (chart.bands ?? []).map((band) => [
    {
      name: band.label,
      xAxis: band.from,
      itemStyle: { color: tones[band.tone] ?? c["calm-soft"], opacity: 0.7 },
      label: { color: c.muted, fontSize: 11, position: "insideTop" },
    },
    { xAxis: band.to },
  ]);
  const marks = (chart.marks ?? []).map((mark) => ({
    [mark.along === "y" ? "yAxis" : "xAxis"]: mark.at,
    name: mark.label,
    label: { formatter: mark.label, color: c.ink, fontSize: 11, position: "insideEndTop" },
    lineStyle: { color: mark.tone === "bad" ? c.bad : c.muted, type: "dashed", width: 1.5 },
  }));
  return {
    markArea: bands.length ? { silent: true, data: bands } : undefined,
    markLine: marks.length ? { silent: true, symbol: "none", data: marks, animation: false } : undefined,
  };
}

function tooltipOf(chart) {
  return (item) => {
    const [x, y] = chart.flat ? [...item.value].reverse() : item.value;
    const head = item.name ? `${item.name}\n` : "";
    const flat = chart.flat ? `${x}\n` : `${chart.x.label}: ${shown(x, chart.x)}\n`;
    const axis = item.seriesIndex && chart.y2 && chart.series[item.seriesIndex]?.axis ? chart.y2 : chart.y;
    return `${head}${item.seriesName ? `${item.seriesName}\n` : ""}${flat}${axis.label}: ${shown(y, axis)}${item.data.note ? `\n${item.data.note}` : ""}`;
  };
}

function optionOf(chart, c, isExport = false) {
  const series = chart.series.flatMap((one, index) => (DRAW[one.kind] ?? line)(one, index, c, chart));
  const first = series.find((one) => one.type !== "custom");
  if (first) Object.assign(first, ornaments(chart, c));
  const named = chart.series.filter((one) => one.name);
  const yAxes = [axisOf(chart.y, c, true)];
  if (chart.y2) yAxes.push({ ...axisOf(chart.y2, c, true), splitLine: { show: false }, position: "right" });
  const xAxis = axisOf(chart.x, c, false);
  return {
    animation: !still.matches && !isExport,
    animationDuration: 250,
    backgroundColor: isExport ? c.paper : "transparent",
    textStyle: { fontFamily: "system-ui, sans-serif", color: c.ink },
    grid: { left: chart.flat ? 130 : 68, right: chart.y2 ? 68 : 28, top: named.length > 1 ? 40 : 24, bottom: 48 },
    legend: named.length > 1 ? { top: 4, type: "scroll", textStyle: { color: c.ink }, inactiveColor: c.muted, data: named.map((one) => ({ name: one.name, icon: SYMBOLS[chart.series.indexOf(one) % SYMBOLS.length] })) } : undefined,
    tooltip: {
      trigger: "item",
      renderMode: "richText", // the HTML one writes style attributes, which the policy forbids
      confine: true,
      backgroundColor: c.raised,
      borderColor: c.line,
      textStyle: { color: c.ink, fontSize: 12 },
      formatter: tooltipOf(chart),
    },
    xAxis: chart.flat ? axisOf(chart.y, c, false) : xAxis,
    yAxis: chart.flat ? [{ ...xAxis, nameLocation: "end", name: "", inverse: true, axisLine: { show: false } }] : yAxes,
    series,
  };
}

async function read(figure) {
  if (figure.dataset.source) {
    const answer = await fetch(figure.dataset.source, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (!answer.ok) throw new Error(`the figures could not be loaded (status ${answer.status})`);
    return answer.json();
  }
  return JSON.parse(figure.querySelector("script[type='application/json']").textContent);
}

function draw(figure, chart) {
  const place = figure.querySelector(".chart-plot");
  drawn.get(figure)?.plot.dispose();
  const plot = echarts.init(place, null, { renderer: "svg" });
  plot.setOption(optionOf(chart, colours()));
  plot.on("click", (event) => {
    if (event.data?.href) location.assign(event.data.href);
  });
  drawn.set(figure, { plot, chart });
}

// the table of a live chart follows its figures; one that the page was written with is right as it is
function writeTwin(figure, table) {
  const body = figure.querySelector("details tbody");
  if (!figure.dataset.source || !body) return;
  body.replaceChildren(
    ...table.rows.map((values) => {
      const row = document.createElement("tr");
      for (const [i, value] of values.entries()) {
        const place = document.createElement(i ? "td" : "th");
        if (i) place.className = "number";
        else place.scope = "row";
        place.textContent = value === null ? "–" : typeof value === "number" ? number.format(value) : value;
        row.append(place);
      }
      return row;
    }),
  );
}

export async function show(figure) {
  const place = figure.querySelector(".chart-plot");
  try {
    const chart = await read(figure);
    writeTwin(figure, chart.table);
    if (!chart.series.some((one) => one.points.length)) {
      drawn.get(figure)?.plot.dispose();
      drawn.delete(figure);
      place.dataset.waiting = chart.nothing ?? "Nothing to draw yet";
      figure.dataset.state = "empty";
      return;
    }
    draw(figure, chart);
    figure.dataset.state = "drawn";
    figure.dispatchEvent(new CustomEvent("edgefleet:drawn", { bubbles: true, detail: chart }));
  } catch (error) {
    place.dataset.waiting = `This could not be drawn: ${error.message}. The table has the figures.`;
    figure.querySelector("details")?.setAttribute("open", "");
    figure.dataset.state = "failed";
  }
}

// a chart that a script of the page computed, such as a front after a constraint was moved
export function showChart(figure, chart) {
  draw(figure, chart);
  figure.dataset.state = "drawn";
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  // a cell that begins like a formula is text for a spreadsheet, and names come from outside
  const safe = /^[=+@\t\r]|^-(?![\d.])/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csvOf(table) {
  return [table.columns, ...table.rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

async function exportAs(figure, kind) {
  const entry = drawn.get(figure);
  if (!entry) return;
  const name = `edgefleet-${figure.id}`;
  if (kind === "csv") {
    save(new Blob([csvOf(entry.chart.table)], { type: "text/csv" }), `${name}.csv`);
    return;
  }
  const { width, height } = figure.querySelector(".chart-plot").getBoundingClientRect();
  const options = { width, height, renderer: kind === "svg" ? "svg" : "canvas", ssr: kind === "svg" };
  const canvas = document.createElement("canvas");
  const copy = echarts.init(kind === "svg" ? null : canvas, null, options);
  copy.setOption(optionOf(entry.chart, colours(), true));
  if (kind === "svg") {
    save(new Blob([copy.renderToSVGString()], { type: "image/svg+xml" }), `${name}.svg`);
    copy.dispose();
    return;
  }
  const picture = copy.renderToCanvas({ pixelRatio: 2 });
  picture.toBlob((blob) => {
    save(blob, `${name}.png`);
    copy.dispose();
  }, "image/png");
}

function redraw() {
  for (const [figure, { chart }] of drawn) draw(figure, chart);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-export]");
  if (button) exportAs(button.closest("[data-chart]"), button.dataset.export);
});
document.addEventListener("edgefleet:theme", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
still.addEventListener("change", redraw);
let waiting = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => drawn.forEach(({ plot }) => plot.resize()));
});
// a live page says that a chart has new figures
document.addEventListener("htmx:sseMessage", (event) => {
  for (const figure of document.querySelectorAll(`[data-chart][data-live="${event.detail.type}"]`)) show(figure);
});
for (const figure of document.querySelectorAll("[data-chart]:not([data-drawn-by])")) show(figure);
