"""Control flow: what lies on every path, against the definition; fixed points, against all paths; call graphs."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import isa
from bpf.insn import Insn
from tests.verifier.kit import program
from verifier import assume
from verifier.calls import Edge, callees_first
from verifier.cfg import FunctionGraph, solve, successors
from verifier.effects import clobbers, reads, writes
from verifier.subprogs import Function


@st.composite
def flows(draw: st.DrawFn) -> FunctionGraph:
    """A function of moves, jumps and exits, whose last instruction is an exit."""
    size = draw(st.integers(1, 12))
    insns = []
    for at in range(size - 1):
        to = draw(st.integers(0, size - 1)) - at - 1
        insns.append(
            draw(
                st.sampled_from(
                    [
                        Insn(isa.ALU64 | isa.MOV, 0),
                        Insn(isa.JMP | isa.JEQ, 0, off=to),
                        Insn(isa.JMP | isa.JEQ, 0, off=to),
                        Insn(isa.OP_JA, off=to),
                        Insn(isa.OP_EXIT),
                    ]
                )
            )
        )
    insns.append(Insn(isa.OP_EXIT))
    return FunctionGraph(insns, Function(0, 0, size))


def reaches_exit(graph: FunctionGraph, without: int) -> bool:
    if without == 0:
        return False
    seen, work = {0}, [0]
    while work:
        at = work.pop()
        if not graph.succ[at]:
            return True
        for target in graph.succ[at]:
            if target != without and target not in seen:
                seen.add(target)
                work.append(target)
    return False


@settings(max_examples=400)
@given(flows())
def test_unavoidable_is_what_cuts_the_entry_from_all_exits(graph: FunctionGraph) -> None:
    if not reaches_exit(graph, -1):
        assert graph.unavoidable == []
        return
    assert set(graph.unavoidable) == {at for at in graph.succ if not reaches_exit(graph, at)}
    assert graph.unavoidable[0] == 0


@settings(max_examples=200)
@given(flows())
def test_solve_finds_the_nodes_before_each_node(graph: FunctionGraph) -> None:
    """With sets of nodes as states, the state before a node is all that can come before it."""
    nothing: frozenset[int] = frozenset()
    states = solve(graph, nothing, lambda at, state: state | {at}, lambda a, b: a | b)
    assert set(states) == set(graph.succ)
    for at, before in states.items():
        expected: set[int] = set()
        work = [source for source in graph.succ if at in graph.succ[source]]
        while work:
            source = work.pop()
            if source not in expected:
                expected.add(source)
                work += [one for one in graph.succ if source in graph.succ[one]]
        assert before == expected


def test_leaving_makes_what_follows_avoidable() -> None:
    insns = [Insn(isa.OP_CALL, 0, 2), Insn(isa.ALU64 | isa.MOV, 0), Insn(isa.OP_EXIT)]
    assert FunctionGraph(insns, Function(0, 0, 3)).unavoidable == [0, 1, 2]
    assert FunctionGraph(insns, Function(0, 0, 3), leaves=frozenset({0})).unavoidable == [0]


def test_successors() -> None:
    insns = program("r1 = 7 ll\nif r1 == 0 goto +1\ngotol +0\nmay_goto -2\nr0 = 0\nexit").insns
    assert [successors(insns, at) for at in (0, 2, 3, 4, 5, 6)] == [(2,), (3, 4), (4,), (5, 3), (6,), ()]
    assert successors([Insn(isa.OP_GOTOX, 1)], 0, (3, 5)) == (3, 5)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_callees_come_first(pairs: list[tuple[int, int]]) -> None:
    edges = [[Edge(0, b, False) for a, b in pairs if a == node and a < b] for node in range(10)]
    order = callees_first(edges)
    assert sorted(order) == list(range(10))
    assert all(order.index(e.target) < order.index(node) for node in range(10) for e in edges[node])


def test_effects_name_the_registers() -> None:
    def one(text: str) -> Insn:
        return program(text + "\nexit").insns[0]

    rows = (
        ("r3 = r4", (4,), 1 << 3),
        ("r3 += r4", (4, 3), 1 << 3),
        ("r3 = -r3", (3,), 1 << 3),
        ("r3 = *(u32 *)(r4 + 8)", (4,), 1 << 3),
        ("*(u32 *)(r3 + 8) = r4", (4, 3), 0),
        ("*(u32 *)(r3 + 8) = 4", (3,), 0),
        ("r3 = *(u64 *)(r11 + 8)", (), 1 << 3),
        ("*(u64 *)(r11 - 8) = r4", (4,), 0),
        ("lock *(u64 *)(r3 + 0) += r4", (4, 3), 0),
        ("r4 = atomic_fetch_add((u64 *)(r3 + 0), r4)", (4, 3), 1 << 4),
        ("r0 = cmpxchg_64(r3 + 0, r0, r4)", (4, 3, 0), 1),
        ("if r3 > r4 goto +0", (4, 3), 0),
        ("if w3 > 7 goto +0", (3,), 0),
        ("r0 = *(u8 *)skb[7]", (6,), 1),
        ("goto +0", (), 0),
    )
    for text, read, written in rows:
        assert (reads(one(text)), writes(one(text))) == (read, written), text
    assert clobbers(one("call bpf_get_prandom_u32")) == 0b11_1111
    assert clobbers(one("r3 = r4")) == 0


def test_gotox_goes_where_its_table_says() -> None:
    text = (
        "map jumps: insn_array key 4 value 16 max 2\n"
        "elem 00000000 = 02000000000000000000000000000000\nelem 01000000 = 04000000000000000000000000000000\n"
        "prog tc\nint main(void *ctx):\nr0 = 0\ngotox r1\nr0 = 1\nexit\nr0 = 2\nexit\n"
    )
    verdict = assume(program(text))
    assert verdict.indirect_targets == {2, 4}
