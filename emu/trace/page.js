// Going from step to step: keys, mouse, searches.

function show(number) {
  if (!steps.length) return;
  here = Math.max(0, Math.min(number, steps.length - 1));
  const step = steps[here], state = states.go(here);
  showCode(step);
  showRegisters(step, state);
  showStack(step, state);
  showCall();
  showPlace(step, state);
  for (const old of document.querySelectorAll("#calls .entry.now")) old.classList.remove("now");
  for (const one of document.querySelectorAll('#calls .entry[data-step="' + here + '"]')) one.classList.add("now");
  $("#slider").value = here;
  $("#count").textContent = "step " + here + " of " + (steps.length - 1);
  moveMap(here);
}

function showPlace(step, state) {
  const insn = insnOf(step), native = nativeOf(step), parts = [];
  const name = step.fn >= 0 ? trace.functions[step.fn].name : "no function";
  const runs = trace.runs.filter((run) => run.first <= here).length;
  if (trace.runs.length > 1) parts.push("run " + runs);
  parts.push(name + ", frame " + (depths[here] - 1));
  parts.push(insn ? "insn " + insn[0] + ": " + insn[1] : step.fn >= 0 && step.off < trace.functions[step.fn].prologue ? "prologue" : "no BPF instruction");
  parts.push(native ? "+" + hex(native[0]) + " " + native[2] : "no native code: dropped by the verifier, or nothing to do");
  const box = $("#here");
  box.replaceChildren(clean(parts.join("  ·  ")));
  const found = trace.findings.filter((one) => one.step === here || one.seen === here);
  for (const one of found.slice(0, 4)) box.append(make("span", { class: "found" }, (one.step === here ? "" : "seen here: ") + one.kind + ": " + one.text));
  if (found.length > 4) box.append(make("span", { class: "found" }, found.length - 4 + " more, in the list"));
  const run = trace.runs[runs - 1];
  const last = run && here === (runs < trace.runs.length ? trace.runs[runs].first : steps.length) - 1 && !(trace.stop !== null && trace.cut);
  if (last) box.append(make("span", { class: "end" }, run.interp === run.sandbox ? "then: " + run.interp : "then: interpreter " + run.interp + "; sandbox " + run.sandbox));
}

function say(text) {
  $("#said").textContent = clean(text);
}

// The next step behind this one for which `wanted` holds, from the beginning again where there is none.
function goNext(wanted, what) {
  for (let count = 1; count <= steps.length; count += 1) {
    const number = (here + count) % steps.length;
    if (wanted(steps[number])) {
      show(number);
      say(number <= here - count ? "went on from the first step" : "");
      return true;
    }
  }
  say(what || "that is not reached in this trace");
  return false;
}

function goTo(from, by, wanted, what) {
  for (let number = from; number >= 0 && number < steps.length; number += by) {
    if (wanted(steps[number], number)) {
      say("");
      return show(number);
    }
  }
  return say(what);
}

// The step whose instruction wrote something: the one before the step that shows it changed.
function goWriter(changed, what) {
  for (let number = here; number > 0; number -= 1) {
    if (changed(steps[number])) {
      say(what + " was written here");
      return show(number - 1);
    }
  }
  return say(what + " was not written in this trace");
}

