"""Fails if modules of the library use each other in a circle: files, or whole rooms of src/.

A room is a file of src/ with the folder of its name. What a parent only re-exports from its
children is no use of them, and tests may use what they like.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
# The binary is another crate; the root declares and re-exports, and the rest is for tests.
NOT_ROOMS = {"lib", "bin", "fuzzing", "vectors", "now"}

LITERALS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])'""",
    re.DOTALL,
)
USE = re.compile(r"(?P<public>pub(?:\([^)]*\))?\s+)?use\s+(?P<tree>[^;]+);")
PATH = re.compile(r"(?<![\w:])(\$?crate|super|self|[a-z_]\w*)((?:\s*::\s*\w+)+)")
VISIBILITY = re.compile(r"pub\(in [^)]*\)")
CHILD = re.compile(r"(?P<test>#\[cfg\([^\]]*\btest\b[^\]]*\)\]\s*(?:#\[[^\]]*\]\s*)*)?(?:pub(?:\([^)]*\))?\s+)?mod\s+(?P<name>\w+)\s*(?P<end>[;{])")


def without_tests(code):
    """The code without its test modules, and the names of those that are files."""
    files = set()
    while found := next((m for m in CHILD.finditer(code) if m["test"]), None):
        end = found.end()
        if found["end"] == ";":
            files.add(found["name"])
        else:
            depth = 1
            while depth:
                depth += {"{": 1, "}": -1}.get(code[end], 0)
                end += 1
        code = code[: found.start()] + code[end:]
    return code, files


def leaves(tree, prefix=()):
    """Each path of a use tree, with the name it gets."""
    tree = tree.strip()
    if "{" in tree:
        head, _, rest = tree.partition("{")
        prefix += tuple(part.strip() for part in head.split("::") if part.strip())
        depth, start = 0, 0
        inner = rest.rstrip()[:-1] + ","
        for at, char in enumerate(inner):
            depth += {"{": 1, "}": -1}.get(char, 0)
            if char == "," and depth == 0:
                if part := inner[start:at].strip():
                    yield from leaves(part, prefix)
                start = at + 1
        return
    path, _, name = tree.partition(" as ")
    path = prefix + tuple(part.strip() for part in path.split("::"))
    if path[-1] == "self":
        path = path[:-1]
    yield path, (name.strip() or path[-1])


class Module:
    def __init__(self, path):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        self.path = () if parts == ("lib",) else parts
        self.code, self.test_files = without_tests(LITERALS.sub("", path.read_text()))
        self.uses = [
            (path, name, bool(use["public"]))
            for use in USE.finditer(self.code)
            for path, name in leaves(use["tree"])
        ]
        self.body = VISIBILITY.sub("", USE.sub("", self.code))


modules = {module.path: module for module in map(Module, sorted(SOURCE.rglob("*.rs")))}
tests = {path + (name,) for path, module in modules.items() for name in module.test_files}
modules = {
    path: module
    for path, module in modules.items()
    if not any(path[: len(test)] == test for test in tests) and path[:1] != ("bin",)
}


def absolute(module, path):
    """A path from the root of the crate; `None` for one of another crate."""
    at = list(module.path)
    first, *rest = path
    if first in ("crate", "$crate"):
        at = []
    elif first == "self":
        pass
    elif first == "super":
        at = at[:-1]
        while rest and rest[0] == "super":
            at, rest = at[:-1], rest[1:]
    elif tuple(at) + (first,) in modules:
        rest = list(path)
    else:
        return None
    return tuple(at) + tuple(rest)


def home(path, seen=()):
    """The module that defines what an absolute path names."""
    known = max(
        (path[:length] for length in range(len(path) + 1) if path[:length] in modules), key=len
    )
    if known == path or path in seen:
        return known
    name = path[len(known)]
    for used, given, public in modules[known].uses:
        if public and given == name and (target := absolute(modules[known], used)) is not None:
            return home(target, (*seen, path))
    return known


arrows = defaultdict(lambda: defaultdict(set))
for module in modules.values():
    paths = []
    for path, name, public in module.uses:
        target = absolute(module, path)
        is_child = target is not None and target[: len(module.path)] == module.path
        is_used = re.search(rf"\b{re.escape(name)}\b", module.body)
        if target is not None and (is_used or not (public and is_child)):
            paths.append(target)
    for found in PATH.finditer(module.body):
        path = (found[1], *(part.strip() for part in found[2].split("::") if part.strip()))
        target = absolute(module, path)
        if target is not None:
            paths.append(target)
    for target in paths:
        to = home(target)
        if to != module.path:
            arrows[module.path][to].add(target[-1])


def circles(graph):
    """The sets of nodes that reach each other: Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for next_node in graph.get(node, ()):
            if next_node not in index:
                visit(next_node)
            if next_node in stack:
                low[node] = min(low[node], low[next_node])
        if low[node] == index[node]:
            circle = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(circle) > 1:
                found.append(circle)

    for node in list(graph):
        if node not in index:
            visit(node)
    return found


def report(kind, graph, show):
    found = circles(graph)
    for circle in found:
        print(f"these {kind} use each other:")
        for node in sorted(circle):
            for to in sorted(set(graph[node]) & set(circle)):
                names = ", ".join(sorted(graph[node][to]))
                print(f"  {show(node)} uses {show(to)}: {names}")
    return bool(found)


def is_room(path):
    return path and path[0] not in NOT_ROOMS


rooms = defaultdict(lambda: defaultdict(set))
for source, targets in arrows.items():
    for to, names in targets.items():
        if is_room(source) and is_room(to) and source[0] != to[0]:
            rooms[source[0]][to[0]] |= names
files = {
    source: {to: names for to, names in targets.items() if is_room(to)}
    for source, targets in arrows.items()
    if is_room(source)
}

sys.setrecursionlimit(10_000)
bad = report("modules", files, lambda path: "src/" + "/".join(path) + ".rs")
bad |= report("rooms", rooms, str)
if bad:
    sys.exit(1)
count = sum(len(targets) for targets in files.values())
print(f"{len(files)} modules, {count} uses between them, and no circle")
