// One step in the panes of the page. All text of the trace is put in as text, never as markup.

const $ = (selector) => document.querySelector(selector);
const states = new States();
const seen = {}; // panes: what they show now
let here = 0;

// Control characters and those that turn the direction of writing have no place in a line of code.
const clean = (text) => String(text).replace(/\t/g, "    ").replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "click") node.addEventListener("click", value);
    else if (value !== null && value !== false) node.setAttribute(name, clean(value === true ? "" : value));
  }
  for (const child of children) node.append(child instanceof Node ? child : document.createTextNode(clean(child)));
  return node;
}

// ---- code

const panes = { bpf: new Map(), source: new Map(), native: new Map() };

function line(number, text, extra, click, title) {
  return make("button", { type: "button", class: "line", click, title: title || null }, make("span", { class: "n" }, number), make("span", { class: "t" }, text), ...(extra ? [make("span", { class: "x" }, extra)] : []));
}

// The lines of a pane for what is shown now; made once for each function.
function pane(name, key, build) {
  const made = panes[name];
  if (!made.has(key)) made.set(key, build());
  const { box, lines } = made.get(key);
  if (seen[name] !== key) {
    $("#" + name + " .scroll").replaceChildren(box);
    seen[name] = key;
  }
  return lines;
}

function bpfLines(program, start) {
  const box = make("div"), lines = new Map(), starts = trace.programs[program].functions;
  const next = starts.find(([at]) => at > start), end = next ? next[0] : Infinity;
  for (const [number, text] of trace.programs[program].insns) {
    if (number < start || number >= end) continue;
    const one = line(number, text, "", () => goNext((step) => step.begins && step.insn === number && programOf(step) === program));
    lines.set(number, one);
    box.append(one);
  }
  return { box, lines };
}

function sourceLines(program, start) {
  const box = make("div"), lines = new Map(), { sources, functions } = trace.programs[program];
  const next = functions.find(([at]) => at > start), end = next ? next[0] : Infinity;
  const wanted = new Set(trace.programs[program].insns.filter(([number]) => number >= start && number < end).map((insn) => insn[2]));
  const shown = sources.map((source, index) => [index, ...source]).filter(([index]) => wanted.has(index));
  shown.sort((a, b) => (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : a[2] - b[2]));
  let file = null, before = 0;
  for (const [index, name, number, text] of shown) {
    if (name !== file) box.append(make("div", { class: "file", title: name }, name.split("/").pop()));
    else if (number > before + 1) box.append(make("div", { class: "gap" }, "⋯"));
    [file, before] = [name, number];
    const one = line(number, text, "", () => goNext((step) => step.begins && programOf(step) === program && (insnOf(step) || [])[2] === index));
    lines.set(index, one);
    box.append(one);
  }
  if (!shown.length) box.append(make("p", { class: "dim" }, "no line information"));
  return { box, lines };
}

function nativeLines(fn) {
  const box = make("div"), lines = new Map(), one = trace.functions[fn];
  let before = -1;
  for (const [off, bytes, text, insn] of one.natives) {
    const [mnemonic, ...operands] = text.split(" "), first = insn !== before;
    const row = line(off.toString(16).padStart(4, "0"), mnemonic.padEnd(6) + " " + operands.join(" "), bytes, () => goNext((step) => step.fn === fn && step.off === off), hex(BigInt(one.addr) + BigInt(off)) + "  " + bytes);
    row.prepend(make("span", { class: "i" }, !first ? "" : insn !== null ? insn : off < one.prologue ? "prol." : ""));
    if (first) row.classList.add("first");
    before = insn;
    lines.set(off, row);
    box.append(row);
  }
  return { box, lines };
}

function mark(name, current, also) {
  const box = $("#" + name + " .scroll");
  for (const old of box.querySelectorAll(".now, .also")) {
    old.classList.remove("now", "also");
    old.removeAttribute("aria-current");
  }
  for (const one of also || []) one.classList.add("also");
  if (!current) return;
  current.classList.add("now");
  current.setAttribute("aria-current", "step");
  reveal(box, current);
}

