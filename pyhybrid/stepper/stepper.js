"use strict";
// The page shows `data.steps[at]`. `show` is the only function that changes it; everything on screen follows from it.

const data = JSON.parse(document.getElementById("data").textContent);
const { listings, steps, values } = data;
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const night = matchMedia("(prefers-color-scheme: dark)");
const testing = location.hash === "#selftest";
let at = 0, timer = 0, scheme = "auto", shownListing = -1;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") node.className = value;
    else if (key === "style") node.style.cssText = value;
    else if (value !== null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// ---- Mathematics and source: text becomes nodes, never markup

const WORD = /(\p{L}[\p{L}\p{N}′']*)(_\{[^{}]*\}|_(?:(?!ᵀ)[\p{L}\p{N}])+)?(\s*\()?|\^(\([^()]*\)|[−+-]?[\p{L}\p{N}]+)|[^\p{L}^]+|\^/gu;

function maths(text) {
  const line = make("span", { class: "maths" });
  for (const [all, name, index, call, power] of text.replace(/(?<!\p{L}{3})-|-(?!\p{L}{3})/gu, "−").matchAll(WORD)) {
    if (power) { line.append(make("sup", {}, power.replace(/^\((.*)\)$/, "$1"))); continue; }
    if (name === undefined) { line.append(all); continue; }
    const braces = index?.startsWith("_{"), low = braces || (index && index.length <= 4 && name.length <= 4); // x_pq has an index, shift_sum a name of two words
    const whole = index && !low ? name + index : name;
    line.append(call && whole.length > 1 ? whole : make("i", {}, whole));
    if (low) line.append(make("sub", {}, braces ? index.slice(2, -1) : index.slice(1)));
    if (call) line.append(call);
  }
  return line;
}

/** The formula and, after its first colon, what the docstring says about it. */
function equation(text) {
  const [formula, ...rest] = text.split(/:\s+/);
  const node = make("span", { class: text.length > 90 ? "equation long" : "equation" }, maths(formula));
  if (rest.length) node.append(make("span", { class: "remark" }, rest.join(": ")));
  return node;
}

const TAGGED = /\s*#\s*((?:\([FBC]\d+[a-z]?\)[\s,]*)+)(.*)$/;
const TOKEN = /("""|'''|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(#.*)|\b(def|return|for|in|if|else|elif|while|with|as|not|and|or|is|lambda|None|True|False|import|from|raise|try|except|finally|assert|yield|class)\b|\b(\d[\w.]*)/g;

function code(line, state) {
  const node = make("code");
  const put = (text, kind) => text && node.append(kind ? make("span", { class: `t-${kind}` }, text) : text);
  let rest = line;
  if (state.quote) {
    const end = rest.indexOf(state.quote);
    if (end < 0) { put(rest, "string"); return node; }
    put(rest.slice(0, end + 3), "string");
    rest = rest.slice(end + 3);
    state.quote = "";
  }
  let done = 0;
  for (const match of rest.matchAll(TOKEN)) {
    if (match.index < done) continue;
    put(rest.slice(done, match.index));
    const [all, string, comment, keyword] = match;
    done = match.index + all.length;
    if (string === '"""' || string === "'''") {
      const end = rest.indexOf(string, done);
      if (end < 0) { state.quote = string; put(rest.slice(match.index), "string"); return node; }
      done = end + 3;
      put(rest.slice(match.index, done), "string");
    } else put(all, string ? "string" : comment ? "comment" : keyword ? "keyword" : "number");
  }
  put(rest.slice(done));
  return node;
}

function drawListing(number) {
  shownListing = number;
  const { name, first, lines } = listings[number];
  const state = { quote: "" };
  $("listing-name").textContent = name;
  $("source").replaceChildren(...lines.map((text, i) => {
    const tagged = state.quote ? null : text.match(TAGGED);
    const plain = tagged ? text.slice(0, tagged.index) + (tagged[2].trim() ? `  # ${tagged[2].trim()}` : "") : text.replace(/(\S)\s{3,}#/, "$1  #");
    const indent = text.match(/^ */)[0].length + 4;
    const runs = steps.some((s) => s.listing === number && s.line <= first + i && first + i <= s.end);
    const row = make("div", { class: runs ? "line runs" : "line", "data-line": first + i },
      make("span", { class: "no" }, String(first + i)), code(plain, state));
    row.lastChild.style.setProperty("--hang", `${indent}ch`);
    if (tagged) row.append(make("span", { class: "tag" }, tagged[1].trim().replace(/[()]/g, "").replace(/[\s,]+/g, ", ")));
    return row;
  }));
  const labels = Object.entries(listings[number].equations).filter(([label]) => !label.startsWith("C"));
  $("equations").hidden = !labels.length;
  $("equations").replaceChildren(...labels.map(([label, text]) => {
    const target = nearest((s) => s.label.split(", ").includes(label));
    const row = make("button", { type: "button", "data-label": label }, make("span", { class: "label" }, `(${label})`), maths(text));
    row.disabled = target < 0;
    row.addEventListener("click", () => show(nearest((s) => s.label.split(", ").includes(label))));
    return row;
  }));
}

/** Index of the first step from the current one on, else from the start, that fits; −1 if none does. */
function nearest(fits, from = at) {
  const after = steps.findIndex((s, i) => i >= from && fits(s));
  return after >= 0 ? after : steps.findIndex(fits);
}

// ---- Numbers as colour: blue below zero, orange above, equal distance on both sides

const PALETTE = {
  light: ["#0b4f8a", "#6aa5d3", "#f5f2ea", "#eda55d", "#a84300"],
  dark: ["#93caff", "#3a7fb8", "#24282d", "#b8682a", "#ffc391"],
};
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function colour(x, largest) {
  const stops = PALETTE[document.documentElement.dataset.scheme].map(rgb);
  const share = Number.isFinite(x) ? (largest > 0 ? x / largest : 0) : Math.sign(x);
  const place = Math.min(3.9999, Math.max(0, 2 + 2 * share));
  const low = Math.floor(place), part = place - low;
  return stops[low].map((c, i) => Math.round(c + (stops[low + 1][i] - c) * part));
}

const numbers = (value) => (value.numbers ??= value.cells.map(Number));
const minus = (text) => text.replace(/-/g, "−");

function exact(value, i) {
  if (value.words) return value.words[i];
  const x = numbers(value)[i];
  if (value.type === "bool") return x ? "True" : "False";
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  return minus(Object.is(x, -0) ? "-0" : String(x));
}

/** At most about five characters, to stand inside a cell. */
function brief(value, i) {
  if (value.words) return minus(value.words[i]);
  const x = numbers(value)[i], size = Math.abs(x);
  if (x === 0 && value.type !== "bool") return "0";
  if (value.type === "bool" || !Number.isFinite(x) || (Number.isInteger(x) && size < 1e4)) return exact(value, i);
  if (size < 0.005 || size >= 1e4) return minus(x.toExponential(0).replace("e+", "e"));
  return minus(x.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0));
}

function legend(x) {
  return minus(Number.isInteger(x) && x < 1e6 ? String(x) : Number(x.toPrecision(3)).toString());
}

// ---- Arrays: the last two axes are a matrix, the axes before them number the matrices; of a 1×1 kernel (O, C, 1, 1) it is O × C

const pointwise = (value) => value.window.length > 2 && value.window.at(-1) === 1 && value.window.at(-2) === 1;

function geometry(value) {
  const size = pointwise(value) ? value.window.slice(0, -2) : value.window.length ? value.window : [1];
  const columns = size.at(-1), rows = size.length > 1 ? size.at(-2) : 1, lead = size.slice(0, -2);
  return { columns, rows, lead, panels: lead.reduce((a, b) => a * b, 1) };
}

const GAP = 14;

/** The largest cells with which everything fits; numbers stand in cells that have room for them. */
function cellSize(value, width, height) {
  const { columns, rows, panels, lead } = geometry(value);
  const count = value.cells.length, longest = count <= 600 ? Math.max(1, ...value.cells.map((_, i) => brief(value, i).length)) : 99;
  const roomy = longest <= 9 ? [[15, 44], [14, 38], [13, 34], [12.5, 30], [11.5, 26]].map(([font, h]) => [Math.max(h, Math.ceil(longest * font * 0.62) + 10), h, font]) : [];
  const square = [34, 28, 24, 20, 17, 14, 12, 10, 8, 7, 6, 5, 4, 3].map((s) => [s, s, 0]);
  const caption = lead.length ? (3 * lead.length + 1) * 6 : 0, wide = (w) => Math.max(columns * w, caption);
  const fit = (w) => Math.floor((width + GAP) / (wide(w) + GAP));
  const last = lead.at(-1) ?? 1; // rows of matrices should end where the innermost of their axes ends
  const fits = (whole) => ([w, h]) => fit(w) >= (whole ? last : 1) && Math.ceil(panels / fit(w)) * (rows * h + (panels > 1 ? 30 : 0)) <= height;
  const [w, h, font] = roomy.find(fits(true)) ?? roomy.find(fits(false)) ?? square.filter(([, h]) => h >= 10).find(fits(true)) ?? square.find(fits(false)) ?? square.at(-1);
  let across = Math.max(1, fit(w));
  if (across >= last) across -= across % last;
  else for (let part = across; part > across / 2; part--) if (last % part === 0) { across = part; break; }
  return { w, h, font, across, wide: wide(w) };
}

function panelIndex(lead, number) {
  const index = [];
  for (const size of [...lead].reverse()) { index.unshift(number % size); number = Math.floor(number / size); }
  return index;
}

function drawPanel(canvas, value, size, start, changed) {
  const { columns, rows } = geometry(value), { w, h, font } = size, scale = Math.max(1, devicePixelRatio || 1);
  const width = columns * w, height = rows * h, gap = Math.min(w, h) >= 10 ? 1 : 0;
  canvas.width = Math.max(1, Math.round(width * scale)); canvas.height = Math.max(1, Math.round(height * scale));
  canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
  const paint = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim(), nan = style.getPropertyValue("--nan").trim(), family = style.getPropertyValue("--serif");
  paint.scale(scale, scale);
  paint.textAlign = "center"; paint.textBaseline = "middle"; paint.font = `${font}px ${family}`;
  for (let i = 0; i < rows * columns; i++) {
    const k = start + i, x = (i % columns) * w, y = Math.floor(i / columns) * h, number = numbers(value)[k];
    const cell = Number.isNaN(number) ? null : colour(number, value.largest);
    paint.fillStyle = cell ? `rgb(${cell})` : nan;
    paint.fillRect(x, y, w - gap, h - gap);
    if (!cell && !font) { // not a number: a cross, so that it is not read as a colour
      paint.strokeStyle = ink; paint.beginPath(); paint.moveTo(x, y); paint.lineTo(x + w - gap, y + h - gap); paint.stroke();
    }
    if (font) {
      const bright = cell ? 0.299 * cell[0] + 0.587 * cell[1] + 0.114 * cell[2] : 150;
      paint.fillStyle = bright > 140 ? "#1a1713" : "#fbf8f1";
      paint.fillText(brief(value, k), x + (w - gap) / 2, y + (h - gap) / 2 + 0.5, w - 4);
    }
    if (changed?.has(k)) {
      const b = w >= 20 ? 2 : 1;
      paint.strokeStyle = ink; paint.lineWidth = b; paint.strokeRect(x + b / 2, y + b / 2, w - gap - b, h - gap - b);
    }
  }
}

function indexCaption(lead, axes, number, width) {
  const index = panelIndex(lead, number);
  const long = index.map((k, i) => `${axes[i]} ${k}`).join(", ");
  return axes.length && long.length * 6.3 <= width ? long : `[${index.join(", ")}]`;
}

function figure(name, place, axes, kind, room, changed, title = name) {
  const value = values[place], { lead, panels, rows, columns } = geometry(value), shape = value.shape;
  const whole = shape.every((n, i) => n === value.window[i]);
  const caption = make("figcaption", {}, make("span", { class: "name" }, title),
    make("span", { class: "type" }, `${value.type}${shape.length ? ", " : ""}${shape.join(" × ")}`));
  if (axes.length && shape.length > 1) caption.append(make("span", { class: "type" }, `(${axes.join(", ")})`));
  const node = make("figure", { class: kind, tabindex: "0", role: "group", "data-name": name,
    "aria-label": `${title}, ${value.type}, ${shape.join(" by ") || "one number"}. Arrow keys walk through the cells.` }, caption);
  if (!whole) caption.append(make("span", { class: "note" }, `too large to show whole: this is ${name}[${value.window.map((n) => `:${n}`).join(", ")}]`));
  if (value.type.startsWith("complex")) caption.append(make("span", { class: "note" }, "colour: the real part"));
  if (!value.cells.length) { caption.append(make("span", { class: "note" }, "no elements")); return node; }
  const size = cellSize(value, room.width, room.height), shelf = make("div", { class: "panels" });
  shelf.style.maxWidth = `${size.across * (size.wide + GAP)}px`;
  for (let p = 0; p < panels; p++) {
    const canvas = make("canvas", { "aria-hidden": "true" }), panel = make("div", { class: "panel", "data-panel": p });
    if (lead.length) {
      panel.style.minWidth = `${size.wide}px`;
      panel.append(make("span", { class: "index" }, indexCaption(lead, axes, p, size.wide)));
    }
    drawPanel(canvas, value, size, p * rows * columns, changed);
    panel.append(canvas);
    shelf.append(panel);
  }
  node.append(shelf);
  if (value.largest > 0 && !(kind === "small" && size.font)) {
    const stops = PALETTE[document.documentElement.dataset.scheme].join(", ");
    node.append(make("div", { class: "under" }, make("span", { class: "legend" }, legend(-value.largest),
      make("i", { style: `background:linear-gradient(90deg, ${stops})` }), legend(value.largest))));
  }
  node.view = { name, place, size, cursor: -1 };
  return node;
}

// ---- Reading a cell, with the pointer or with the arrow keys

function cellText(view, k) {
  const value = values[view.place], { lead, rows, columns } = geometry(value), per = rows * columns;
  const index = panelIndex(lead, Math.floor(k / per)), rest = value.shape.length - lead.length - (pointwise(value) ? 2 : 0);
  if (rest > 1) index.push(Math.floor((k % per) / columns));
  if (rest > 0) index.push(k % columns);
  if (pointwise(value)) index.push(0, 0);
  return `${view.name}${index.length ? `[${index.join(", ")}]` : ""} = ${exact(value, k)}`;
}

function ring(node, k, kind) {
  const { columns, rows } = geometry(values[node.view.place]), per = rows * columns, { w, h } = node.view.size;
  const canvas = node.querySelector(`[data-panel="${Math.floor(k / per)}"] canvas`), i = k % per;
  const box = make("span", { class: kind, style: `left:${canvas.offsetLeft + (i % columns) * w - 2}px;top:${canvas.offsetTop + Math.floor(i / columns) * h - 2}px;width:${w + 3}px;height:${h + 3}px` });
  canvas.parentNode.append(box);
  return box;
}

function point(node, k) {
  unpoint();
  node.view.cursor = k;
  const box = ring(node, k, "ring"), shape = values[node.view.place].window.join();
  for (const other of document.querySelectorAll("figure")) { // the same place in arrays of the same shape
    if (other !== node && other.view && values[other.view.place].window.join() === shape) ring(other, k, "ring twin");
  }
  const tip = make("div", { id: "tip" }, cellText(node.view, k)), place = box.getBoundingClientRect();
  document.body.append(tip);
  const below = place.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(6, Math.min(place.left, innerWidth - tip.offsetWidth - 6))}px`;
  tip.style.top = `${below ? place.bottom + 8 : place.top - tip.offsetHeight - 8}px`;
}

function unpoint() {
  $("tip")?.remove();
  document.querySelectorAll(".ring").forEach((box) => box.remove());
}

$("stage").addEventListener("pointermove", (event) => {
  const canvas = event.target.closest?.("canvas"), node = event.target.closest?.("figure");
  if (!canvas) { if (!node?.contains(document.activeElement)) unpoint(); return; }
  const { columns, rows } = geometry(values[node.view.place]), { w, h } = node.view.size;
  const i = Math.min(columns - 1, Math.floor(event.offsetX / w)), j = Math.min(rows - 1, Math.floor(event.offsetY / h));
  if (i >= 0 && j >= 0) point(node, Number(canvas.parentNode.dataset.panel) * rows * columns + j * columns + i);
});
$("stage").addEventListener("pointerleave", unpoint);
$("stage").addEventListener("scroll", unpoint);
$("stage").addEventListener("focusin", (event) => { if (event.target.view) { point(event.target, Math.max(0, event.target.view.cursor)); speak($("tip").textContent); } });
$("stage").addEventListener("focusout", unpoint);
$("stage").addEventListener("keydown", (event) => {
  const view = event.target.view, value = view && values[view.place];
  if (!view || event.ctrlKey || event.metaKey || event.altKey) return;
  const { columns, rows } = geometry(value), move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (event.key === "Escape") { event.target.blur(); event.stopPropagation(); return; }
  if (!move) return;
  event.preventDefault(); event.stopPropagation();
  const k = Math.max(0, view.cursor) + move;
  if (k >= 0 && k < value.cells.length && (rows > 0)) { point(event.target, k); speak($("tip").textContent); }
});

// ---- The current step

/** Cells of output `name` that differ from what it held before; undefined if all do or there was nothing before. */
function changedCells(name, place) {
  const now = values[place], step = steps[at];
  if (!now.cells || step.kind !== "assign") return undefined;
  for (let i = at - 1; i >= 0; i--) {
    const earlier = steps[i];
    if (earlier.listing !== step.listing || earlier.depth !== step.depth) continue;
    const found = earlier.out.find(([n]) => n === name);
    if (found) {
      const before = values[found[1]];
      if (!before.cells || before.shape.join() !== now.shape.join()) return undefined;
      const cells = new Set([...now.cells.keys()].filter((k) => exact(now, k) !== exact(before, k)));
      return cells.size < now.cells.length ? cells : undefined;
    }
    if (earlier.kind === "call") return undefined;
  }
  return undefined;
}

function shelf(entries, small) {
  const arrays = entries.filter(([, place]) => values[place].cells), others = entries.filter(([, place]) => !values[place].cells);
  const inner = $("stage").clientWidth - (innerWidth <= 860 ? 36 : 64), kind = small ? "small" : arrays.length > 3 ? "small" : arrays.length > 1 ? "middle" : "large";
  const height = { large: 420, middle: 250, small: 132 }[kind], node = make("div", { class: "shelf" });
  for (const [name, place, axes] of arrays) {
    const before = small && steps[at].out.some(([n]) => n === name);
    node.append(figure(name, place, axes, kind, { width: inner, height }, small ? undefined : changedCells(name, place), before ? `${name} before` : name));
  }
  if (others.length) {
    node.append(make("div", { class: "plain" }, ...others.map(([name, place]) =>
      make("p", {}, `${name} = ${values[place].text}`, make("span", { class: "type" }, values[place].type)))));
  }
  return node;
}

function headline(step) {
  const text = step.label.split(", ").map((label) => listings[step.listing].equations[label]).filter(Boolean);
  const row = make("div", { class: "row" });
  const role = listings[step.listing].name.split(".").at(-1);
  if (step.label) row.append(make("span", { class: "label" }, step.label.split(", ").map((label) => `(${label})`).join(" ")));
  if (text.length) row.append(make("div", {}, ...text.map(equation)));
  else row.append(make("span", { class: "equation name" }, { call: `Arguments of ${role}`, return: `Result of ${role}` }[step.kind] ?? step.name));
  const { first, lines } = listings[step.listing];
  const source = lines.slice(step.line - first, step.end - first + 1).map((line) => line.replace(TAGGED, "").replace(/\s+#.*$/, ""));
  const indent = Math.min(...source.map((line) => line.match(/^ */)[0].length));
  const parts = [row];
  if (step.kind !== "call") parts.push(make("pre", {}, source.map((line) => line.slice(indent)).join("\n")));
  if (step.loops.length) parts.push(make("div", { class: "loops" }, ...step.loops.map(([name, text]) => make("span", {}, `${name} = ${text}`))));
  return parts;
}

let width = 0; // of the stage when it was drawn, with its scroll bar, which comes and goes with what is drawn

function drawStage() {
  const step = steps[at];
  width = $("stage").offsetWidth;
  unpoint();
  $("headline").replaceChildren(...headline(step));
  $("outputs").replaceChildren(shelf(step.out, false));
  const reads = step.kind === "assign" ? step.in : [];
  $("inputs").replaceChildren(...(reads.length ? [make("p", { class: "shelf-title" }, "What the line reads"), shelf(reads, true)] : []));
}

function speak(text) { $("say").textContent = text; }

function summary(step) {
  const text = step.label.split(", ").map((label) => listings[step.listing].equations[label]).filter(Boolean).join("; ");
  const what = { call: "arguments", return: "result" }[step.kind] ?? (text || step.name);
  return `Step ${at + 1} of ${steps.length}, ${step.phase}${step.label ? `, ${step.label}` : ""}: ${what}`;
}

function show(number, quiet = false) {
  if (!steps.length) return;
  const came = at;
  at = Math.max(0, Math.min(steps.length - 1, number));
  const step = steps[at];
  document.body.dataset.phase = step.phase;
  if (shownListing !== step.listing) drawListing(step.listing);
  $("where").textContent = `${step.phase} pass${step.depth > 1 ? `, inside ${listings[step.listing].name}` : ""}`;
  for (const row of $("source").children) {
    const now = step.line <= Number(row.dataset.line) && Number(row.dataset.line) <= step.end;
    row.classList.toggle("now", now);
    if (now) row.setAttribute("aria-current", "step"); else row.removeAttribute("aria-current");
  }
  const here = $("source").querySelector(".now"), pane = $("source");
  if (here) { // the pane scrolls, never the page around it
    const top = here.offsetTop, low = top + here.offsetHeight * (step.end - step.line + 1);
    if (top < pane.scrollTop + 30 || low > pane.scrollTop + pane.clientHeight - 30) pane.scrollTo({ top: top - pane.clientHeight / 3, behavior: still.matches ? "auto" : "smooth" });
  }
  for (const row of $("equations").children) row.setAttribute("aria-current", step.label.split(", ").includes(row.dataset.label));
  const current = $("equations").querySelector("[aria-current=true]"), list = $("equations");
  if (current && (current.offsetTop < list.scrollTop || current.offsetTop + current.offsetHeight > list.scrollTop + list.clientHeight)) list.scrollTop = current.offsetTop - list.clientHeight / 3;
  drawStage();
  if (came !== at) { $("stage").scrollTop = 0; }
  [...$("timeline").children].forEach((tick, i) => { tick.classList.toggle("past", i < at); tick.classList.toggle("here", i === at); });
  const slider = $("timeline");
  slider.setAttribute("aria-valuenow", at + 1); slider.setAttribute("aria-valuetext", summary(step));
  $("count").textContent = `Step ${at + 1} of ${steps.length}`;
  $("first").disabled = $("back").disabled = at === 0;
  $("next").disabled = $("last").disabled = at === steps.length - 1;
  const passed = [...$("jump").options].map((option) => Number(option.value)).filter((i) => i <= at);
  $("jump").value = String(passed.at(-1) ?? 0);
  if (!quiet) speak(summary(step));
  try { if (location.protocol === "file:") history.replaceState(null, "", fragment({ step: at + 1 })); } catch { /* a frame may forbid it */ }
}

// ---- Timeline, buttons, keys

function drawTimeline() {
  const bar = $("timeline");
  bar.setAttribute("aria-valuemax", steps.length);
  bar.classList.toggle("dense", steps.length > 120);
  bar.replaceChildren(...steps.map((step, i) => {
    const turn = i > 0 && steps[i - 1].phase !== step.phase;
    return make("span", { class: `tick${step.depth > 1 ? " deep" : ""}${turn ? " turn" : ""}`, "data-phase": step.phase });
  }));
  let free = -Infinity;
  steps.forEach((step, i) => {
    const tick = bar.children[i], x = tick.offsetLeft + tick.offsetWidth / 2, half = step.label.length * 3.6;
    if (step.label && (i === 0 || steps[i - 1].label !== step.label) && x - half > free) {
      tick.append(make("span", { class: "mark" }, step.label));
      free = x + half + 5;
    }
  });
}

function drawJump() {
  const groups = {};
  steps.forEach((step, i) => {
    const group = (groups[step.phase] ??= make("optgroup", { label: `${step.phase} pass` }));
    const text = step.label ? `(${step.label.replace(/, /g, ") (")})` : { call: step.depth === 1 ? "arguments" : "", return: step.depth === 1 ? "result" : "" }[step.kind] ?? "";
    const equationText = listings[step.listing].equations[step.label] ?? "";
    const line = step.depth > 1 ? `${text} ${listings[step.listing].name}` : `${text} ${equationText}`;
    if (text && i > 0 && steps[i - 1].label === step.label && step.label) return;
    if (text && ![...group.children].some((o) => o.dataset.key === `${step.listing} ${text}`)) {
      group.append(make("option", { value: i, "data-key": `${step.listing} ${text}` }, line.length > 64 ? `${line.slice(0, 63)}…` : line));
    }
  });
  $("jump").replaceChildren(...Object.values(groups));
}

function play(on = !timer) {
  clearInterval(timer);
  timer = 0;
  if (on) {
    if (at === steps.length - 1) show(0);
    timer = setInterval(() => { if (at < steps.length - 1) show(at + 1); if (at === steps.length - 1) play(false); }, 1300);
  }
  $("play").setAttribute("aria-label", timer ? "Pause" : "Play");
  $("play").querySelector("path").setAttribute("d", timer ? "M5 4h3.5v12H5zM11.5 4H15v12h-3.5z" : "M6 4v12l10-6z");
}

function go(number) { play(false); show(number); }
const startOf = (phase) => steps.findIndex((step) => step.phase === phase);
const keys = {
  ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), ArrowUp: () => go(at - 1), ArrowDown: () => go(at + 1),
  PageUp: () => go(at - 10), PageDown: () => go(at + 10), Home: () => go(0), End: () => go(steps.length - 1), " ": () => play(),
  f: () => startOf("forward") >= 0 && go(startOf("forward")), b: () => startOf("backward") >= 0 && go(startOf("backward")),
  "?": () => $("keys").open || $("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event, slides = target === $("timeline");
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open || target.closest?.("select")) return;
  if (key === " " && target.closest?.("button")) return; // a focused button is pressed, as everywhere
  if (/^(Arrow(Up|Down)|Page)/.test(key) && !slides) return; // these scroll
  const act = keys[key.length === 1 ? key.toLowerCase() : key];
  if (act) { event.preventDefault(); act(); }
});
$("first").onclick = () => go(0);
$("back").onclick = () => go(at - 1);
$("next").onclick = () => go(at + 1);
$("last").onclick = () => go(steps.length - 1);
$("play").onclick = () => play();
$("help").onclick = () => $("keys").showModal();
$("jump").onchange = () => go(Number($("jump").value));
$("source").onclick = (event) => {
  const line = Number(event.target.closest(".line.runs")?.dataset.line);
  const there = (s) => s.listing === shownListing && s.line <= line && line <= s.end;
  if (line) go(nearest(there, at + 1));
};
function seek(event) {
  const ticks = [...$("timeline").children], found = ticks.findIndex((tick) => event.clientX < tick.getBoundingClientRect().right + 1);
  const number = found < 0 ? ticks.length - 1 : found;
  if (number !== at) go(number);
}
$("timeline").onpointerdown = (event) => { $("timeline").setPointerCapture(event.pointerId); seek(event); };
$("timeline").onpointermove = (event) => { if ($("timeline").hasPointerCapture(event.pointerId)) seek(event); };

// ---- Colour scheme, size, address

function setScheme(name) {
  scheme = name;
  document.documentElement.dataset.scheme = name === "auto" ? (night.matches ? "dark" : "light") : name;
  $("theme").textContent = { auto: "◐", light: "○", dark: "●" }[name];
  $("theme").setAttribute("aria-label", `Colour scheme: ${{ auto: "automatic", light: "light", dark: "dark" }[name]}`);
}
$("theme").onclick = () => { setScheme({ auto: "light", light: "dark", dark: "auto" }[scheme]); drawStage(); };
night.addEventListener("change", () => { setScheme(scheme); drawStage(); });
// A notebook keeps a frame out of sight without laying it out: all is drawn again once the stage has its width.
new ResizeObserver(() => { if (width !== $("stage").offsetWidth) { drawTimeline(); show(at, true); } }).observe($("stage"));

const asked = () => new URLSearchParams(location.hash.slice(1));
function fragment(change) {
  const now = asked();
  for (const [key, value] of Object.entries(change)) now.set(key, value);
  return `#${now}`;
}
const askedStep = () => (Number(asked().get("step")) || 1) - 1;
addEventListener("hashchange", () => { if (askedStep() !== at) go(askedStep()); });