const calls = trace.calls.map((call) => call.step);
const moves = {
  first: () => show(0),
  last: () => show(steps.length - 1),
  back: () => show(here - 1),
  on: () => show(here + 1),
  bpfback: () => goTo(here - 1, -1, (step) => step.begins, "no BPF instruction before this step"),
  bpfon: () => goTo(here + 1, 1, (step) => step.begins, "no BPF instruction behind this step"),
  over: () => { const depth = depths[here]; goTo(here + 1, 1, (step, number) => depths[number] <= depth && step.begins, "the trace ends before that"); },
  out: () => { const depth = depths[here]; goTo(here - 1, -1, (_step, number) => depths[number] < depth, "this function was not called by another one"); },
  callon: () => { const found = calls.find((step) => step > here); found === undefined ? say("no call behind this step") : (say(""), show(found)); },
  callback: () => { const found = calls.filter((step) => step < here).pop(); found === undefined ? say("no call before this step") : (say(""), show(found)); },
  difference: () => {
    const places = [...new Set(trace.findings.map((one) => one.step))];
    if (!places.length) return say("nothing differs in this trace");
    const at = places.indexOf(here);
    say(places.length > 1 ? "difference " + (((at + 1) % places.length) + 1) + " of " + places.length : "");
    return show(places[(at + 1) % places.length]);
  },
};
const KEYS = { ArrowLeft: "back", ArrowRight: "on", ArrowUp: "bpfback", ArrowDown: "bpfon", Home: "first", End: "last", n: "callon", p: "callback", d: "difference", o: "over", u: "out" };

function jump(text) {
  const wanted = text.trim();
  if (!wanted) return;
  if (/^#\d+$/.test(wanted)) {
    const number = Number(wanted.slice(1));
    if (number < steps.length) { say(""); show(number); } else say("the last step is #" + (steps.length - 1));
  } else if (/^\d+$/.test(wanted)) {
    goNext((step) => step.begins && step.insn === Number(wanted), "BPF instruction " + wanted + " is not reached in this trace");
  } else if (/^0x[0-9a-f]+$/i.test(wanted)) {
    const number = BigInt(wanted), fn = steps[here].fn;
    goNext((step) => step.fn >= 0 && step.off !== null && ((step.fn === fn && BigInt(step.off) === number) || BigInt(trace.functions[step.fn].addr) + BigInt(step.off) === number), "no step at " + wanted);
  } else {
    const low = wanted.toLowerCase();
    goNext((step) => [(insnOf(step) || [])[1], (nativeOf(step) || [])[2], (sourceOf(step) || [])[2]].some((each) => each && each.toLowerCase().includes(low)), "no step has " + wanted);
  }
}

function begin() {
  $("#name").textContent = clean(trace.name);
  $("#verdict").textContent = trace.verdict;
  $("#verdict").classList.add(trace.verdict.replace(" ", "-"));
  const facts = [steps.length + " steps", trace.calls.length + " calls", trace.runs.length + (trace.runs.length === 1 ? " run" : " runs"), "profile " + trace.profile];
  if (trace.mutant) facts.push("planted fault: " + trace.mutant);
  $("#facts").textContent = clean(facts.join(" · "));
  $("#cut").hidden = !trace.cut;
  $("#cut").textContent = clean(trace.cut || "");
  if (!trace.programs.some((one) => one.sources.length)) document.body.classList.add("nosource");
  const kinds = { caller: "arguments in", link: "return address, rbp", stack: "program stack", count: "tail-call count", saved: "saved registers", temporary: "pushed", outgoing: "arguments out", kernel: "kernel" };
  const used = new Set(trace.shapes.flat().map((row) => row[2]));
  $(".legend").append(...Object.entries(kinds).filter(([kind]) => used.has(kind)).map(([kind, what]) => make("span", { class: "chip " + kind }, what)));
  lists();
  $("#slider").max = Math.max(steps.length - 1, 0);
  $("#slider").addEventListener("input", (event) => show(Number(event.target.value)));
  for (const button of document.querySelectorAll("[data-go]")) button.addEventListener("click", () => moves[button.dataset.go]());
  if (!trace.findings.length) $('[data-go="difference"]').disabled = true;
  $("#all").addEventListener("change", () => show(here));
  $("#jump").addEventListener("submit", (event) => { event.preventDefault(); jump($("#where").value); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.id === "where") {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") { event.preventDefault(); $("#where").focus(); $("#where").select(); return; }
    const move = KEYS[event.key];
    if (!move) return;
    event.preventDefault();
    moves[move]();
  });
  const hash = location.hash.match(/^#step=(\d+)$/);
  show(hash ? Number(hash[1]) : trace.stop === null ? 0 : trace.stop);
}

const moveMap = drawMap();
begin();