// Scroll a pane, and only the pane, so that a line is well inside.
function reveal(box, line) {
  const top = line.getBoundingClientRect().top - box.getBoundingClientRect().top, room = box.clientHeight;
  const margin = Math.min(60, room / 4);
  if (top < margin || top + line.offsetHeight > room - margin) box.scrollTop += top - room * 0.4;
}

function showCode(step) {
  const program = programOf(step), native = nativeOf(step);
  if (step.fn >= 0) {
    const name = trace.functions[step.fn].name;
    title("native", "Native", name + " at " + trace.functions[step.fn].addr);
    const lines = pane("native", step.fn, () => nativeLines(step.fn));
    const also = trace.functions[step.fn].natives.filter((each) => step.insn !== null && each[3] === step.insn).map((each) => lines.get(each[0]));
    mark("native", native ? lines.get(native[0]) : null, also);
  }
  if (program < 0) return;
  const starts = trace.programs[program].functions;
  const within = starts.filter(([at]) => at <= (step.insn === null ? trace.functions[step.fn].start : step.insn)).pop() || starts[0];
  title("bpf", "BPF", within[1]);
  const lines = pane("bpf", program + ":" + within[0], () => bpfLines(program, within[0]));
  mark("bpf", step.insn === null ? null : lines.get(step.insn));
  const sources = pane("source", program + ":" + within[0], () => sourceLines(program, within[0]));
  const insn = insnOf(step);
  mark("source", insn && insn[2] !== null ? sources.get(insn[2]) : null);
}

function title(name, what, of) {
  $("#" + name + " h2").replaceChildren(clean(what) + " ", make("small", {}, of));
}

// ---- registers

const OTHERS = ["rsp", "rbp", "rax", "r9", "r10", "r11", "r12"];

function showRegisters(step, state) {
  const body = $("#regs tbody"), rows = [];
  const names = step.fn >= 0 ? trace.functions[step.fn].registers : [];
  names.forEach((native, number) => rows.push(register("r" + number, native, step, state)));
  for (const name of Object.keys(state.bpf).filter((each) => /^(in|out)/.test(each) && state.bpf[each] !== null).sort(byArgument)) {
    const [place, value] = names.length ? argumentPlace(name, state) : ["", null], number = Number(name.replace(/^\D+/, ""));
    const label = "r11" + (name.startsWith("in") ? "+" : "-") + 8 * (number - 5);
    rows.push(register(label, place, step, state, name, value, (name.startsWith("in") ? "incoming argument " : "argument of the next call: ") + number));
  }
  rows.push(make("tr", { class: "rule" }, make("td", { colspan: 4 })));
  for (const native of OTHERS) if (!names.includes(native)) rows.push(register("", native, step, state));
  body.replaceChildren(...rows);
}

function byArgument(a, b) {
  return a.startsWith("out") - b.startsWith("out") || Number(a.replace(/^\D+/, "")) - Number(b.replace(/^\D+/, ""));
}

function register(bpf, native, step, state, name, given, hint) {
  const memory = native.startsWith("["), key = name || bpf;
  const have = given === undefined ? state.regs[native] : given, want = key ? state.bpf[key] : undefined;
  const changed = !memory && step.regs && native in step.regs, parts = state.marks.includes(key);
  const value = have === null || have === undefined ? "" : have;
  const meaning = value ? spellSandbox(value, state) : "";
  const cell = value
    ? make("button", { type: "button", class: "v", title: "go to what wrote " + native + ": " + value, click: () => goWriter(memory ? (each) => changedArgument(each, native, state) : (each) => each.regs && native in each.regs, native) }, value)
    : "";
  const text = !key ? "" : want === undefined || want === null ? "–" : want === have ? "=" : parts ? "≠" : spellReference(want) || want;
  return make("tr", { class: (changed ? "changed " : "") + (parts ? "parts" : ""), title: hint || null },
    make("th", { scope: "row" }, bpf), make("td", { class: "r" }, native),
    make("td", { class: text === "=" || text === "–" ? "dim" : "", title: text === "–" ? "undefined" : null }, text),
    make("td", {}, cell, " ", make("span", { class: "dim" }, meaning), ...(parts ? [make("div", {}, "interp. " + want)] : [])));
}

