// Heat maps: counts by time and by duration. Colours go from the ground to blue, in steps of equal ratio of counts.
const RAMPS = {
  light: [[255, 244, 214], [250, 205, 110], [232, 140, 60], [178, 66, 92], [98, 30, 110], [30, 12, 70]],
  dark: [[30, 34, 60], [72, 38, 120], [150, 50, 120], [220, 90, 80], [250, 170, 70], [255, 245, 190]],
};
function isDark() {
  return getComputedStyle(document.documentElement).colorScheme === "dark";
}
function colourAt(share) {
  const ramp = RAMPS[isDark() ? "dark" : "light"], place = share * (ramp.length - 1), low = Math.min(Math.floor(place), ramp.length - 2), part = place - low;
  return "rgb(" + ramp[low].map((value, at) => Math.round(value + (ramp[low + 1][at] - value) * part)).join(",") + ")";
}

function heat(element) {
  const of = story[element.dataset.of], floors = of.floors_ms, bin = story.bin_s;
  const most = Math.max(1, ...of.count), share = (n) => (most === 1 ? 1 : Math.log(n) / Math.log(most));
  const cells = new Map(of.count.map((n, at) => [of.bucket[at] + "," + of.bin[at], n]));
  const low = floors.length ? floors[0] : 1, high = floors.length ? floors[floors.length - 1] : 10;
  function paint(u) {
    const ctx = u.ctx, box = u.bbox, ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.left, box.top, box.width, box.height);
    ctx.clip();
    const colours = new Map();
    for (let at = 0; at < of.count.length; at++) {
      const n = of.count[at];
      if (!colours.has(n)) colours.set(n, colourAt(share(n)));
      ctx.fillStyle = colours.get(n);
      const x0 = Math.floor(u.valToPos(of.bin[at] * bin, "x", true)), x1 = Math.ceil(u.valToPos((of.bin[at] + 1) * bin, "x", true));
      const y0 = Math.floor(u.valToPos(floors[of.bucket[at] + 1], "y", true)), y1 = Math.ceil(u.valToPos(floors[of.bucket[at]], "y", true));
      ctx.fillRect(x0, y0, Math.max(x1 - x0, ratio), y1 - y0);
    }
    ctx.fillStyle = css("bad");
    of.never.forEach((n, at) => {
      if (n) ctx.fillRect(u.valToPos(at * bin, "x", true), box.top, Math.max(u.valToPos((at + 1) * bin, "x", true) - u.valToPos(at * bin, "x", true), 2 * ratio), 5 * ratio);
    });
    ctx.restore();
  }
  let tip = element.querySelector(".tip");
  if (!tip) {
    tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    element.parentNode.append(tip);
  }
  function point(u) {
    const {left, top} = u.cursor;
    tip.hidden = true;
    // The other charts move this one's cursor along with theirs: it has a place in time then, and none on the scale.
    if (left == null || left < 0 || top == null || top < 0 || !element.matches(":hover")) return;
    const at = Math.floor(u.posToVal(left, "x") / bin), ms = u.posToVal(top, "y");
    const bucket = floors.findIndex((floor, number) => floor <= ms && ms < floors[number + 1]);
    if (bucket < 0) return;
    tip.textContent = seconds(at * bin) + " – " + seconds((at + 1) * bin) + ", " + durationMs(floors[bucket]) + " – " + durationMs(floors[bucket + 1])
      + ": " + count(cells.get(bucket + "," + at) ?? 0) + (of.never[at] ? "; never: " + count(of.never[at]) : "");
    tip.hidden = false;
    const x = GUTTER + left;
    tip.style.left = (x + 16 + tip.offsetWidth < element.clientWidth ? x + 16 : x - 16 - tip.offsetWidth) + "px";
    tip.style.top = top + 20 + "px";
  }
  const ramp = document.querySelector("[data-ramp=" + element.dataset.of + "]"), canvas = document.createElement("canvas");
  canvas.width = 120;
  canvas.height = 10;
  for (let x = 0; x < 120; x++) {
    canvas.getContext("2d").fillStyle = colourAt(x / 119);
    canvas.getContext("2d").fillRect(x, 0, 1, 10);
  }
  ramp.replaceChildren("1", canvas, count(most) + " in a cell");
  const found = chart(element, {
    height: 210,
    times: true,
    log: true,
    points: false,
    top: 10,
    y: {distr: 3, log: 10, range: () => [low, high]},
    data: [lines.t_s, lines.t_s.map(() => null)],
    series: [{points: {show: false}, paths: () => null}],
    draw: [paint],
    cursor: point,
  });
  found.over.addEventListener("mouseleave", () => { tip.hidden = true; });
  return found;
}
