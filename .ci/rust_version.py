"""Prints the Rust version that the default features need; fails if Cargo.toml says another."""

import json
import subprocess
import sys

metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1"]))
packages = {package["id"]: package for package in metadata["packages"]}
needs = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]


def version(package):
    numbers = (packages[package]["rust_version"] or "1.0").split(".")
    return int(numbers[0]), int(numbers[1])


dependencies, found = set(), [root]
while found:
    for need in needs[found.pop()]:
        is_dev = all(kind["kind"] == "dev" for kind in need["dep_kinds"])
        if not is_dev and need["pkg"] not in dependencies:
            dependencies.add(need["pkg"])
            found.append(need["pkg"])

most = max(dependencies, key=version)
if version(most) != version(root):
    sys.exit(
        f"rust-version is {packages[root]['rust_version']}, and {packages[most]['name']} "
        f"{packages[most]['version']} needs {packages[most]['rust_version']}"
    )
print(packages[root]["rust_version"])
