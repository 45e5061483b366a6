"""The build checks find what Docker finds, on the same lines, and nothing else."""

from __future__ import annotations

import pytest

from bennu.dockerfile import ignore
from bennu.dockerfile.checks.facts import Facts
from bennu.dockerfile.checks.options import VARIABLE, options_of
from bennu.dockerfile.checks.rules import RULES
from bennu.dockerfile.checks.run import check
from bennu.dockerfile.parser import parse
from bennu.oci.platform import Platform, parse_platform
from tests.conformance.checks.cases import Case, cases, recorded
from tests.conformance.checks.images import CONFIGURATIONS

HOST = Platform("amd64", "linux")
RECORDED = recorded()


def found_in(case: Case) -> set[str]:
    dockerfile = parse(case.text, "Dockerfile")
    platform = parse_platform(case.platform, HOST)
    predefined = {
        **{f"BUILD{name}": value for name, value in _named(HOST).items()},
        **{f"TARGET{name}": value for name, value in _named(platform).items()},
    }
    facts = Facts(
        predefined=predefined,
        build_args=case.args,
        platform=platform,
        image=lambda name, _: CONFIGURATIONS.get(name),
        rules=ignore.parse("\n".join(case.ignore), ".dockerignore") if case.ignore else None,
        target=case.target,
    )
    options = options_of(dockerfile, case.args.get(VARIABLE))
    return {f"{warning.rule}:{warning.span.line}" for warning in check(dockerfile, facts, options)}


def _named(platform: Platform) -> dict[str, str]:
    return {"PLATFORM": str(platform), "OS": platform.os, "ARCH": platform.architecture}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_findings_are_dockers(case: Case):
    want = RECORDED[case.name] if case.later is None else case.later
    assert found_in(case) == {each for each in want if not each.startswith("error ")}


def test_every_rule_has_cases_in_which_it_speaks_and_in_which_it_does_not():
    spoken = {each.partition(":")[0] for found in RECORDED.values() for each in found}
    spoken |= {each.partition(":")[0] for case in cases() for each in case.later or ()}
    assert set(RULES) <= spoken
    for rule in RULES:
        own = [case for case in cases() if case.name.startswith(f"{rule} ")]
        silent = [case for case in own if not any(each.startswith(rule) for each in RECORDED.get(case.name, ()))]
        assert len(own) >= 5
        assert silent
