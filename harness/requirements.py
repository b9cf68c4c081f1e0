"""Installed versions that fight: what the metadata of each library asks of the others, held against what is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from harness.environment import LIBRARIES
from harness.findings import Finding, ok, problem, warning

if TYPE_CHECKING:
    from packaging.requirements import Requirement

SUBJECT = "versions"
US = "bench"


def version_findings() -> list[Finding]:
    """What is missing or out of range of what installed libraries require.

    A problem where bench uses the library, a warning where it does not: other tools may share this environment. Of the
    libraries that bench uses, extras named like what they ask for count, too, as warnings, if that is installed:
    `trl[vllm]` states which vLLM it works with.
    """
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return [warning(SUBJECT, "not compared: packaging is not installed", "pip install packaging")]
    packages = _packages()
    found, compared = [], 0
    for name, package in sorted(packages.items()):
        for wanted in package.requires or ():
            try:
                requirement = Requirement(wanted)
            except InvalidRequirement:
                continue
            compared += 1
            if finding := _unmet(name, requirement, packages):
                found.append(finding)
    return found or [ok(SUBJECT, f"none fight: {compared} requirements of {len(packages)} packages compared")]


def _packages() -> Mapping[str, metadata.Distribution]:
    """What is installed, by normalised name; what comes first on the path hides another of the same name."""
    packages: dict[str, metadata.Distribution] = {}
    for found in metadata.distributions():
        # A distribution that was removed by halves has no metadata.
        if found.metadata and (name := found.metadata["Name"]):
            packages.setdefault(_normal(name), found)
    return packages


def _unmet(name: str, requirement: Requirement, packages: Mapping[str, metadata.Distribution]) -> Finding | None:
    target = _normal(requirement.name)
    ours = name in map(_normal, LIBRARIES)
    extra = _extra_for(requirement, target, every=name == US)
    here = packages.get(target)
    if extra is None or (extra and not (ours and here)):
        return None
    if here and requirement.specifier.contains(here.version, prereleases=True):
        return None
    wanted = f"{requirement.name}{requirement.specifier}"
    who = f"{name}[{extra}]" if extra else name
    there = f"{here.version} is here" if here else "it is missing"
    says = f"{who} {packages[name].version} needs {wanted}, and {there}"
    remedy = f"pip install {shlex.quote(wanted)}"
    if here and name != US:
        remedy += f", or another version of {name}"
    return (problem if ours and (not extra or name == US) else warning)(SUBJECT, says, remedy)


def _extra_for(requirement: Requirement, target: str, *, every: bool) -> str | None:
    """The extra by which a requirement counts here, "" if it always does, None if it does not.

    `every` takes each extra: bench's own are all for what it may be asked to do.
    """
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return ""
    names = re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", str(requirement.marker))
    return next(
        (name for name in names if (every or _normal(name) == target) and requirement.marker.evaluate({"extra": name})),
        None,
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
