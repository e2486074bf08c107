"use strict";
// The script of a report. What a trial said goes into the page as text only (textContent, canvas): never as HTML.
(async () => {
  const $ = id => document.getElementById(id), root = document.documentElement;
  const M = JSON.parse($("meta").textContent), N = M.n, NONE = 65535;
  if (typeof DecompressionStream === "undefined") {
    $("old").hidden = false;
    return;
  }
  const coded = atob($("data").textContent.trim()), packed = new Uint8Array(coded.length);
  for (let i = 0; i < coded.length; i++) packed[i] = coded.charCodeAt(i);
  const unpacking = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = await new Response(unpacking).arrayBuffer();
  const KIND = { I: Uint32Array, H: Uint16Array, f: Float32Array, d: Float64Array };
  const array = name => { const [code, at, length] = M.arrays[name]; return new KIND[code](bytes, at, length); };

  // ---- columns: what can be filtered, sorted and drawn -------------------------------------------------------------
  const column = (name, key, more) => ({ name, vals: array(key), ...more });
  const params = M.parameters.map(p => column(p.name, p.array, { role: "parameter", levels: p.levels, log: p.log }));
  const metrics = M.metrics.map(m => column(m.name, m.array, { role: "metric", goal: m.goal, form: m }));
  const trial = column("trial", "number", {}), state = column("state", "state", { levels: M.levels.state });
  const node = column("node", "node", { levels: M.levels.node }), error = column("error", "error", { levels: M.levels.error });
  const cause = column("cause", "cause", { levels: M.levels.cause }), seconds = column("seconds", "seconds", { log: true, time: true });
  const memory = column("memory", "memory", { log: true }), attempt = column("attempt", "attempt", {});
  const started = array("started"), ended = array("ended");
  const columns = [trial, ...params, ...metrics, state, cause, node, seconds, memory, attempt, error];
  const byImportance = M.order.map(name => params.find(p => p.name === name)).filter(Boolean);
  const isNone = (c, i) => c.levels ? c.vals[i] === NONE : c.vals[i] !== c.vals[i];
  const short = v => !isFinite(v) ? String(v) : Number.isInteger(v) && Math.abs(v) < 1e6 ? String(v)
    : Math.abs(v) >= 1e5 || (v && Math.abs(v) < 1e-3) ? v.toExponential(2).replace(/\.?0+e/, "e") : String(+v.toPrecision(4));
  const clock = s => s < 60 ? `${short(+s.toFixed(1))}s` : s < 3600 ? `${s / 60 | 0}m ${String(Math.round(s) % 60).padStart(2, "0")}s`
    : s < 86400 ? `${s / 3600 | 0}h ${String((s / 60 | 0) % 60).padStart(2, "0")}m` : `${s / 86400 | 0}d ${String((s / 3600 | 0) % 24).padStart(2, "0")}h`;
  const mayBeBest = i => M.ranked.includes(state.levels[state.vals[i]]), hasFinished = i => state.levels[state.vals[i]] === "finished";
  const hasEnded = i => !Number.isNaN(ended[i]), hasStarted = i => !Number.isNaN(started[i]);
  const endOf = i => hasEnded(i) ? ended[i] : M.made;  // one that runs goes on until the page was made
  const signOf = c => c.goal === "maximize" ? -1 : 1, arrowOf = c => c.goal === "minimize" ? "↓" : "↑";
  const quantile = (ascending, share) => ascending[Math.min(ascending.length - 1, Math.floor(share * ascending.length))];
  const words = (c, i) => isNone(c, i) ? "" : c.levels ? c.levels[c.vals[i]] : c.time ? clock(c.vals[i]) : short(c.vals[i]);
  function make(tag, text, kind) {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (kind) e.className = kind;
    return e;
  }
  const pillOf = name => "pill s-" + name.replace(" ", "-");

  // ---- what is chosen: one text filters every panel ------------------------------------------------------------------
  let metric = metrics[0], chosen = [], shade = new Int8Array(N), ranked = [], focus = -1, dragging = false;
  const sel = new Uint8Array(N).fill(1);
  function rank() {  // by rank and not by value: one trial that diverged must not make all others one colour
    shade.fill(-1);
    ranked = [];
    if (!metric) return;
    const v = metric.vals, sign = signOf(metric);
    for (let i = 0; i < N; i++) if (isFinite(v[i])) ranked.push(i);
    ranked.sort((a, b) => sign * (v[b] - v[a]));
    ranked.forEach((i, place) => { shade[i] = Math.min(8, place * 9 / ranked.length | 0); });
  }
  const named = text => {
    const low = text.toLowerCase(), exact = columns.find(c => c.name === text);
    if (exact) return exact;
    const like = columns.filter(c => c.name.toLowerCase() === low || c.name.toLowerCase().endsWith("." + low));
    if (like.length !== 1) throw new Error(like.length ? `"${text}" may be ${like.map(c => c.name).join(" or ")}` : `there is no "${text}"`);
    return like[0];
  };
  const bare = text => text.replace(/^"(.*)"$/, "$1");
  const TERM = /(-?)("[^"]*"|[^\s<>=!~:"]+)(<=|>=|!=|=|<|>|:|~)((?:"[^"]*"|[^\s"])*)/y;
  function parse(text) {
    const terms = [];
    for (let at = 0; at < text.length;) {
      if (/\s/.test(text[at])) { at++; continue; }
      TERM.lastIndex = at;
      const found = TERM.exec(text);
      if (found) {
        at = TERM.lastIndex;
        const values = (found[4].match(/"[^"]*"|[^,"]+/g) || []).map(bare);
        terms.push({ not: found[1] === "-", c: named(bare(found[2])), op: found[3], values, text: found[0] });
      } else {
        const word = /"[^"]*"?|[^\s"]+/y;
        word.lastIndex = at;
        const token = word.exec(text)[0];
        at += token.length;
        const not = token.length > 1 && token[0] === "-";
        terms.push({ not, word: bare(not ? token.slice(1) : token).toLowerCase(), text: token });
      }
    }
    return terms;
  }
  const inOrder = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b };
  function test(term) {
    const { c, op, values } = term;
    if (!c) {
      const texts = columns.filter(d => d.levels).map(d => [d, d.levels.map(l => l.toLowerCase().includes(term.word))]);
      return i => texts.some(([d, hit]) => hit[d.vals[i]]) || String(trial.vals[i]) === term.word;
    }
    const v = c.vals;
    if (!values.length) return () => true;  // while it is being written
    if (inOrder[op]) {
      const bound = parseFloat(values[0]), holds = inOrder[op];
      if (bound !== bound) throw new Error(`"${values[0]}" is no number`);
      // a bound is written with few digits and columns have four bytes: equal to both is equal
      const near = v instanceof Float32Array ? Math.fround(bound) : bound;
      if (!c.levels) return i => holds(v[i], near);
      const hit = c.levels.map(l => holds(parseFloat(l), bound));
      return i => v[i] !== NONE && hit[v[i]];
    }
    const none = values.includes("none");
    let is;
    if (c.levels) {
      const wanted = values.map(one => one.toLowerCase());
      const hit = c.levels.map(l => wanted.some(one => op === "~" ? l.toLowerCase().includes(one)
        : l.toLowerCase() === one || (one !== "" && +l === +one)));
      is = i => v[i] === NONE ? none : hit[v[i]];
    } else if (op === "~") is = i => values.some(one => words(c, i).includes(one));
    else {
      const wanted = values.map(Number).filter(one => one === one);
      is = i => v[i] !== v[i] ? none : wanted.some(one => Math.abs(v[i] - one) <= 1e-6 * Math.abs(one));
    }
    return op === "!=" ? i => !is(i) : is;
  }
  let terms = [];
  function choose() {
    const said = $("said");
    try {
      terms = parse($("filter").value);
      const tests = terms.map(term => [test(term), term.not]);
      for (let i = 0; i < N; i++) sel[i] = tests.every(([holds, not]) => !!holds(i) !== not) ? 1 : 0;
      $("filter").removeAttribute("aria-invalid");
      said.className = "";
    } catch (problem) {  // what was chosen before stays
      $("filter").setAttribute("aria-invalid", "true");
      said.textContent = problem.message;
      said.className = "bad";
      return false;
    }
    chosen = [];
    for (let i = 0; i < N; i++) if (sel[i] && shade[i] < 0) chosen.push(i);
    for (const may of [false, true])  // the best ones are drawn last, on top; a killed trial, or one that runs, is none of them
      for (const i of ranked) if (sel[i] && mayBeBest(i) === may) chosen.push(i);
    said.textContent = chosen.length === N ? `all ${N} trials` : `${chosen.length} of ${N} trials`;
    for (const box of document.querySelectorAll("#states button"))
      box.setAttribute("aria-pressed", String(terms.some(t => t.c === state && !t.not && t.op === ":" && t.values.includes(box.value))));
    return true;
  }
  function keep() {  // a link shows the same
    const parts = [["f", $("filter").value], ["m", metric && metric !== metrics[0] ? metric.name : ""]];
    const hash = parts.filter(p => p[1]).map(([k, v]) => `${k}=${encodeURIComponent(v)}`).join("&");
    try { history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search); } catch { /* in a frame */ }
  }
  function show(text) {
    if (text !== undefined) $("filter").value = text;
    if (choose()) { drawAll(); keep(); }
  }
  const replaceTerms = (gone, added) => show([...terms.filter(t => !gone(t)).map(t => t.text), ...added].join(" "));
  const quoted = text => /[\s<>=!~:",-]/.test(text) || text === "none" || !text ? `"${text.replaceAll('"', "")}"` : text;

  // ---- panels: a canvas for what is chosen, and one above it for the trial under the mouse ------------------------------
  let ink = {}, ramp = [], panels = [];
  const dark = matchMedia("screen and (prefers-color-scheme: dark)");
  function colours() {
    root.dataset.drawn = dark.matches ? "dark" : "light";
    const style = getComputedStyle(root), of = name => style.getPropertyValue(name).trim();
    for (const name of ["ink", "soft", "line", "accent", "card", "mute", "band1", "band2"]) ink[name] = of("--" + name);
    ramp = Array.from({ length: 9 }, (_, k) => of("--r" + k));
    ink.state = M.levels.state.map(s => of("--s-" + s.replace(" ", "-")) || ink.soft);
  }
  const colour = i => shade[i] < 0 ? ink.mute : ramp[shade[i]];
  function panel(id, height, draw, hit, mark) {
    const box = $(id);
    if (!box) return null;
    const base = make("canvas"), over = make("canvas", undefined, "over"), p = { id, box, base, over, draw, hit, mark };
    base.tabIndex = 0;
    base.setAttribute("role", "img");
    base.setAttribute("aria-label", box.dataset.label);
    box.append(base, over);
    p.size = () => {
      p.w = box.clientWidth;
      p.h = typeof height === "function" ? height(p.w) : height;
      const scale = Math.min(2, window.devicePixelRatio || 1);
      for (const canvas of [base, over]) {
        canvas.width = Math.round(p.w * scale);
        canvas.height = Math.round(p.h * scale);
        canvas.style.height = p.h + "px";
        canvas.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
      }
      box.style.height = p.h + "px";
    };
    p.paint = () => {
      if (!p.w || typeof height === "function" && height(p.w) !== p.h) p.size();
      const g = base.getContext("2d");
      g.clearRect(0, 0, p.w, p.h);
      g.font = "11px system-ui, sans-serif";
      g.lineWidth = 1;
      g.globalAlpha = 1;
      p.draw(g, p);
    };
    p.point = () => {
      const g = over.getContext("2d");
      g.clearRect(0, 0, p.w, p.h);
      if (focus < 0 || !p.mark) return;
      g.strokeStyle = g.fillStyle = ink.accent;
      g.lineWidth = 2;
      p.mark(g, focus, p);
    };
    base.addEventListener("pointermove", e => { if (!dragging && p.hit) point(p.hit(e.offsetX, e.offsetY, p)); });
    base.addEventListener("pointerleave", () => { if (!dragging) point(-1); });
    panels.push(p);
    return p;
  }
  function point(i) {
    if (i === focus) return;
    focus = i;
    for (const p of panels) p.point();
    for (const row of document.querySelectorAll("#rows tr.on")) row.classList.remove("on");
    const row = document.querySelector(`#rows tr[data-i="${i}"]`);
    if (row) row.classList.add("on");
    const box = $("detail");
    box.hidden = i < 0;
    if (i < 0) return;
    box.replaceChildren(make("strong", `trial ${trial.vals[i]}`), make("span", words(state, i), pillOf(words(state, i))));
    const list = make("dl");
    for (const c of [metric, ...metrics.filter(m => m !== metric), ...byImportance, seconds, memory, node, cause, error])
      if (c && !isNone(c, i)) list.append(make("dt", c.name), make("dd", words(c, i)));
    box.append(list, make("code", `slurmsweep show ${M.command} ${trial.vals[i]}`));
  }
  function cut(g, label, most) {
    while (label.length > 2 && g.measureText(label).width > most) label = label.slice(0, -2) + "…";
    return label;
  }
  const text = (g, label, x, y, align = "left", fill = ink.soft, most = Infinity) => {
    g.fillStyle = fill;
    g.textAlign = align;
    g.fillText(cut(g, label, most), x, y);
  };
  function path(g, points) {
    g.beginPath();
    points.forEach(([x, y], k) => k ? g.lineTo(x, y) : g.moveTo(x, y));
  }
  const line = (g, x0, y0, x1, y1, stroke) => {
    g.strokeStyle = stroke;
    path(g, [[x0, y0], [x1, y1]]);
    g.stroke();
  };

  // ---- axes ------------------------------------------------------------------------------------------------------------
  const axes = new Map(), bareAxes = new Map();
  function axisOf(c, all = true) {  // or without a rail for trials that have no value
    const known = all ? axes : bareAxes;
    if (known.has(c)) return known.get(c);
    const pos = new Float32Array(N), ticks = [], flip = all && c.role === "metric" && c.goal === "minimize";
    let none = false, inverse;
    for (let i = 0; all && i < N && !none; i++) none = isNone(c, i);
    const floor = none ? 0.11 : 0;
    if (none) ticks.push([0, "none"]);
    if (c.levels) {
      const count = new Uint32Array(c.levels.length);
      for (let i = 0; i < N; i++) if (c.vals[i] !== NONE) count[c.vals[i]]++;
      let kept = c.levels.map((_, k) => k);
      const most = 30, many = kept.length > most;  // more would be a blot: the frequent ones by name and count, and the rest
      if (many) kept = kept.sort((a, b) => count[b] - count[a]).slice(0, most - 1);
      const place = new Map(kept.map((k, at) => [k, at])), rooms = kept.length + (many ? 1 : 0);
      const at = p => floor + (rooms === 1 ? 0.5 : p / (rooms - 1)) * (1 - floor);
      kept.forEach((k, p) => ticks.push([at(p), many ? `${c.levels[k]} (${count[k]})` : c.levels[k]]));
      if (many) ticks.push([at(rooms - 1), `${c.levels.length - kept.length} others`]);
      for (let i = 0; i < N; i++) pos[i] = c.vals[i] === NONE ? 0 : at(place.has(c.vals[i]) ? place.get(c.vals[i]) : rooms - 1);
      inverse = (a, b) => {
        const hit = c.levels.filter((_, k) => { const p = at(place.has(k) ? place.get(k) : rooms - 1); return a <= p && p <= b; });
        if (none && a <= 0) hit.push("none");
        return hit.length ? [`${quoted(c.name)}=${hit.map(h => h === "none" ? h : quoted(h)).join(",")}`] : [];
      };
    } else {
      const sorted = Array.from(c.vals).filter(isFinite).sort((a, b) => a - b), above = sorted.filter(v => v > 0);
      let lo = sorted[0] ?? 0, hi = sorted[sorted.length - 1] ?? 1, cut = 0;
      const q = share => quantile(sorted, share);
      const log = above.length > 1 && (c.log || (c.role === "metric" && lo > 0 && q(0.95) / q(0.05) > 50)) && lo >= 0 && hi > above[0];
      const zero = log && lo === 0;  // it has a place of its own: a logarithmic axis has none for it
      if (log) lo = above[0];
      else if (c.role === "metric" && sorted.length > 20) {  // what diverged is drawn at the edge
        const room = 6 * (q(0.75) - q(0.25)) || Infinity;
        if (c.goal === "minimize" && hi > q(0.75) + room) { hi = q(0.75) + room; cut = 1; }
        if (c.goal === "maximize" && lo < q(0.25) - room) { lo = q(0.25) - room; cut = -1; }
      }
      const bottom = floor + (zero ? 0.08 : 0), f = log ? Math.log : v => v, back = log ? Math.exp : v => v;
      const u = v => hi === lo ? 0.5 : Math.min(1, Math.max(0, (f(v) - f(lo)) / (f(hi) - f(lo))));
      const at = v => zero && v === 0 ? floor : bottom + (flip ? 1 - u(v) : u(v)) * (1 - bottom);
      for (let i = 0; i < N; i++) pos[i] = c.vals[i] !== c.vals[i] ? 0 : at(c.vals[i]);
      if (zero) ticks.push([floor, "0"]);
      for (const v of niceTicks(lo, hi, log)) ticks.push([at(v), (c.time ? clock : short)(v)]);
      if (cut) ticks.push([at(cut > 0 ? hi : lo), (cut > 0 ? "≥ " : "≤ ") + short(cut > 0 ? hi : lo)]);
      inverse = (a, b) => {
        if (none && b < bottom - 0.03 && a <= 0.02 && !(zero && b >= floor)) return [`${quoted(c.name)}=none`];
        const value = p => { const x = Math.max(0, (p - bottom) / (1 - bottom)); return back(f(lo) + (flip ? 1 - x : x) * (f(hi) - f(lo))); };
        let [low, high] = [value(a), value(b)].sort((x, y) => x - y);
        const found = [], digits = v => String(+v.toPrecision(4));
        if (zero && a <= floor) low = 0;
        if (zero && b < bottom - 0.02) return [`${quoted(c.name)}=0`];
        const open = flip ? [b >= 0.999, a <= bottom + 0.001] : [a <= bottom + 0.001 && !(zero && a > floor), b >= 0.999];
        if (!open[0] || none) found.push(`${quoted(c.name)}>=${digits(low)}`);
        if (!open[1]) found.push(`${quoted(c.name)}<=${digits(high)}`);
        return found;
      };
    }
    ticks.sort((a, b) => a[0] - b[0]);
    const made = { c, pos, ticks, inverse, none };
    known.set(c, made);
    return made;
  }
  function niceTicks(lo, hi, log) {
    const found = [];
    if (!(hi > lo)) return [lo];
    if (log) {
      const decades = Math.log10(hi / lo), each = Math.max(1, Math.ceil(decades / 6));
      for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++) {
        const steps = decades < 1.2 ? [1, 2, 5] : decades < 2.5 ? [1, 3] : [1];
        if (e % each === 0) for (const s of steps) { const v = +`${s}e${e}`; if (v >= lo * 0.999 && v <= hi * 1.001) found.push(v); }
      }
      return found.length > 1 ? found : [lo, hi];
    }
    const rough = (hi - lo) / 5, unit = 10 ** Math.floor(Math.log10(rough)), step = unit * [1, 2, 5, 10].find(s => s * unit >= rough);
    for (let v = Math.ceil(lo / step) * step; v <= hi + step * 1e-9; v += step) found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
    return found;
  }

  // ---- parallel coordinates ----------------------------------------------------------------------------------------------
  let shown = [], cache = null, active = 0, drag = null;
  const top_ = 34, bottom_ = 22;
  const places = p => { const left = 58, right = p.w - 62; return shown.map((_, k) => shown.length < 2 ? left : left + k * (right - left) / (shown.length - 1)); };
  const yOf = (p, at) => p.h - bottom_ - at * (p.h - top_ - bottom_);
  function trace(g, list, all, xs, p, of, alpha) {
    g.globalAlpha = alpha;
    for (let k = 0; k < list.length;) {  // many short paths: one long path that crosses itself is slow to draw
      const first = of(list[k]);
      g.strokeStyle = first;
      g.beginPath();
      for (let n = 0; n < 120 && k < list.length && of(list[k]) === first; n++, k++)
        for (let a = 0; a < all.length; a++) { const y = yOf(p, all[a].pos[list[k]]); a ? g.lineTo(xs[a], y) : g.moveTo(xs[a], y); }
      g.stroke();
    }
    g.globalAlpha = 1;
  }
  const some = (list, most) => list.length <= most ? list
    : Array.from({ length: most }, (_, k) => list[Math.floor(k * list.length / most)]);
  function drawParallel(g, p) {
    const all = shown.map(axisOf), xs = places(p);
    if (!cache || cache.width !== p.base.width || cache.height !== p.base.height) {  // trials that are not chosen, drawn once
      cache = make("canvas");
      cache.width = p.base.width;
      cache.height = p.base.height;
      const c = cache.getContext("2d"), scale = p.base.width / p.w;
      c.setTransform(scale, 0, 0, scale, 0, 0);
      trace(c, some(Array.from({ length: N }, (_, i) => i), 1500), all, xs, p, () => ink.mute, 0.16);
    }
    if (chosen.length < N) g.drawImage(cache, 0, 0, p.w, p.h);
    const list = some(chosen, dragging ? 1200 : 4000);
    trace(g, list, all, xs, p, colour, Math.max(0.1, Math.min(0.85, 14 / Math.sqrt(list.length))));
    all.forEach((axis, k) => {
      line(g, xs[k], yOf(p, 1), xs[k], yOf(p, axis.none ? 0.11 : 0), ink.ink);
      if (axis.none) line(g, xs[k] - 6, yOf(p, 0), xs[k] + 6, yOf(p, 0), ink.ink);
      const gap = Math.min(96, shown.length > 1 ? xs[1] - xs[0] : 96), last = k === shown.length - 1;
      let before = Infinity;
      for (const [at, label] of axis.ticks) {
        const y = yOf(p, at);
        if (before - y < 11) continue;
        before = y;
        line(g, xs[k] - 3, y, xs[k] + 3, y, ink.ink);
        g.strokeStyle = ink.card;
        g.lineWidth = 3;
        g.textAlign = last ? "left" : "right";
        const said = cut(g, label, gap - 14);
        g.strokeText(said, xs[k] + (last ? 7 : -7), y + 4);
        g.lineWidth = 1;
        text(g, said, xs[k] + (last ? 7 : -7), y + 4, last ? "left" : "right", ink.ink);
      }
      g.font = `${axis.c === metric ? "600 " : ""}12px system-ui, sans-serif`;
      const title = cut(g, axis.c.name + (axis.c.goal ? " " + arrowOf(axis.c) : ""), gap);
      const half = g.measureText(title).width / 2;
      text(g, title, Math.max(half + 2, Math.min(p.w - half - 2, xs[k])), 16, "center", k === active && document.activeElement === p.base ? ink.accent : ink.ink);
      g.font = "11px system-ui, sans-serif";
      const span = brushed(axis);
      if (span) {
        const box = [xs[k] - 8, yOf(p, span[1]) - 2, 16, yOf(p, span[0]) - yOf(p, span[1]) + 4];
        g.strokeStyle = g.fillStyle = ink.accent;
        g.globalAlpha = 0.2;
        g.fillRect(...box);
        g.globalAlpha = 1;
        g.strokeRect(...box);
      }
    });
  }
  function brushed(axis) {  // as the filter's text says it, and so as it was written or brushed
    if (drag && drag.axis === axis) return [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
    const own = terms.filter(t => t.c === axis.c && !t.not && t.op !== "!=" && t.op !== "~" && t.values.length);
    if (!own.length) return null;
    const holds = own.map(test);
    let low = 2, high = -1;
    for (let i = 0; i < N; i++) if (holds.every(h => h(i))) { low = Math.min(low, axis.pos[i]); high = Math.max(high, axis.pos[i]); }
    return high < 0 ? null : [low, high];
  }
  function brush(axis, from, to) {
    const [a, b] = [Math.min(from, to), Math.max(from, to)];
    replaceTerms(t => t.c === axis.c, b - a < 0.01 ? [] : axis.inverse(a, b));
  }
  function axisAt(p, x) {
    const away = places(p).map(at => Math.abs(at - x));
    return Math.max(0, away.indexOf(Math.min(...away)));
  }
  const parallel = panel("parallel", () => Math.max(280, Math.min(420, innerHeight * 0.45)), drawParallel, (x, y, p) => {
    const xs = places(p), all = shown.map(axisOf);
    const k = Math.max(0, Math.min(xs.length - 2, xs.findIndex((at, n) => n + 1 < xs.length && x < xs[n + 1]))), share = (x - xs[k]) / (xs[k + 1] - xs[k] || 1);
    let best = -1, least = 7;
    if (xs.length > 1 && share >= 0 && share <= 1)
      for (const i of chosen) { const away = Math.abs(yOf(p, all[k].pos[i] * (1 - share) + all[k + 1].pos[i] * share) - y); if (away <= least) { least = away; best = i; } }
    return best;
  }, (g, i, p) => {
    g.lineWidth = 2.5;
    const xs = places(p);
    path(g, shown.map((c, k) => [xs[k], yOf(p, axisOf(c).pos[i])]));
    g.stroke();
  });
  const posAt = (p, y) => Math.max(0, Math.min(1, (p.h - bottom_ - y) / (p.h - top_ - bottom_)));
  if (parallel) {
    const base = parallel.base;
    base.addEventListener("pointerdown", e => {
      active = axisAt(parallel, e.offsetX);
      if (Math.abs(places(parallel)[active] - e.offsetX) > 20) return;
      base.setPointerCapture(e.pointerId);
      dragging = true;
      const at = posAt(parallel, e.offsetY);
      drag = { axis: axisOf(shown[active]), from: at, to: at };
    });
    let wanted = 0;
    base.addEventListener("pointermove", e => {
      if (!drag) { base.style.cursor = Math.abs(places(parallel)[axisAt(parallel, e.offsetX)] - e.offsetX) < 20 ? "ns-resize" : "default"; return; }
      drag.to = posAt(parallel, e.offsetY);
      if (!wanted) wanted = requestAnimationFrame(() => { wanted = 0; if (drag) brush(drag.axis, drag.from, drag.to); });
    });
    const release = () => {
      if (!drag) return;
      const { axis, from, to } = drag;
      drag = null;
      dragging = false;
      brush(axis, from, to);
    };
    base.addEventListener("pointerup", release);
    base.addEventListener("pointercancel", release);
    for (const event of ["focus", "blur"]) base.addEventListener(event, () => parallel.paint());
    base.addEventListener("keydown", e => {
      const axis = axisOf(shown[active]), span = brushed(axis) || [0, 1], step = 0.05;
      if (e.key === "ArrowLeft" || e.key === "ArrowRight") active = (active + (e.key === "ArrowLeft" ? shown.length - 1 : 1)) % shown.length;
      else if (e.key === "Escape") replaceTerms(t => t.c === axis.c, []);
      else if (e.key === "ArrowUp" || e.key === "ArrowDown") {
        const by = e.key === "ArrowUp" ? step : -step;
        brush(axis, Math.max(0, span[0] + (e.shiftKey ? by : 0)), Math.min(1, span[1] + (e.shiftKey ? 0 : by)));
      } else return;
      e.preventDefault();
      parallel.paint();
    });
  }
  function chooseAxes(list) {
    shown = [...list.filter(c => c.role !== "metric"), ...list.filter(c => c.role === "metric" && c !== metric), ...(metric ? [metric] : [])];
    cache = null;
    active = Math.min(active, shown.length - 1);
  }

  // ---- best so far, each parameter, two metrics: points ----------------------------------------------------------------
  const frame = (p, x0 = 58, x1 = 12, y0 = 14, y1 = 30) => ({ x: at => x0 + at * (p.w - x0 - x1), y: at => p.h - y1 - at * (p.h - y0 - y1) });
  const hasValue = i => isFinite(metric.vals[i]);
  const ring = (g, x, y) => { g.beginPath(); g.arc(x, y, 6, 0, 7); g.stroke(); };
  function dots(g, list, x, y, size) {
    for (const i of list) {
      g.fillStyle = colour(i);
      g.fillRect(x(i) - size / 2, y(i) - size / 2, size, size);
    }
  }
  function nearest(list, x, y, px, py) {
    let best = -1, least = 100;
    for (const i of list) {
      const d = (x(i) - px) ** 2 + (y(i) - py) ** 2;
      if (d <= least) { least = d; best = i; }
    }
    return best;
  }
  function scale(g, p, axis, f, ticks, title) {
    for (const [at, label] of axis.ticks) {
      line(g, f.x(0), f.y(at), f.x(1), f.y(at), ink.line);
      text(g, label, f.x(0) - 6, f.y(at) + 4, "right", ink.soft, f.x(0) - 8);
    }
    for (const [at, label] of ticks) text(g, label, f.x(at), p.h - 13, at < 0.03 ? "left" : at > 0.97 ? "right" : "center");
    if (title) text(g, title, f.x(1), p.h - 1, "right");
  }
  // A panel with one point a trial. `placed(p)` returns its frame, its axes, the chosen trials that have a point, which
  // trials have one, and where; null where there is no metric.
  function pointPanel(id, height, placed, draw) {
    panel(id, height, (g, p) => {
      const at = placed(p);
      if (at) draw(g, p, at);
    }, (x, y, p) => {
      const at = placed(p);
      return at ? nearest(at.list, at.x, at.y, x, y) : -1;
    }, (g, i, p) => {
      const at = placed(p);
      if (at && at.has(i)) ring(g, at.x(i), at.y(i));
    });
  }

  let order = [];  // of all trials that have ended with a value, as they ended
  const orderX = new Float32Array(N);
  function orderByEnd() {
    order = Array.from({ length: N }, (_, i) => i).filter(i => metric && hasEnded(i) && hasValue(i)).sort((a, b) => ended[a] - ended[b]);
    order.forEach((i, k) => { orderX[i] = order.length < 2 ? 0.5 : k / (order.length - 1); });
  }
  function betterThanBefore(list) {
    let best = Infinity;
    return list.filter(i => {
      const value = signOf(metric) * metric.vals[i], isBetter = mayBeBest(i) && value < best;
      if (isBetter) best = value;
      return isBetter;
    });
  }
  pointPanel("history", 330, p => {
    if (!metric) return null;
    const f = frame(p), axis = axisOf(metric, false);
    return { f, axis, list: order.filter(i => sel[i]), has: i => hasEnded(i) && hasValue(i), x: i => f.x(orderX[i]), y: i => f.y(axis.pos[i]) };
  }, (g, p, { f, axis, list, x, y }) => {
    scale(g, p, axis, f, [[0, "1"], [0.5, String(Math.round(order.length / 2))], [1, String(order.length)]], "");
    text(g, "trials in the order in which they ended", f.x(0.5), p.h - 1, "center");
    dots(g, [...list].sort((a, b) => shade[a] - shade[b]), x, y, list.length > 2000 ? 2.5 : 4);
    const steps = [];
    for (const i of betterThanBefore(list)) {
      if (steps.length) steps.push([x(i), steps[steps.length - 1][1]]);
      steps.push([x(i), y(i)]);
    }
    if (steps.length) steps.push([f.x(1), steps[steps.length - 1][1]]);
    g.strokeStyle = ink.accent;
    g.lineWidth = 2;
    path(g, steps);
    g.stroke();
  });

  const SLICE = 176, sliced = byImportance.slice(0, 24);
  const acrossOf = w => Math.max(1, Math.min(byImportance.length, Math.floor(w / 230)));
  const sliceHeight = w => Math.max(1, Math.ceil(sliced.length / acrossOf(w))) * SLICE;
  function cell(p, k) {
    const across = acrossOf(p.w), w = p.w / across, left = (k % across) * w, top = Math.floor(k / across) * SLICE;
    return { w, left, top, x: at => left + 48 + at * (w - 64), y: at => top + 138 - at * 112 };
  }
  const jitter = i => ((i * 2654435761 % 4096) / 4096 - 0.5);
  const inside = (axis, at) => axis.c.levels ? 0.09 + 0.82 * at : at;
  const sliceX = (axis, f, i) => f.x(inside(axis, axis.pos[i])) + (axis.c.levels || isNone(axis.c, i) ? jitter(trial.vals[i]) * Math.min(26, (f.w - 64) / (axis.ticks.length + 1) * 0.5) : 0);
  const sliceY = (f, i) => f.y(axisOf(metric, false).pos[i]);
  panel("slices", sliceHeight, (g, p) => {
    if (!metric) return;
    const list = some(chosen.filter(hasValue), 4000);
    sliced.forEach((c, k) => {
      const f = cell(p, k), axis = axisOf(c);
      for (const [at, label] of axisOf(metric, false).ticks) {
        line(g, f.x(0), f.y(at), f.x(1), f.y(at), ink.line);
        text(g, label, f.x(0) - 5, f.y(at) + 4, "right", ink.soft, 42);
      }
      let before = -Infinity;
      for (const [at, label] of axis.ticks) {
        const x = f.x(inside(axis, at)), half = Math.min(60, g.measureText(label).width) / 2;
        if (x - half <= before + 4) continue;
        text(g, label, x, f.top + 156, "center", ink.soft, 60);
        before = x + half;
      }
      g.font = "600 12px system-ui, sans-serif";
      text(g, c.name, f.x(0), f.top + 14, "left", ink.ink, f.w - 60);
      g.font = "11px system-ui, sans-serif";
      g.globalAlpha = list.length > 1500 ? 0.6 : 0.9;
      dots(g, list, i => sliceX(axis, f, i), i => sliceY(f, i), list.length > 1500 ? 2 : 3.5);
      g.globalAlpha = 1;
    });
  }, (x, y, p) => {
    if (!metric) return -1;
    const k = sliced.findIndex((_, n) => { const f = cell(p, n); return x >= f.left && x < f.left + f.w && y >= f.top && y < f.top + 160; });
    if (k < 0) return -1;
    const f = cell(p, k), axis = axisOf(sliced[k]);
    return nearest(chosen.filter(hasValue), i => sliceX(axis, f, i), i => sliceY(f, i), x, y);
  }, (g, i, p) => {
    if (!metric || !hasValue(i)) return;
    sliced.forEach((c, k) => { const f = cell(p, k); ring(g, sliceX(axisOf(c), f, i), sliceY(f, i)); });
  });

  let second = metrics[1];
  function frontOf(list) {
    const sorted = [...list].sort((a, b) => signOf(second) * (second.vals[a] - second.vals[b]) || signOf(metric) * (metric.vals[a] - metric.vals[b]));
    const front = [];
    for (const i of sorted) if (!front.length || signOf(metric) * (metric.vals[i] - metric.vals[front[front.length - 1]]) < 0) front.push(i);
    return front;
  }
  if (metrics.length > 1) pointPanel("pareto", 320, p => {
    const f = frame(p), across = axisOf(second, false), axis = axisOf(metric, false), has = i => hasValue(i) && isFinite(second.vals[i]);
    return { f, across, axis, list: chosen.filter(has), has, x: i => f.x(across.pos[i]), y: i => f.y(axis.pos[i]) };
  }, (g, p, { f, across, axis, list, x, y }) => {
    const ticks = across.ticks.filter(([at], k) => !k || at - across.ticks[k - 1][0] > 0.06);
    scale(g, p, axis, f, ticks, `${second.name} ${arrowOf(second)}`);
    dots(g, list, x, y, 4);
    const left = list.filter(hasFinished), front = frontOf(left);
    g.strokeStyle = g.fillStyle = ink.accent;
    g.lineWidth = 2;
    path(g, front.flatMap((i, k) => k ? [[x(i), y(front[k - 1])], [x(i), y(i)]] : [[x(i), y(i)]]));
    g.stroke();
    g.lineWidth = 1;
    for (const i of front) {
      g.beginPath();
      g.arc(x(i), y(i), 4, 0, 7);
      g.fill();
    }
    $("front").textContent = `${front.length} of ${left.length} finished trials are beaten by no other one in both.`;
  });

  // ---- curves: bands of all that are chosen, lines of the best ones ------------------------------------------------------
  function curvesOf(m) {
    if (!m || !m.form.curves) return null;
    if (m.curves) return m.curves;
    const key = m.form.curves, count = array(key + "c"), delta = array(key + "s"), vals = array(key + "v"), steps = array(key + "x");
    const first = new Uint32Array(N + 1), at = new Uint16Array(delta.length);
    for (let i = 0; i < N; i++) {
      first[i + 1] = first[i] + count[i];
      let place = 0;
      for (let k = first[i]; k < first[i + 1]; k++) at[k] = place += delta[k];
    }
    return m.curves = { first, at, vals, steps, low: m.form.low, unit: (m.form.high - m.form.low) / 65534 };
  }
  const BINS = 256;
  function curveView(p) {
    const c = curvesOf(metric);
    if (!c) return null;
    const sample = [], each = Math.max(1, Math.floor(c.vals.length / 20000));
    for (let k = 0; k < c.vals.length; k += each) if (c.vals[k] !== NONE) sample.push(c.vals[k]);
    sample.sort((a, b) => a - b);
    const q = share => c.low + c.unit * quantile(sample, share);
    let lo = q(metric.goal === "minimize" ? 0 : 0.02), hi = q(metric.goal === "minimize" ? 0.98 : 1);
    const log = lo > 0 && hi / lo > 30, f = log ? Math.log : v => v;
    if (hi === lo) { hi += Math.abs(hi) || 1; }
    const fr = frame(p), last = c.steps[c.steps.length - 1], start = c.steps[0];
    return { c, lo, hi, log, unitOf: v => Math.max(0, Math.min(1, (f(v) - f(lo)) / (f(hi) - f(lo)))), fr, x: s => fr.x(last === start ? 0.5 : (s - start) / (last - start)), start, last };
  }
  const bestCurves = c => chosen.filter(i => c.first[i + 1] > c.first[i] && shade[i] >= 0).slice(-12);
  function curve(g, v, i) {
    g.beginPath();
    let open = false;
    for (let k = v.c.first[i]; k < v.c.first[i + 1]; k++) {
      if (v.c.vals[k] === NONE) { open = false; continue; }
      const x = v.x(v.c.steps[v.c.at[k]]), y = v.fr.y(v.unitOf(v.c.low + v.c.unit * v.c.vals[k]));
      open ? g.lineTo(x, y) : g.moveTo(x, y);
      open = true;
    }
    g.stroke();
  }
  function bandsOf(v) {  // for each place across where there are values: x, and the heights of their five shares
    const { c } = v, across = Math.min(c.steps.length, 160), counts = new Uint32Array(across * BINS), binOf = new Uint16Array(c.steps.length), level = new Uint8Array(65535);
    // each step counts at the nearest place: the first place is the first step, and the last one the last step, as for lines
    for (let s = 0; s < c.steps.length; s++) binOf[s] = across === 1 ? 0 : Math.round((c.steps[s] - v.start) / (v.last - v.start) * (across - 1));
    for (let k = 0; k < 65535; k++) level[k] = Math.min(BINS - 1, v.unitOf(c.low + c.unit * k) * BINS);
    for (const i of chosen) for (let k = c.first[i]; k < c.first[i + 1]; k++) if (c.vals[k] !== NONE) counts[binOf[c.at[k]] * BINS + level[c.vals[k]]]++;
    const shares = [0.05, 0.25, 0.5, 0.75, 0.95], found = [];
    for (let b = 0; b < across; b++) {
      let total = 0;
      for (let k = 0; k < BINS; k++) total += counts[b * BINS + k];
      if (!total) continue;
      const row = [v.fr.x(across === 1 ? 0.5 : b / (across - 1))];
      for (let k = 0, sum = 0, s = 0; k < BINS && s < 5; k++) {
        sum += counts[b * BINS + k];
        for (; s < 5 && sum >= shares[s] * total; s++) row.push(v.fr.y((k + 0.5) / BINS));
      }
      found.push(row);
    }
    return found;
  }
  panel("curves", 330, (g, p) => {
    const v = curveView(p);
    if (!v) return text(g, metric ? `no trial in this report has a history of ${metric.name}` : "no metric", p.w / 2, p.h / 2, "center");
    const { c } = v, bands = bandsOf(v);
    scale(g, p, { ticks: niceTicks(v.lo, v.hi, v.log).map(t => [v.unitOf(t), short(t)]) }, v.fr, niceTicks(v.start, v.last, false).map(s => [v.last === v.start ? 0.5 : (s - v.start) / (v.last - v.start), short(s)]), "step");
    const along = column => bands.map(row => [row[0], row[column]]);
    for (const [a, b, fill] of [[1, 5, ink.band1], [2, 4, ink.band2]]) {
      g.fillStyle = fill;
      path(g, [...along(a), ...along(b).reverse()]);
      g.fill();
    }
    g.strokeStyle = ink.soft;
    g.setLineDash([4, 3]);
    path(g, along(3));
    g.stroke();
    g.setLineDash([]);
    const best = bestCurves(c);
    best.forEach((i, k) => {
      [g.lineWidth, g.globalAlpha, g.strokeStyle] = k === best.length - 1 ? [2.5, 1, ink.accent] : [1.2, 0.75, ramp[8]];
      curve(g, v, i);
    });
    g.globalAlpha = 1;
  }, (x, y, p) => {
    const v = curveView(p);
    let best = -1, least = 64;
    if (v) for (const i of bestCurves(v.c)) for (let k = v.c.first[i]; k < v.c.first[i + 1]; k++) if (v.c.vals[k] !== NONE) {
      const d = (v.x(v.c.steps[v.c.at[k]]) - x) ** 2 + (v.fr.y(v.unitOf(v.c.low + v.c.unit * v.c.vals[k])) - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }, (g, i, p) => { const v = curveView(p); if (v) curve(g, v, i); });

  // ---- when each trial ran, and where -----------------------------------------------------------------------------------
  const lanes = [], laneOf = new Int32Array(N).fill(-1);
  {  // a node runs several trials at once: each has a lane of its node to itself while it runs
    const by = new Map();
    for (let i = 0; i < N; i++) if (hasStarted(i)) {
      if (!by.has(node.vals[i])) by.set(node.vals[i], []);
      by.get(node.vals[i]).push(i);
    }
    for (const key of [...by.keys()].sort((a, b) => (node.levels[a] || "~").localeCompare(node.levels[b] || "~", undefined, { numeric: true }))) {
      const free = [];
      for (const i of by.get(key).sort((a, b) => started[a] - started[b])) {
        let slot = free.findIndex(at => at <= started[i] + 0.001);
        if (slot < 0) {
          slot = free.push(0) - 1;
          lanes.push({ name: node.levels[key] || "unknown", first: !slot });
          free.base ??= lanes.length - 1;
        }
        free[slot] = endOf(i);
        laneOf[i] = free.base + slot;
      }
    }
  }
  let until = 0;
  for (let i = 0; i < N; i++) until = Math.max(until, hasEnded(i) || hasStarted(i) ? endOf(i) : 0);
  const thick = lanes.length > 24 ? 9 : 14, few = lanes.length <= 64, laneX = (p, t) => 96 + (until ? t / until : 0) * (p.w - 108);
  panel("timeline", () => few ? Math.max(60, lanes.length * thick + 40) : 220, (g, p) => {
    const every = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800].find(s => until / s < 8) || until / 6;
    const floor = p.h - 26;
    for (let t = 0; t <= until; t += every) { line(g, laneX(p, t), 6, laneX(p, t), floor, ink.line); text(g, clock(t), laneX(p, t), p.h - 10, t ? "center" : "left"); }
    if (few) {
      lanes.forEach((lane, k) => {
        if (!lane.first) return;
        const y = 8 + k * thick;
        if (k) line(g, 8, y, p.w - 12, y, ink.line);
        text(g, lane.name, 88, y + thick - 3, "right", ink.soft, 80);
      });
      for (let pass = 0; pass < 2; pass++) for (let i = 0; i < N; i++) if (laneOf[i] >= 0 && sel[i] === pass) {
        const x = laneX(p, started[i]), w = laneX(p, endOf(i)) - x;
        g.globalAlpha = pass ? 1 : 0.15;
        g.fillStyle = ink.state[state.vals[i]];
        g.fillRect(x, 9 + laneOf[i] * thick, Math.max(1, w - 0.6), thick - 2);
      }
      g.globalAlpha = 1;
      return;
    }
    const across = Math.max(2, Math.floor(p.w - 108)), change = [new Float32Array(across + 1), new Float32Array(across + 1)];
    for (let i = 0; i < N; i++) if (laneOf[i] >= 0) for (let s = 0; s <= sel[i]; s++) {
      change[s][Math.floor(started[i] / until * across)]++;
      change[s][Math.min(across, Math.ceil(endOf(i) / until * across))]--;
    }
    for (const list of change) for (let x = 1; x <= across; x++) list[x] += list[x - 1];
    const most = Math.max(...change[0], 1);
    for (const t of niceTicks(0, most, false)) text(g, short(t), 88, floor - t / most * (floor - 12) + 4, "right");
    change.forEach((list, s) => {
      g.fillStyle = s ? ramp[6] : ink.band2;
      const top = Array.from(list.subarray(0, across), (n, x) => [96 + x, floor - n / most * (floor - 12)]);
      path(g, [[96, floor], ...top, [96 + across, floor]]);
      g.fill();
    });
    text(g, `trials at once, on ${new Set(lanes.map(l => l.name)).size} nodes`, 100, 14);
  }, (x, y, p) => {
    if (!few) return -1;
    const lane = Math.floor((y - 8) / thick);
    for (let i = 0; i < N; i++) if (laneOf[i] === lane && x >= laneX(p, started[i]) - 1 && x <= laneX(p, endOf(i)) + 1) return i;
    return -1;
  }, (g, i, p) => {
    if (!few || laneOf[i] < 0) return;
    const x = laneX(p, started[i]);
    g.strokeRect(x, 9 + laneOf[i] * thick, Math.max(3, laneX(p, endOf(i)) - x), thick - 2);
  });

  // ---- the table lays out only the rows in view -----------------------------------------------------------------------
  const ROW = 27, view = $("view"), rows = $("rows");
  const filled = columns.filter(c => c.vals.some((_, i) => !isNone(c, i)));
  const cells = [trial, ...metrics, state, ...byImportance, seconds, memory, node, attempt, cause, error].filter(c => filled.includes(c));
  let by = metric || trial, up = by.goal !== "maximize", list = [];
  const heads = cells.map(c => {
    const th = make("th"), button = make("button", c.name);
    th.scope = "col";
    button.type = "button";
    button.addEventListener("click", () => {
      up = by === c ? !up : c.goal !== "maximize";
      by = c;
      table(true);
    });
    th.append(button);
    return th;
  });
  $("heads").append(...heads);
  function table(fromTop) {
    const v = by.vals, sign = up ? 1 : -1, texts = by.levels && by.levels.map(l => isFinite(l) && l !== "" ? +l : l);
    list = Array.from(chosen);
    list.sort((a, b) => {
      const x = isNone(by, a), y = isNone(by, b);
      if (x || y) return x - y || trial.vals[a] - trial.vals[b];
      const p = texts ? texts[v[a]] : v[a], q = texts ? texts[v[b]] : v[b];
      return sign * (p < q ? -1 : p > q ? 1 : 0) || trial.vals[a] - trial.vals[b];
    });
    heads.forEach((th, k) => th.setAttribute("aria-sort", cells[k] === by ? (up ? "ascending" : "descending") : "none"));
    if (fromTop) view.scrollTop = 0;
    lay(true);
  }
  let laid = -1;
  function lay(again) {
    const first = Math.max(0, Math.min(Math.floor(view.scrollTop / ROW) - 4, list.length - 1)), count = Math.ceil((view.clientHeight || 560) / ROW) + 8;
    if (first === laid && !again) return;
    laid = first;
    const gap = height => {
      const tr = make("tr", undefined, "gap"), td = make("td");
      td.colSpan = cells.length;
      td.style.height = height + "px";
      tr.append(td);
      tr.setAttribute("aria-hidden", "true");
      return tr;
    };
    const part = list.slice(first, first + count).map((i, k) => {
      const tr = make("tr", undefined, i === focus ? "on" : "");
      tr.dataset.i = i;
      tr.setAttribute("aria-rowindex", first + k + 2);
      for (const c of cells) {
        const td = make("td", undefined, c.levels ? "" : "n");
        if (c === state) td.append(make("span", words(c, i), pillOf(words(c, i))));
        else { td.textContent = words(c, i); if (c.levels && td.textContent.length > 24) td.title = td.textContent; }
        if (c === metric && shade[i] >= 0) td.prepend(make("i", undefined, "dot r" + shade[i]));
        tr.append(td);
      }
      return tr;
    });
    rows.replaceChildren(gap(first * ROW), ...part, gap(Math.max(0, list.length - first - part.length) * ROW));
    $("table").setAttribute("aria-rowcount", list.length + 1);
  }
  view.addEventListener("scroll", () => lay(false), { passive: true });
  rows.addEventListener("pointerover", e => { const tr = e.target.closest("tr[data-i]"); point(tr ? +tr.dataset.i : -1); });
  rows.addEventListener("pointerleave", () => point(-1));
  view.addEventListener("keydown", e => {  // arrows go from trial to trial
    if (e.key !== "ArrowDown" && e.key !== "ArrowUp") return;
    e.preventDefault();
    const at = Math.max(0, Math.min(list.length - 1, list.indexOf(focus) + (e.key === "ArrowDown" ? 1 : -1)));
    if (at * ROW < view.scrollTop) view.scrollTop = at * ROW;
    if ((at + 3) * ROW > view.scrollTop + view.clientHeight) view.scrollTop = (at + 3) * ROW - view.clientHeight;
    lay(true);
    point(list[at]);
  });

  // ---- controls -----------------------------------------------------------------------------------------------------------
  function drawAll() {
    if (focus >= 0 && !sel[focus]) point(-1);
    for (const p of panels) p.paint();
    for (const p of panels) p.point();
    if (!dragging) table(false);
  }
  function setMetric(m) {
    metric = m;
    rank();
    orderByEnd();
    chooseAxes(shown.length ? shown.filter(c => c !== metric) : byImportance.slice(0, 11));
    if (by.role === "metric") { by = m; up = m.goal !== "maximize"; }
    for (const name of document.querySelectorAll(".metric")) name.textContent = m ? m.name : "the metric";
    if (second === m) second = metrics.find(one => one !== m);
    if ($("second")) $("second").value = metrics.indexOf(second);
  }
  const option = (m, k) => { const o = make("option", `${m.name} ${arrowOf(m)}`); o.value = k; return o; };
  $("metric").append(...metrics.map(option));
  $("metric").addEventListener("change", e => { setMetric(metrics[+e.target.value]); show(); });
  $("metric").closest("label").hidden = metrics.length < 2;
  if ($("second")) { $("second").append(...metrics.map(option)); $("second").addEventListener("change", e => { second = metrics[+e.target.value]; drawAll(); }); }
  for (const name of M.levels.state) {
    const box = make("button", name, pillOf(name));
    box.type = "button";
    box.value = name;
    box.addEventListener("click", () => {
      const before = terms.find(t => t.c === state && !t.not && t.op === ":"), now = new Set(before ? before.values : []);
      now.has(name) ? now.delete(name) : now.add(name);
      replaceTerms(t => t === before, now.size ? [`state:${[...now].map(quoted).join(",")}`] : []);
    });
    $("states").append(box);
  }
  const menu = $("axes");
  for (const c of [...byImportance, ...metrics, seconds, memory].filter(one => filled.includes(one))) {
    const label = make("label"), box = make("input");
    box.type = "checkbox";
    box.checked = byImportance.indexOf(c) >= 0 && byImportance.indexOf(c) < 11;
    box.addEventListener("change", () => { chooseAxes([...menu.querySelectorAll("input:checked")].map(one => one.column).filter(one => one !== metric)); drawAll(); });
    box.column = c;
    label.append(box, " " + c.name);
    menu.append(label);
  }
  let typing = 0;
  $("filter").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(show, 120); });
  $("clear").addEventListener("click", () => show(""));
  addEventListener("keydown", e => {
    if (e.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(e.target.tagName)) { e.preventDefault(); $("filter").focus(); }
    if (e.key === "Escape" && e.target === $("filter")) show("");
  });
  function restore() {
    const parts = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B")), m = metrics.find(one => one.name === parts.get("m"));
    if (m) { setMetric(m); $("metric").value = metrics.indexOf(m); }
    show(parts.get("f") || "");
  }
  addEventListener("hashchange", restore);
  const redraw = () => { cache = null; colours(); for (const p of panels) p.size(); drawAll(); };
  let resizing = 0;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 80); });
  dark.addEventListener("change", () => { if (!matchMedia("print").matches) redraw(); });
  const probe = make("canvas").getContext("2d", { willReadFrequently: true });
  const drawn = () => { for (const p of panels) if (p.w) { probe.drawImage(p.base, 0, 0, 1, 1); probe.getImageData(0, 0, 1, 1); } };
  // On paper all is light. A canvas that is drawn anew for it comes out empty (Chromium), so that one which is dark is
  // turned by the style sheet, which finds here how it was drawn.
  addEventListener("beforeprint", () => point(-1));

  root.classList.add("ready");  // panels have a width from here on
  colours();
  setMetric(metric);
  for (const p of panels) p.size();
  restore();
  // For tests, which ask how long a filter takes until it is drawn: reading a pixel waits for the drawing.
  const timed = act => { const begun = performance.now(); act(); drawn(); return { filter: $("filter").value, chosen: chosen.length, ms: performance.now() - begun }; };
  window.__filter = said => timed(() => show(said));
  window.__brush = (name, from, to) => timed(() => brush(axisOf(named(name)), from, to));
  window.__best = () => ({ steps: betterThanBefore(order.filter(i => sel[i])).map(i => trial.vals[i]), last: trial.vals[chosen[chosen.length - 1]] });
  window.__over = () => {  // where bands are, and where lines have their steps
    const v = curveView(panels.find(p => p.id === "curves"));
    return { bands: bandsOf(v).map(row => row[0]), steps: Array.from(v.c.steps, v.x) };
  };
  window.__focus = number => point(trial.vals.indexOf(number));
  window.__ready = true;
})();
