"use strict";
// The charts of a search: everything over the rate, so that one sees where it bends.
const data = JSON.parse(document.getElementById("data").textContent);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";

function tickMs(ms) {
  if (ms >= 1000) return +(ms / 1000).toPrecision(3) + " s";
  return ms >= 1 ? +ms.toPrecision(3) + " ms" : +(ms * 1000).toPrecision(3) + " µs";
}
function count(value) {
  return value.toLocaleString("en-US", {maximumFractionDigits: 1});
}

// Between which rates the capacity lies; a line at the one that held.
function range(of) {
  return (u) => {
    const box = u.bbox, ctx = u.ctx, edge = (rate) => Math.min(Math.max(u.valToPos(rate, "x", true), box.left), box.left + box.width);
    ctx.save();
    if (of.low != null) {
      const from = edge(of.low), until = of.high == null ? box.left + box.width : edge(of.high);
      ctx.fillStyle = css("rest");
      ctx.fillRect(from, box.top, Math.max(until - from, devicePixelRatio), box.height);
    }
    if (of.found != null) {
      ctx.strokeStyle = css("good");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(edge(of.found), box.top);
      ctx.lineTo(edge(of.found), box.top + box.height);
      ctx.stroke();
    }
    ctx.restore();
  };
}
function whiskers(of) {
  return (u) => {
    const ctx = u.ctx;
    ctx.save();
    ctx.strokeStyle = css("busy");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    of.rates.forEach((rate, at) => {
      if (of.growth[at] == null) return;
      const x = u.valToPos(rate, "x", true);
      ctx.moveTo(x, u.valToPos(of.growth_low[at], "y", true));
      ctx.lineTo(x, u.valToPos(of.growth_high[at], "y", true));
    });
    ctx.stroke();
    ctx.restore();
  };
}

function line(colour, options) {
  return {stroke: css(colour), width: 2, spanGaps: true, points: {show: true, size: 6, fill: css(colour), stroke: css(colour)}, ...options};
}
const expected = () => line("faint", {width: 1.5, dash: [6, 4], points: {show: false}});

function logarithmic(values) {
  const known = values.flat().filter((value) => value != null && value > 0);
  const low = 10 ** Math.floor(Math.log10(Math.min(...known, 1e9))), high = 10 ** Math.ceil(Math.log10(Math.max(...known, 1e-9)));
  return known.length ? {distr: 3, range: [low, Math.max(high, low * 10)]} : {range: [0, 1]};
}

const KINDS = {
  durations: (of) => ({
    data: [of.response, of.done, of.done_predicted],
    series: [line("client"), line("work"), expected()],
    scale: logarithmic([of.response, of.done, of.done_predicted]),
    words: tickMs,
    height: 240,
    draw: [],
  }),
  pending: (of) => ({
    data: [of.at_kill.map(positive), of.pending_predicted.map(positive), of.lost.map(positive)],
    series: [line("work"), expected(), line("bad", {width: 0, points: {show: true, size: 9, fill: css("bad"), stroke: css("bad")}})],
    scale: logarithmic([of.at_kill, of.pending_predicted, of.lost]),
    words: count,
    height: 180,
    draw: [],
  }),
  growth: (of) => ({
    data: [of.growth],
    series: [line("busy", {width: 1})],
    scale: {range: (u, low, high) => [Math.min(low, 0, ...of.growth_low.filter(Number.isFinite)), Math.max(high, 1, ...of.growth_high.filter(Number.isFinite))]},
    words: count,
    height: 150,
    draw: [whiskers(of)],
  }),
};
// A logarithm has no place for nothing.
function positive(value) {
  return value != null && value > 0 ? value : null;
}

function chart(element, of) {
  const kind = KINDS[element.dataset.chart](of), axis = {stroke: css("faint"), font: FONT, grid: {stroke: css("grid"), width: 1}, ticks: {stroke: css("line")}};
  return new uPlot(
    {
      width: element.clientWidth,
      height: kind.height,
      scales: {x: {time: false, range: (u, low, high) => [0, high * 1.04]}, y: kind.scale},
      series: [{}, ...kind.series],
      axes: [
        {...axis, size: 34, values: (u, ticks) => ticks.map((tick) => count(tick) + "/s")},
        {...axis, size: 62, values: (u, ticks) => ticks.map((tick) => (tick == null ? "" : kind.words(tick)))},
      ],
      cursor: {y: false, drag: {x: false, y: false}},
      legend: {show: false},
      hooks: {drawClear: [range(of)], draw: kind.draw, setCursor: [(u) => tell(u, element, of, kind)]},
    },
    [of.rates, ...kind.data],
    element,
  );
}

function tell(u, element, of, kind) {
  let tip = element.querySelector(".tip");
  if (tip == null) {
    tip = document.createElement("div");
    tip.className = "tip";
    element.append(tip);
  }
  const at = u.cursor.idx;
  tip.hidden = at == null || u.cursor.left < 0;
  if (tip.hidden) return;
  const said = kind.data.map((values, number) => (values[at] == null ? null : kind.words(values[at])));
  tip.textContent = count(of.rates[at]) + "/s: " + said.filter((value) => value != null).join(", ");
  const left = u.valToPos(of.rates[at], "x") + 74;
  tip.style.left = Math.min(left, element.clientWidth - tip.offsetWidth) + "px";
  tip.style.top = "24px";
}

let charts = [];
function build() {
  for (const each of charts) each.destroy();
  charts = [];
  for (const panels of document.querySelectorAll("[data-configuration]"))
    for (const element of panels.querySelectorAll("[data-chart]")) charts.push(chart(element, data[+panels.dataset.configuration]));
}
const button = document.getElementById("theme"), system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";
function label() {
  button.textContent = isDark() ? "light" : "dark";
}
button.hidden = false;
button.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  label();
  build();
});
system.addEventListener("change", () => {
  label();
  build();
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) build();
  width = innerWidth;
});
addEventListener("beforeprint", build);
label();
build();