/** Walks through everything and writes the verdict into the page: for tests without a person at the keyboard. */
function selfTest() {
  const wrong = [], must = (holds, what) => { if (!holds) wrong.push(what); };
  addEventListener("error", (event) => wrong.push(event.message));
  const press = (key, target = document.body) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  try {
    press("Home");
    steps.forEach((step, i) => {
      must(at === i, `step ${i + 1} was not reached with the arrow key`);
      must($("source").querySelector(".now"), `step ${i + 1} marks no line`);
      must(document.querySelectorAll("#outputs figure, #outputs p").length >= step.out.length, `step ${i + 1} shows too few values`);
      for (const node of document.querySelectorAll("figure")) {
        for (const canvas of node.querySelectorAll("canvas")) {
          const ink = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((x) => x);
          must(ink, `step ${i + 1}: ${node.dataset.name} is not drawn`);
        }
        if (node.view) { node.focus(); press("ArrowRight", node); must(at === i, "a cell's arrow key changed the step"); node.blur(); }
      }
      press("ArrowRight");
    });
    must(at === steps.length - 1, "the last step is not the end");
    for (let i = steps.length - 1; i > 0; i--) { must(at === i, "stepping back lost its place"); press("ArrowLeft"); }
    press("End"); must(at === steps.length - 1, "End");
    for (const [key, phase] of [["f", "forward"], ["B", "backward"]]) if (startOf(phase) >= 0) { press(key); must(at === startOf(phase), key); }
    press(" "); must(timer, "space does not play"); press(" "); must(!timer, "space does not pause");
    press("?"); must($("keys").open, "no help"); $("keys").close();
    for (const name of ["dark", "light"]) { setScheme(name); drawStage(); }
  } catch (error) { wrong.push(String(error)); }
  document.body.append(make("output", { id: "selftest" }, wrong.length ? `selftest failed: ${wrong.join("; ")}` : `selftest ok ${steps.length}`));
}

$("title").textContent = data.title;
setScheme(["light", "dark"].includes(asked().get("theme")) ? asked().get("theme") : "auto");
if (steps.length) { drawJump(); drawTimeline(); show(askedStep(), true); } else $("headline").textContent = "Nothing was recorded.";
if (testing) selfTest();
