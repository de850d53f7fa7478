// Puts the charts into the page, and again when the theme, the width or the medium changes.
let charts = [];
let current = null;

function build() {
  for (const each of charts) each.destroy();
  charts = [];
  for (const element of document.querySelectorAll("[data-chart]")) {
    const kind = element.dataset.chart;
    charts.push(kind === "heat" ? heat(element) : PANELS[kind](element));
  }
  const panels = charts.filter((each) => document.getElementById("panels").contains(each.root));
  for (const each of panels) {
    each.over.addEventListener("mousemove", () => {
      current = each.cursor.left >= 0 ? nearest(each.posToVal(each.cursor.left, "x")) : null;
      showTip(each, current);
    });
    each.over.addEventListener("mouseleave", () => showTip(each, null));
  }
}

function nearest(at_s) {
  return lines.t_s.reduce((best, at, number) => (Math.abs(at - at_s) < Math.abs(lines.t_s[best] - at_s) ? number : best), 0);
}

function step(event) {
  const by = {ArrowLeft: -1, ArrowRight: 1}[event.key], top = charts[0];
  if (event.key === "Escape") return showTip(top, null);
  if (!by) return;
  event.preventDefault();
  const last = lines.t_s.length - 1;
  do current = Math.min(Math.max((current ?? -1) + by, 0), last); while (lines.due[current] == null && current > 0 && current < last);
  top.setCursor({left: top.valToPos(lines.t_s[current], "x"), top: 10});
  showTip(top, current);
}

function fit() {
  for (const each of charts) {
    const width = Math.max(each.root.parentNode.clientWidth, 260);
    if (width !== each.width) each.setSize({width, height: each.height});
  }
}

function label() {
  document.getElementById("theme").textContent = isDark() ? "light" : "dark";
}

const button = document.getElementById("theme");
button.hidden = false;
button.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  label();
  build();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { label(); build(); });
// Paper is white, whatever the screen is; the style of print is not yet in force when this is called.
let theme;
addEventListener("beforeprint", () => {
  theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  build();
  for (const each of charts) each.setSize({width: 680, height: each.height});
});
addEventListener("afterprint", () => {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
  build();
});
document.getElementById("panels").addEventListener("keydown", step);
label();
build();
new ResizeObserver(fit).observe(document.querySelector("main"));
document.documentElement.dataset.ready = "yes";