// Whether a step has changed the word of the stack that an argument is in now.
function changedArgument(step, place, state) {
  const [, base, off] = place.match(/\[(\w+)\+(\w+)\]/);
  return step.words && hex(BigInt(state.regs[base]) + BigInt(off)) in step.words;
}

// ---- the stack

function showStack(step, state) {
  const rows = [], all = $("#all").checked;
  let activation = null, untouched = 0, why = "";
  const flush = () => {
    if (untouched) rows.push(make("tr", { class: "none" }, make("td"), make("td"), make("td", { colspan: 2 }, "⋯ " + untouched + (untouched === 1 ? " word" : " words") + why)));
    untouched = 0;
  };
  for (const word of stackWords(state)) {
    const value = wordAt(state, word.addr), slot = word.frame + (word.off + 16 < 0 ? "" : "+") + (word.off + 16);
    const want = word.kind === "stack" ? state.slots[slot] : undefined;
    const changed = step.words && word.addr in step.words, parts = state.marks.includes("fp" + slot);
    const idle = word.kind === "stack" && !changed && !parts && value === FILL && (want === undefined || want === FILL);
    if (!all && (idle || word.kind === "kernel")) {
      const reason = idle ? " nobody wrote to" : ": " + word.what;
      if (reason !== why) flush();
      why = reason;
      if (!untouched && word.activation !== activation) rows.push(frameRow(trace.activations[(activation = word.activation)]));
      untouched += 1;
      continue;
    }
    flush();
    if (word.activation !== activation && word.activation >= 0) {
      activation = word.activation;
      rows.push(frameRow(trace.activations[activation]));
    }
    rows.push(wordRow(word, value, want, changed, parts, state));
  }
  flush();
  const box = $("#stack .scroll"), low = rows.length;
  $("#stack tbody").replaceChildren(...rows);
  if (low) box.scrollTop = box.scrollHeight;
}

function frameRow(one) {
  const by = one.by ? " by " + one.by : one.insn === null ? "" : " from insn " + one.insn;
  return make("tr", { class: "frame" }, make("th", { colspan: 4, scope: "colgroup" }, trace.functions[one.function].name + " ", make("small", {}, "frame " + one.frame + by + ", CFA " + one.cfa)));
}

function wordRow(word, value, want, changed, parts, state) {
  const points = ["rbp", "rsp"].filter((reg) => state.regs[reg] === word.addr).join(" ");
  const what = word.kind === "stack" ? "r10" + (word.off + 16) : word.what, meaning = spellSandbox(value, state);
  const owner = make("td", { class: "o" }, make("span", { class: "chip " + word.kind }, what));
  if (meaning && value !== FILL) owner.append(" ", make("span", { class: "m" }, meaning));
  if (word.note) owner.append(" ", make("span", { class: "dim note" }, word.note));
  if (want !== undefined && want !== value && (parts || spellReference(want) !== meaning)) owner.append(" ", make("span", { class: parts ? "want" : "dim" }, (parts ? "≠ " : "") + "interpreter " + want));
  return make("tr", { class: word.kind + (changed ? " changed" : "") + (parts ? " parts" : "") + (value === FILL ? " fill" : "") },
    make("td", { class: "p" }, points ? points + " ▸" : ""),
    make("td", { class: "a", title: word.addr }, make("span", {}, word.addr.slice(0, -6)), word.addr.slice(-6)),
    make("td", {}, make("button", { type: "button", class: "v", title: "go to what wrote " + word.addr, click: () => goWriter((each) => each.words && word.addr in each.words, word.addr) }, value.slice(0, 2) + value.slice(2).padStart(16, "0"))),
    owner);
}

