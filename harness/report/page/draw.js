"use strict";
// What every chart of the page shares: colours, words, the shared time axis, outages as hatched gaps, faults as lines.
const story = JSON.parse(document.getElementById("story").textContent);
const lines = story.lines;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const GUTTER = 62;

function digits(value) {
  return value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}
// As harness/wording.py has it.
function durationMs(ms) {
  if (ms == null) return "–";
  if (ms < 999.5) return digits(ms) + " ms";
  const s = ms / 1000;
  if (s < 600) return digits(s) + " s";
  const whole = Math.round(s), minutes = Math.floor(whole / 60);
  return minutes < 60 ? minutes + " min " + (whole % 60) + " s" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}
function tickMs(ms) {
  if (ms >= 60000 && ms % 60000 === 0) return ms / 60000 + " min";
  if (ms >= 1000) return +(ms / 1000).toPrecision(3) + " s";
  return ms >= 1 ? +ms.toPrecision(3) + " ms" : +(ms * 1000).toPrecision(3) + " µs";
}
function count(value) {
  return value == null ? "–" : value.toLocaleString("en-US", {maximumFractionDigits: 1});
}
function short(value) {
  return value >= 1e6 ? +(value / 1e6).toPrecision(3) + "M" : value >= 1e4 ? +(value / 1e3).toPrecision(3) + "k" : count(value);
}
function seconds(value) {
  return (story.bin_s < 0.1 ? value.toFixed(2) : story.bin_s < 1 ? value.toFixed(1) : value.toFixed(0)) + " s";
}

function hatch(u, from, until) {
  const ctx = u.ctx, ratio = devicePixelRatio, box = u.bbox;
  const x0 = Math.max(u.valToPos(from, "x", true), box.left), x1 = Math.min(u.valToPos(until, "x", true), box.left + box.width);
  if (x1 <= x0) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(x0, box.top, Math.max(x1 - x0, 2 * ratio), box.height);
  ctx.clip();
  ctx.strokeStyle = css("hatch");
  ctx.lineWidth = ratio;
  ctx.beginPath();
  for (let x = x0 - box.height; x < x1 + box.height; x += 6 * ratio) {
    ctx.moveTo(x, box.top + box.height);
    ctx.lineTo(x + box.height, box.top);
  }
  ctx.stroke();
  ctx.restore();
}

function shade(u, from, until) {
  const box = u.bbox;
  const x0 = Math.max(u.valToPos(from, "x", true), box.left), x1 = Math.min(u.valToPos(until, "x", true), box.left + box.width);
  if (x1 <= x0) return;
  u.ctx.save();
  u.ctx.fillStyle = css("rest");
  u.ctx.fillRect(x0, box.top, x1 - x0, box.height);
  u.ctx.restore();
}

function background(u) {
  if (story.warm_up_s > 0) shade(u, 0, story.warm_up_s);
  if (story.span_s > story.load_s) shade(u, story.load_s, story.span_s + story.bin_s);
  for (const [from, until] of story.gaps) hatch(u, from, until);
}

// By kind: colour, sign, and whether its line is thin and dashed.
const MARKS = {fault: ["bad", "✖ ", false], death: ["bad", "✖ ", false], ready: ["good", "▲ ", true], hand: ["faint", "◆ ", true]};
const markColour = (mark) => css(MARKS[mark.kind][0]);
const isQuiet = (mark) => MARKS[mark.kind][2];

function verticals(u) {
  const ctx = u.ctx, ratio = devicePixelRatio, box = u.bbox;
  ctx.save();
  for (const mark of story.marks) {
    const x = Math.round(u.valToPos(mark.at_s, "x", true));
    if (x < box.left || x > box.left + box.width) continue;
    ctx.strokeStyle = markColour(mark);
    ctx.lineWidth = (isQuiet(mark) ? 1 : 2) * ratio;
    ctx.setLineDash(isQuiet(mark) ? [3 * ratio, 3 * ratio] : []);
    ctx.beginPath();
    ctx.moveTo(x, box.top);
    ctx.lineTo(x, box.top + box.height);
    ctx.stroke();
  }
  ctx.restore();
}

