"""The findings follow from the numbers, and change with them."""

import dataclasses

import numpy as np
import pytest

from neurodecorr.comparison import findings
from neurodecorr.comparison.summary import format_number


def changed(comparison, name, **values):
    entries = [dataclasses.replace(e, **values) if e.name == name else e for e in comparison.entries]
    return dataclasses.replace(comparison, entries=tuple(entries))


def told(comparison):
    return "\n".join(findings(comparison)).replace("\u00a0", " ")


def test_the_first_finding_names_the_correlation_before_and_after(specimen):
    first = findings(specimen)[0]
    online = [entry.correlation for entry in specimen.entries if entry.form != "offline"]
    assert (
        f"from {format_number(specimen.correlation)} down to {format_number(min(online))}–{format_number(max(online))}"
        in first
    )
    assert "All 3 online forms" in first and "4,000 held-out samples" in first


def test_a_correlation_that_rose_did_not_go_down(specimen):
    assert " down to " not in findings(changed(specimen, "R implicit", correlation=0.99))[0]


def test_rounding_is_told_from_drift(specimen):
    assert "R stays the inverse of M to rounding" in told(specimen)
    drifted = told(changed(specimen, "R congruent", twin_error=0.95))
    assert "drift apart: R is the inverse of M up to ‖RM − I‖/√n ≤ 0.95" in drifted and "to rounding" not in drifted


def test_the_price_is_that_of_the_circuits(specimen):
    assert "takes 27.6 τ (median over samples) and 21 times the multiply-adds of the matrix" in told(specimen)


def test_stability_is_claimed_only_where_no_margin_was_negative(specimen):
    assert "stayed stable: the smallest min Re λ(R) was 0.300 1/τ" in told(specimen)
    lost = told(changed(specimen, "R implicit", margins=np.array([1, 0.5, -0.2, 0.1, 0.2])))
    assert "Stability was lost while learning: the smallest min Re λ(R) was -0.200 1/τ (R implicit)" in lost
    assert "stayed stable" not in lost


def test_a_matrix_that_would_be_an_unstable_circuit_is_named(specimen):
    assert "Built as a circuit" not in told(specimen)
    assert "Built as a circuit, M implicit would have lost stability" in told(
        changed(specimen, "M implicit", margins=np.array([1, 0.5, -0.2, 0.1, 0.2]))
    )


def test_a_form_that_stopped_is_named_and_left_out_of_the_claims(specimen, troubled):
    text = told(troubled)
    assert "R implicit stopped early; its numbers are those at sample 100. Why: min Re λ(R) is -0.1" in text
    assert findings(troubled)[0].startswith("M implicit and R congruent brought")
    assert "R implicit" not in findings(troubled)[0]
    assert "takes 27.6 τ" in text and format_number(specimen["R implicit"].correlation) not in findings(troubled)[0]


def test_survivors_of_mismatch_are_counted_where_some_did_not_survive(specimen, troubled):
    assert "all 6 mismatched copies of every circuit still settle" in told(specimen)
    assert "of 6 mismatched copies of each circuit these still settle: R congruent 2" in told(troubled)


def test_without_any_form_that_learnt_nothing_is_claimed(specimen):
    entries = [
        entry if entry.form == "offline" else dataclasses.replace(entry, failure="it failed.")
        for entry in specimen.entries
    ]
    said = findings(dataclasses.replace(specimen, entries=tuple(entries)))
    assert said[0].startswith("No form learnt to the end") and len(said) == 4


@pytest.mark.parametrize("entries", [slice(0, 2), slice(0, 1)])
def test_a_comparison_without_circuits_is_described_without_circuits(specimen, entries):
    assert "circuit" not in told(dataclasses.replace(specimen, entries=specimen.entries[entries])).lower()
