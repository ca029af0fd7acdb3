"use strict";
// The trace and the state at each of its steps: deltas, added up. Knows nothing of the page.

const trace = JSON.parse(document.getElementById("trace").textContent);
const steps = trace.steps;
const FILL = "0xa5a5a5a5a5a5a5a5"; // of stacks that nobody wrote to
const EVERY = 512; // steps between two states that are kept

class States {
  constructor() {
    this.kept = [];
    this.now = { regs: {}, words: {}, frames: [], bpf: {}, slots: {}, marks: [] };
    this.at = -1;
  }

  // The state at step `number`; the same object each time.
  go(number) {
    if (number < this.at || number - this.at > EVERY) {
      const kept = this.kept[Math.min(Math.floor(number / EVERY), this.kept.length - 1)];
      if (kept && (number < this.at || kept.at > this.at)) {
        this.now = copied(kept.state);
        this.at = kept.at;
      }
    }
    while (this.at < number) this.add(this.at + 1);
    return this.now;
  }

  add(number) {
    const step = steps[number], now = this.now;
    Object.assign(now.regs, step.regs);
    Object.assign(now.words, step.words);
    Object.assign(now.bpf, step.bpf);
    Object.assign(now.slots, step.slots);
    if (step.frames) now.frames = step.frames;
    if (step.begins) now.marks = step.marks || [];
    this.at = number;
    if (number % EVERY === 0 && this.kept.length === number / EVERY) this.kept.push({ at: number, state: copied(now) });
  }
}

function copied(state) {
  return {
    regs: { ...state.regs }, words: { ...state.words }, bpf: { ...state.bpf }, slots: { ...state.slots },
    frames: state.frames, marks: state.marks,
  };
}

const hex = (big) => "0x" + big.toString(16);
const wordAt = (state, addr) => state.words[addr] || FILL;

// How many functions are under way at each step, and the native instruction of each, as an index in its function.
const depths = [];
for (const step of steps) depths.push(step.frames ? step.frames.length : depths.length ? depths[depths.length - 1] : 0);

const offsets = trace.functions.map((one) => new Map(one.natives.map((native, index) => [native[0], index])));
const insns = trace.programs.map((one) => new Map(one.insns.map((insn) => [insn[0], insn])));

function programOf(step) {
  return step.fn < 0 ? -1 : trace.functions[step.fn].program;
}

function insnOf(step) {
  const program = programOf(step);
  return program < 0 || step.insn === null ? null : insns[program].get(step.insn) || null;
}

function nativeOf(step) {
  if (step.fn < 0 || step.off === null) return null;
  const index = offsets[step.fn].get(step.off);
  return index === undefined ? null : trace.functions[step.fn].natives[index];
}

function sourceOf(step) {
  const insn = insnOf(step);
  return insn === null || insn[2] === null ? null : trace.programs[programOf(step)].sources[insn[2]];
}

// ---- what numbers mean

const spans = trace.functions.map((one) => {
  const low = BigInt(one.addr), last = one.natives[one.natives.length - 1];
  return { low, high: low + BigInt(last ? last[0] + last[1].length / 2 : 0), one };
});

function frameText(frame, off) {
  return "fp" + frame + (off ? "-" + off : "");
}

// Of a value of the reference interpreter, "" where it is just a number.
function spellReference(value) {
  const below = BigInt(trace.stacks.top) - BigInt(value), spacing = BigInt(trace.stacks.spacing);
  if (below >= 0n && below < 64n * spacing && below % spacing <= 512n) return frameText(below / spacing, below % spacing);
  return trace.names[value] || "";
}

// Of a native value.
function spellSandbox(value, state) {
  if (trace.names[value]) return trace.names[value];
  const number = BigInt(value);
  for (const { low, high, one } of spans) {
    if (number < low || number >= high) continue;
    const off = Number(number - low), native = one.natives.filter((each) => each[0] <= off).pop();
    return one.name + "+" + hex(off) + (native && native[3] !== null ? " (insn " + native[3] + ")" : "");
  }
  for (const [activation, shape] of [...state.frames].reverse()) {
    const one = trace.activations[activation], rows = trace.shapes[shape], top = BigInt(one.cfa) - 16n;
    const low = rows.length ? rows[rows.length - 1][0] : 0;
    if (number <= top && number >= BigInt(one.cfa) + BigInt(low)) return frameText(one.frame, top - number);
  }
  return "";
}

// ---- the stack as a list of words, from high to low addresses

// Each: {addr, off (from the CFA), kind, what, note, frame, activation}; the words below rsp are of kind "free".
function stackWords(state) {
  const words = [];
  state.frames.forEach(([activation, shape], index) => {
    const one = trace.activations[activation], cfa = BigInt(one.cfa), inner = state.frames[index + 1];
    const floor = inner ? BigInt(trace.activations[inner[0]].cfa) + BigInt(topOf(inner[1])) : 0n;
    for (const [low, size, kind, what, note] of trace.shapes[shape]) {
      for (let off = low + size - 8; off >= low; off -= 8) {
        const addr = cfa + BigInt(off);
        if (addr >= floor) words.push({ addr: hex(addr), off, kind, what, note, frame: one.frame, activation });
      }
    }
  });
  const rsp = state.regs.rsp;
  for (let below = 1n; rsp && below <= 2n; below += 1n)
    words.push({ addr: hex(BigInt(rsp) - 8n * below), off: 0, kind: "free", what: "below rsp", note: "", frame: -1, activation: -1 });
  return words;
}

function topOf(shape) {
  return trace.shapes[shape].reduce((top, row) => Math.max(top, row[0] + row[1]), 0);
}

// Where native code has an argument now: [place, value or null]. `in7` and `out7` are its names in the trace.
function argumentPlace(name, state) {
  const number = Number(name.replace(/^\D+/, "")), incoming = name.startsWith("in");
  if (number === 6) return ["r9", incoming ? null : state.regs.r9];
  const base = incoming ? "rbp" : "rsp", off = 8 * (number - 7) + (incoming ? 16 : 0);
  return ["[" + base + "+" + hex(off) + "]", wordAt(state, hex(BigInt(state.regs[base]) + BigInt(off)))];
}
