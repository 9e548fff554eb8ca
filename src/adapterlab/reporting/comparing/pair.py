"""Two arms of a study, against each other."""

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.evidence.verdicts import Comparison
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.reading.reference import find_arm
from adapterlab.reporting.reading.study import same_examples


def compare(findings: Findings, a: str, b: str) -> Comparison:
    """Return what was found on two arms, from the point of view of the first.

    Args:
        findings: of a data set.
        a: an arm, by its name or what tells it from the others.
        b: another one.

    Raises:
        ConfigError: one of them is no arm, or both are the same.
        AdapterLabError: they were not compared; it says why.
    """
    one, other = _find(findings, a, "a"), _find(findings, b, "b")
    if one is other:
        raise ConfigError(f"a={a} and b={b} are the same arm, {one.name}")
    family = findings.family
    inside = {arm.name for arm in family.arms} if family is not None else set()
    if family is not None and {one.name, other.name} <= inside:
        return family.compare(one.name, other.name)
    why = same_examples(one.arm.first, other.arm.first)
    if not why:
        gaps = (gap for gap in findings.gaps for arm in (one, other) if arm.name in gap)
        why = next(gaps, "they were not tested on the same examples")
    raise AdapterLabError(f"{one.name} and {other.name} are not compared: {why}")


def _find(findings: Findings, name: str, option: str) -> ArmFindings:
    if not isinstance(name, str):
        raise ConfigError(f"{option}={name!r} should be the name of an arm, as in .arms['arm']")
    arm = find_arm(findings.all_arms, name, option)
    for found in findings.arms:
        if found.arm is arm:
            return found
    raise AdapterLabError(f"{option}={name} has no finished run, so it is compared with no arm")
