"""The harness: records along the stream, courses that end early, and distances to the closed form."""

import numpy as np
import pytest

from neurodecorr.data import correlated_gaussian, gaussian_covariance
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.measures import power, rms_correlation
from neurodecorr.plasticity import LearningRule, decorrelating_matrix
from neurodecorr.plasticity.baselines import Easi, Foldiak, OffDiagonal, Oja
from neurodecorr.plasticity.benchmark import RelativeRule, RuleHistory, distances, format_distances, run_rule

N = 6
SIGMA = gaussian_covariance(N, 50.0)


def stream(batches=40, size=20):
    return correlated_gaussian(N, batches * size, 50.0).inputs.reshape(batches, size, N)


def course_of(M, name="fixed"):
    C = M @ SIGMA @ M.T
    numbers = (np.array([v]) for v in (0, rms_correlation(covariance=C), power(covariance=C), 1.0))
    return RuleHistory(name, *numbers, M)


def test_records_are_those_of_the_population():
    rule, batches = Easi(rate=0.05), stream()
    course = run_rule(rule, batches, SIGMA, scale=0.5, every=15)
    assert course.samples.tolist() == [0, 300, 600, 800]  # the start, every fifteenth batch, the last
    weights, expected = rule.start(N, 0.5), []
    for k, X in enumerate([None, *batches]):
        weights = weights if X is None else rule.step(weights, X)
        if k in (0, 15, 30, 40):
            C = weights @ SIGMA @ weights.T
            R = np.linalg.inv(weights)
            expected.append((rms_correlation(covariance=C), power(covariance=C), np.linalg.eigvals(R).real.min()))
    found = np.column_stack([course.correlation, course.power, course.margin])
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_array_equal(course.matrix, weights)
    assert course.stopped == ""
    assert course.rule == "EASI whitening"


def test_a_rule_with_a_circuit_is_judged_by_its_own_circuit():
    rule = Foldiak(rate=0.05)
    course = run_rule(rule, stream(), SIGMA)
    R = np.linalg.inv(course.matrix)
    assert course.margin[-1] == pytest.approx(np.linalg.eigvals(R).real.min(), rel=1e-9)


def test_single_samples_and_batches_share_the_harness():
    plan = LearningRule(rule="implicit", rate=1e-2, mean="none", schedule="constant")
    X = stream().reshape(-1, N)
    one_by_one = run_rule(RelativeRule(plan), X[:, None, :], SIGMA, every=200)
    in_blocks = run_rule(RelativeRule(plan), X.reshape(4, 200, N), SIGMA)
    np.testing.assert_array_equal(one_by_one.samples, in_blocks.samples)
    # Gains are folded in once a block, so the blocks show in the last digits.
    np.testing.assert_allclose(one_by_one.correlation, in_blocks.correlation, rtol=1e-11)
    assert one_by_one.correlation[-1] < one_by_one.correlation[0]


def test_a_diverging_rule_ends_its_course_and_says_where():
    course = run_rule(OffDiagonal(rate=0.5), stream(), SIGMA, scale=10.0)
    assert course.stopped.startswith("batch ")
    assert "the weights left the finite numbers; lower the rate or the initial scale" in course.stopped
    assert np.isfinite(course.matrix).all()
    assert np.isfinite(course.correlation).all()
    assert course.samples[-1] < 800


def test_the_librarys_own_errors_end_a_course_too():
    plan = LearningRule(
        form="feedforward", rule="explicit", rate=1.0, batch=20, limit=None, mean="none", rate_is="absolute"
    )
    course = run_rule(RelativeRule(plan), stream(), SIGMA)
    assert course.stopped.startswith("batch 0: the explicit rule needs η λ_max(C) < 1")


def test_bad_streams_are_refused():
    with pytest.raises(InputError, match="batch 1 must have 6 features, one per unit; got 5"):
        run_rule(Easi(), [np.ones((2, 6)), np.ones((2, 5))], SIGMA)
    with pytest.raises(InputError, match=r"batch 0 must be finite.*found nan at row 0, column 2"):
        run_rule(Easi(), [np.array([[1.0, 1.0, np.nan, 1.0, 1.0, 1.0]])], SIGMA)
    with pytest.raises(InputError, match="covariance must be a square matrix"):
        run_rule(Easi(), [], np.ones((2, 3)))
    with pytest.raises(ConfigError, match="scale must be > 0"):
        run_rule(Easi(), [], SIGMA, scale=0.0)
    with pytest.raises(ConfigError, match="every must be a whole number"):
        run_rule(Easi(), [], SIGMA, every=0)


def test_distances_are_zero_at_the_closed_form_and_shape_is_blind_to_the_gain():
    node, layer = decorrelating_matrix(SIGMA), decorrelating_matrix(SIGMA, "layer")
    d = np.array([0.1, 0.5, 1.0, 2.0, 5.0, 9.0])[:, None]
    at_node, at_layer, scaled = distances([course_of(node), course_of(layer), course_of(d * node)], SIGMA)
    assert at_node.node == 0.0
    assert at_layer.layer == 0.0
    assert at_node.layer == pytest.approx(np.linalg.norm(node - layer) / np.linalg.norm(layer))
    assert scaled.node > 1
    assert scaled.shape == pytest.approx(0, abs=1e-14)
    assert scaled.correlation == pytest.approx(0, abs=1e-12)


def test_a_matrix_with_a_silent_row_has_a_distance():
    M = np.eye(N)
    M[2] = 0
    (row,) = distances([course_of(M)], SIGMA)
    assert np.isfinite([row.node, row.layer, row.shape]).all()


def test_the_table_names_each_rule_and_marks_courses_that_stopped():
    courses = [run_rule(Oja(), stream(), SIGMA), run_rule(OffDiagonal(rate=0.5), stream(), SIGMA, scale=10.0)]
    lines = format_distances(distances(courses, SIGMA)).splitlines()
    assert len(lines) == 3
    assert " ".join(lines[0].split()) == "rule rms corr power margin R to node M* to layer M* shape"
    assert lines[1].startswith("Oja subspace")
    assert lines[2].startswith("COPI") and lines[2].endswith("stopped early")
    assert float(lines[1].split()[2]) == pytest.approx(courses[0].correlation[-1], abs=1e-4)