// ---- calls and findings

function showCall() {
  const box = $("#call"), mine = trace.calls.filter((call) => call.step <= here).pop();
  const past = mine && mine.step !== here;
  if (seen.call === mine && seen.past === past) return;
  [seen.call, seen.past] = [mine, past];
  box.replaceChildren(...(mine ? [callTable(mine, past ? "last call: " : "")] : []));
}

// The arguments of a call from both ends.
function callTable(call, before) {
  const body = call.args.map((arg) => {
    const native = arg.found === arg.put_native ? arg.found : arg.put_native + " → " + arg.found;
    return make("tr", { class: arg.differs ? "parts" : "" }, make("th", { scope: "row" }, arg.arg), make("td", {}, arg.param), make("td", { class: "r" }, arg.put), make("td", { class: "r" }, native),
      make("td", { class: "num" }, ...(arg.differs ? ["interp. " + arg.interp, make("br"), "sandbox " + arg.sandbox + " ≠"] : [arg.sandbox])));
  });
  const head = make("tr", {}, ...["", "parameter", "put in", "native → found in", "value"].map((name) => make("th", { scope: "col" }, name)));
  return make("table", {}, make("caption", {}, before + callText(call)), make("thead", {}, head), make("tbody", {}, ...body));
}

function callText(call) {
  const where = call.insn === null ? "" : "insn " + call.insn + " ", verb = call.kind === "callback" ? "is called back" : "";
  const ret = call.ret.interp === call.ret.sandbox ? call.ret.interp : call.ret.interp + " ≠ " + call.ret.sandbox;
  return where + (verb ? call.callee + " " + verb : "calls " + call.callee) + " → " + ret;
}

function lists() {
  const entry = (step, text, bad) => make("li", {}, make("button", { type: "button", class: bad ? "entry bad" : "entry", "data-step": step, click: () => show(step) }, make("span", { class: "n" }, step), text));
  $("#findings").append(...trace.findings.map((one) => {
    const item = entry(one.step, one.kind + ": " + one.text, true);
    if (one.seen > one.step + 1) item.append(make("button", { type: "button", class: "entry", "data-step": one.seen, click: () => show(one.seen) }, make("span", { class: "n" }, one.seen), "where it shows"));
    return item;
  }));
  if (trace.after) $("#after").append(callTable(trace.after, "what it leads to, behind the end: "));
  const most = 2000;
  $("#list").append(...trace.calls.slice(0, most).map((call) => entry(call.step, callText(call), call.differs)));
  if (trace.calls.length > most) $("#list").append(make("li", { class: "dim" }, trace.calls.length - most + " more; n goes to them"));
}

// ---- the map: how deep calls are, where they are, and what was found

function drawMap() {
  const svg = $("#map"), width = Math.min(steps.length, 1200), high = Math.max(2, ...sampled(width)) + 1;
  const node = (tag, attributes) => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    svg.append(one);
    return one;
  };
  svg.setAttribute("viewBox", "0 0 " + width + " " + high);
  const scale = (step) => (steps.length > 1 ? (step / (steps.length - 1)) * width : 0);
  node("path", { class: "depth", d: "M0 " + high + sampled(width).map((depth, x) => "V" + (high - depth) + "H" + (x + 1)).join("") + "V" + high + "Z" });
  for (const call of trace.calls.slice(0, 1000)) node("path", { class: call.differs ? "bad" : "call", d: "M" + scale(call.step) + " 0V.5" });
  for (const one of trace.findings) node("path", { class: "bad", d: "M" + scale(one.step) + " 0V" + high });
  const now = node("path", { class: "now", d: "" });
  return (step) => now.setAttribute("d", "M" + scale(step) + " 0V" + high);
}

function sampled(width) {
  const out = new Array(width).fill(0);
  depths.forEach((depth, step) => {
    const x = Math.min(Math.floor((step * width) / steps.length), width - 1);
    out[x] = Math.max(out[x], depth);
  });
  return out;
}
