// The charts of a comparison: one line for each configuration, over the same time. Between draw.js and page.js of the report.
const COLOURS = {
  light: ["#0067a5", "#b85c00", "#00704f", "#8a4a80", "#5b6770", "#8a6100", "#b83b00", "#1b1f24"],
  dark: ["#56b4e9", "#f0a732", "#2fc292", "#d79bce", "#a9b4be", "#f0c14b", "#ff7a45", "#e8ecf0"],
};
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
function isDark() {
  return getComputedStyle(document.documentElement).colorScheme === "dark";
}
function colourOf(number) {
  const all = COLOURS[isDark() ? "dark" : "light"];
  return all[number % all.length];
}
function lonely(u, of) {
  const values = u.data[of], found = [];
  for (let at = 0; at < values.length; at++)
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  return found;
}
function overlaid(name) {
  return (element) => {
    const isLog = name.endsWith("_ms"), data = story.configurations.map((each) => each.lines[name] ?? []);
    const known = data.flat().filter((value) => value != null && value > 0);
    const [low, high] = known.length ? powers(Math.min(...known), Math.max(...known)) : [1, 10];
    return chart(element, {
      height: isLog ? 210 : 140,
      top: name === "response_p95_ms" ? 18 + 15 * 2 : 8,
      log: isLog,
      times: name === "busy",
      y: isLog ? {distr: 3, range: [low, Math.max(high, low * 10)]} : {range: (u, from, to) => [0, Math.max(to * 1.08, 1)]},
      draw: name === "response_p95_ms" ? [lane] : [],
      data: [lines.t_s, ...data],
      series: data.map((_, number) => ({
        stroke: colourOf(number), width: number ? 1.75 : 2.5, dash: DASHES[number % DASHES.length],
        points: {show: true, filter: lonely, size: 4, fill: colourOf(number), stroke: colourOf(number)},
      })),
    });
  };
}
const PANELS = Object.fromEntries(["response_p95_ms", "done_p95_ms", "backlog", "busy"].map((name) => [name, overlaid(name)]));

function showTip(u, at) {
  const tip = document.getElementById("tip"), left = at == null ? -1 : u.valToPos(lines.t_s[at], "x");
  if (at == null || left < 0) {
    tip.hidden = true;
    return;
  }
  const name = u.root.parentNode.dataset.chart, table = document.createElement("table"), head = document.createElement("b");
  head.textContent = seconds(lines.t_s[at] - story.bin_s / 2) + " to " + seconds(lines.t_s[at] + story.bin_s / 2);
  story.configurations.forEach((each, number) => {
    const row = table.insertRow(), th = document.createElement("th"), value = (each.lines[name] ?? [])[at];
    th.textContent = each.label;
    th.style.color = colourOf(number);
    row.append(th);
    row.insertCell().textContent = name.endsWith("_ms") ? durationMs(value) : count(value);
  });
  tip.replaceChildren(head, table);
  tip.hidden = false;
  const panels = document.getElementById("panels").getBoundingClientRect(), over = u.over.getBoundingClientRect();
  const x = over.left - panels.left + left + 14;
  tip.style.left = Math.max(0, x + tip.offsetWidth > panels.width ? x - tip.offsetWidth - 28 : x) + "px";
  tip.style.top = over.top - panels.top + 8 + "px";
}
function paintKeys() {
  for (const key of document.querySelectorAll("[data-configuration]")) key.style.color = colourOf(+key.dataset.configuration);
}
paintKeys();
new MutationObserver(paintKeys).observe(document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintKeys);
