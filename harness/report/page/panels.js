// The charts of the story, from the top down.
function finite(values) {
  return values.filter((value) => value != null);
}
// A value between two gaps has no line: it is drawn as a point.
function lonely(u, of) {
  const values = u.data[of], found = [];
  for (let at = 0; at < values.length; at++)
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  return found;
}
function line(colour, width, more) {
  return {stroke: css(colour), width, points: {show: true, filter: lonely, size: 4, fill: css(colour), stroke: css(colour)}, ...more};
}

// Work that will never be done has waited for ever: the shade goes up to the edge.
function undone(u) {
  const ctx = u.ctx, ratio = devicePixelRatio, box = u.bbox, half = story.bin_s / 2;
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left, box.top, box.width, box.height);
  ctx.clip();
  let last = -Infinity;
  lines.undone.forEach((lost, at) => {
    if (!lost || lost <= 0.05 * (lost + lines.of_done[at])) return;
    const x0 = u.valToPos(lines.t_s[at] - half, "x", true), x1 = u.valToPos(lines.t_s[at] + half, "x", true);
    const from = lines.response_p95_ms[at], y = from == null ? box.top + 16 * ratio : u.valToPos(from, "y", true);
    ctx.fillStyle = css("lost");
    ctx.fillRect(x0, box.top, x1 - x0, y - box.top);
    if (x0 - last < 9 * ratio) return;
    ctx.fillStyle = css("bad");
    ctx.font = 11 * ratio + "px sans-serif";
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    ctx.fillText("✖", (x0 + x1) / 2, box.top + 2 * ratio);
    last = x0;
  });
  ctx.restore();
}

function nevers(u) {
  const ctx = u.ctx, ratio = devicePixelRatio, box = u.bbox;
  ctx.save();
  ctx.fillStyle = css("bad");
  ctx.font = 12 * ratio + "px sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  let last = -Infinity;
  lines.never.forEach((is, at) => {
    const x = u.valToPos(lines.t_s[at], "x", true);
    if (!is || x < box.left || x > box.left + box.width || x - last < 9 * ratio) return;
    ctx.fillText("✖", x, box.top + box.height - 14 * ratio);
    last = x;
  });
  ctx.restore();
}

// The name of a line, at its last value: colour alone would not be enough.
function named(of, words, colour, above) {
  return (u) => {
    const values = u.data[of], ctx = u.ctx, ratio = devicePixelRatio, box = u.bbox;
    let at = values.length - 1;
    while (at >= 0 && (values[at] == null || u.data[0][at] > u.scales.x.max)) at--;
    if (at < 0) return;
    ctx.save();
    ctx.font = "600 " + FONT.replace("12px", 12 * ratio + "px");
    ctx.fillStyle = css(colour);
    ctx.textAlign = "right";
    ctx.textBaseline = above ? "bottom" : "top";
    const x = Math.min(u.valToPos(u.data[0][at], "x", true), box.left + box.width - 4 * ratio);
    const y = u.valToPos(values[at], "y", true) + (above ? -7 : 12) * ratio;
    ctx.lineWidth = 3 * ratio;
    ctx.strokeStyle = css("ground");
    ctx.strokeText(words, x, Math.max(y, box.top + 16 * ratio));
    ctx.fillText(words, x, Math.max(y, box.top + 16 * ratio));
    ctx.restore();
  };
}