// The lane of events above the first chart: words where there is room, in up to three rows; a line without words is in the list.
const LANES = 3, LANE_PX = 15;
function lane(u) {
  const ctx = u.ctx, ratio = devicePixelRatio, box = u.bbox;
  ctx.save();
  ctx.font = FONT.replace("12px", 12 * ratio + "px");
  ctx.textBaseline = "bottom";
  ctx.textAlign = "left";
  const shown = [...story.marks].sort((a, b) => isQuiet(a) - isQuiet(b) || a.at_s - b.at_s);
  const taken = Array.from({length: LANES}, () => []);
  const notes = shown.map((mark) => ({at: mark.at_s, colour: markColour(mark), words: MARKS[mark.kind][1] + mark.label}));
  if (story.span_s > story.load_s * 1.04) notes.push({at: story.load_s, colour: css("faint"), words: "load ends"});
  if (story.warm_up_s > story.span_s * 0.03) notes.push({at: 0, colour: css("faint"), words: "warm-up"});
  for (const note of notes) {
    const x = u.valToPos(note.at, "x", true);
    if (x < box.left - 1 || x > box.left + box.width + 1) continue;
    const width = ctx.measureText(note.words).width;
    const left = Math.min(x, box.left + box.width - width), right = left + width + 8 * ratio;
    const row = taken.findIndex((spans) => spans.every(([a, b]) => right < a || left > b));
    if (row < 0) continue;
    taken[row].push([left, right]);
    ctx.fillStyle = note.colour;
    ctx.fillText(note.words, left, box.top - (row * LANE_PX + 2) * ratio);
  }
  ctx.restore();
}

function powers(low, high) {
  return [10 ** Math.floor(Math.log10(low) + 1e-9), 10 ** Math.ceil(Math.log10(high) - 1e-9)];
}

// Round figures of a logarithmic axis: powers of ten, and where there are few of those, 2 and 5 times them as well.
function logSplits(u, axis, low, high) {
  const found = [], decades = Math.log10(high / low);
  for (let power = 10 ** Math.floor(Math.log10(low) + 1e-9); power <= high * 1.0001; power *= 10)
    for (const factor of decades <= 2.1 ? [1, 2, 5] : [1])
      if (power * factor >= low * 0.9999 && power * factor <= high * 1.0001) found.push(+(power * factor).toPrecision(3));
  const few = Math.max(2, Math.floor(u.bbox.height / devicePixelRatio / 22)), step = Math.ceil(found.length / few);
  return found.filter((_, at) => at % step === 0);
}

function axes(options) {
  const common = () => ({stroke: css("faint"), font: FONT, grid: {stroke: css("grid"), width: 1}, ticks: {show: false}});
  return [
    {...common(), size: options.times ? 30 : 6, gap: 4, values: options.times ? (u, at) => at.map((s) => +s.toFixed(3) + " s") : () => [], space: 70},
    {...common(), size: GUTTER, gap: 6, space: options.log ? 20 : 28, splits: options.log ? logSplits : undefined, filter: (u, at) => at,
      values: options.log ? (u, at) => at.map(tickMs) : (u, at) => at.map(options.ticks ?? short)},
  ];
}

function chart(element, options) {
  const found = new uPlot({
    width: Math.max(element.clientWidth, 260),
    height: options.height,
    padding: [options.top ?? 8, 14, 0, 0],
    legend: {show: false},
    cursor: {sync: {key: "time", scales: ["x", null]}, drag: {x: true, y: false, setScale: true}, points: options.points === false ? {show: false} : {size: 7}, y: false},
    focus: {alpha: 1},
    scales: {x: {time: false, range: options.whole ?? ((u, low, high) => [low, high]), min: 0, max: lines.t_s[lines.t_s.length - 1] + story.bin_s / 2}, y: options.y},
    axes: axes(options),
    series: [{}, ...options.series],
    bands: options.bands,
    hooks: {drawClear: [background], draw: [verticals, ...(options.draw ?? [])], setCursor: options.cursor ? [options.cursor] : []},
  }, options.data, element);
  return found;
}