const PANELS = {
  scissors(element) {
    const values = finite([...lines.response_p95_ms, ...lines.done_p95_ms]);
    const [low, high] = powers(Math.min(...values, 1e9) === 1e9 ? 1 : Math.min(...values), values.length ? Math.max(...values) : 10);
    const has = finite(lines.done_p95_ms).length > 0;
    return chart(element, {
      height: 300,
      top: LANES * LANE_PX + 6,
      log: true,
      y: {distr: 3, log: 10, range: () => [low, high > low ? high : low * 10]},
      data: [lines.t_s, lines.done_p95_ms, lines.response_p95_ms],
      series: [line("work", 2.5), line("client", 1.75)],
      bands: [{series: [1, 2], fill: css("shade"), dir: -1}],
      draw: [lane, undone, nevers, ...(has ? [named(1, "done", "work", true)] : []), named(2, "answered", "client", false)],
    });
  },
  backlog(element) {
    return chart(element, {
      height: 140,
      y: {range: (u, low, high) => [0, Math.max(high * 1.08, 1)]},
      data: [lines.t_s, lines.backlog_max],
      series: [line("work", 1.5, {fill: css("area")})],
    });
  },
  busy(element) {
    const size = lines.pool_size ?? [], most = Math.max(0, ...finite(size));
    const drawn = most ? [{stroke: css("size"), width: 1.5, dash: [6, 4], points: {show: false}, spanGaps: false}] : [];
    return chart(element, {
      height: 110,
      y: {range: (u, low, high) => [0, Math.max(high, most, 1) * 1.15]},
      data: [lines.t_s, lines.busy_mean, ...(most ? [size.map((value) => value || null)] : [])],
      series: [line("busy", 1.5, {fill: css("busy-area")}), ...drawn],
    });
  },
  loop(element) {
    return chart(element, {
      height: 110,
      ticks: tickMs,
      y: {range: (u, low, high) => [0, Math.max(high * 1.08, 1)]},
      data: [lines.t_s, lines.loop_lag_max_ms],
      series: [line("loop", 1.5, {fill: css("loop-area")})],
    });
  },
  rates(element) {
    // In steps of a second, where bins are shorter: a rate of three tasks in 50 ms would be noise.
    const bins = lines.due.map((value, at) => at).filter((at) => lines.due[at] != null), each = Math.max(1, Math.round(1 / story.bin_s));
    const starts = bins.filter((_, number) => number % each === 0).map((at) => lines.t_s[at] - story.bin_s / 2);
    const rate = (...names) => [...starts.map((_, number) => {
      const of = bins.slice(number * each, (number + 1) * each);
      return of.reduce((sum, at) => names.reduce((part, name) => part + lines[name][at], sum), 0) / (of.length * story.bin_s);
    }), null];
    const stepped = {paths: uPlot.paths.stepped({align: 1})};
    return chart(element, {
      height: 170,
      times: true,
      y: {range: (u, low, high) => [0, Math.max(high * 1.08, 1)]},
      data: [[...starts, starts[starts.length - 1] + each * story.bin_s], rate("rejected", "indeterminate"), rate("finished"), rate("acked"), rate("due")],
      series: [
        {stroke: css("bad"), width: 0, fill: css("bad"), points: {show: false}, ...stepped},
        line("work", 2, stepped),
        line("client", 1.75, stepped),
        {stroke: css("due"), width: 1.25, dash: [5, 4], points: {show: false}, ...stepped},
      ],
    });
  },
};

// All values at the cursor, in one box; the same with the arrow keys.
function tipRows(at) {
  const from = lines.t_s[at] - story.bin_s / 2, three = (name) => ["50", "95", "99"].map((share) => durationMs(lines[name + "_p" + share + "_ms"][at])).join(" / ");
  const rows = [
    ["response p50 / p95 / p99", lines.never[at] ? "p95 never" : three("response")],
    ["done p50 / p95 / p99", three("done")],
    ["work never done", count(lines.undone[at]) + " of " + count(lines.undone[at] + lines.of_done[at])],
    ["backlog, at most", count(lines.backlog_max[at])],
    ["running, mean / most", (lines.busy_mean[at] == null ? "–" : lines.busy_mean[at].toFixed(1)) + " / " + count(lines.busy_max[at])],
  ];
  if (lines.loop_lag_max_ms) rows.push(["event loop late by", durationMs(lines.loop_lag_max_ms[at])]);
  rows.push(["requests due", count(lines.due[at])], ["acknowledged", count(lines.acked[at])]);
  rows.push(["refused / no answer", count(lines.rejected[at]) + " / " + count(lines.indeterminate[at])], ["tasks finished", count(lines.finished[at])]);
  const gap = story.gaps.some(([a, b]) => lines.t_s[at] >= a && lines.t_s[at] <= b);
  return [seconds(from) + " – " + seconds(from + story.bin_s) + (gap ? ": nobody answers" : ""), rows];
}

function showTip(u, at) {
  const tip = document.getElementById("tip");
  const left = at == null ? -1 : u.valToPos(lines.t_s[at], "x");
  if (at == null || lines.due[at] == null || left < 0) {
    tip.hidden = true;
    return;
  }
  const [title, rows] = tipRows(at), head = document.createElement("b"), table = document.createElement("table");
  head.textContent = title;
  for (const [name, value] of rows) {
    const row = table.insertRow(), th = document.createElement("th");
    th.textContent = name;
    row.append(th);
    row.insertCell().textContent = value;
  }
  tip.replaceChildren(head, table);
  tip.hidden = false;
  const whole = document.getElementById("panels").clientWidth, x = GUTTER + left;
  tip.style.left = (x + 18 + tip.offsetWidth < whole ? x + 18 : Math.max(0, x - 18 - tip.offsetWidth)) + "px";
  tip.style.top = "72px";
}
