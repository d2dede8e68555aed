"""Every result says where it came from, and nothing about whose machine it was."""

import getpass
import json
import platform
import re
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import neurodecorr
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.io import provenance
from neurodecorr.io.provenance import _git_commit, run_id

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_it_holds_what_is_needed_to_repeat_a_run():
    record = provenance({"rate": 1e-3, "shape": (2, 3)}, seed=np.int64(7))
    assert record["config"] == {"rate": 1e-3, "shape": [2, 3]}
    assert record["run_id"] == run_id({"shape": [2, 3], "rate": 1e-3})
    assert record["seed"] == 7
    assert record["versions"]["python"] == platform.python_version()
    assert record["versions"]["numpy"] == np.__version__
    assert set(record["versions"]) == {
        "python",
        "neurodecorr",
        "numpy",
        "scipy",
        "numba",
        "scikit-learn",
        "h5py",
        "matplotlib",
    }
    assert record["platform"] == {"system": platform.system(), "machine": platform.machine()}
    assert record["cpus"] >= 1


def test_it_survives_json():
    record = provenance({"rate": 1e-3}, seed=0, started=time.perf_counter())
    assert json.loads(json.dumps(record)) == record


def test_the_blas_is_named_with_its_threads():
    for library in provenance({}, seed=0)["blas"]:
        assert set(library) == {"name", "version", "kernel", "threads"} and library["threads"] >= 1


def test_it_tells_nothing_about_the_machine_or_its_user():
    text = json.dumps(provenance({}, seed=0)).lower()
    secrets = [
        socket.gethostname(),
        str(Path.home()),
        str(Path.cwd()),
        str(Path(neurodecorr.__file__).parent),
        sys.prefix,
    ]
    assert not [secret for secret in secrets if len(secret) > 1 and secret.lower() in text]
    assert not re.search(rf"\b{re.escape(getpass.getuser().lower())}\b", text)


def test_wall_time_counts_from_the_start():
    started = time.perf_counter()
    time.sleep(0.02)
    before = time.perf_counter() - started
    elapsed = provenance({}, seed=0, started=started)["wall_seconds"]
    assert before <= elapsed <= time.perf_counter() - started
    assert provenance({}, seed=0)["wall_seconds"] is None


def test_the_time_is_utc():
    written = datetime.fromisoformat(provenance({}, seed=0)["written_utc"])
    assert written.utcoffset().total_seconds() == 0
    assert abs((datetime.now(UTC) - written).total_seconds()) < 60


def test_the_clock_of_the_calendar_is_refused():
    # time.time() counts from 1970 and is far ahead of a clock that counts from the start of the machine.
    with pytest.raises(ConfigError, match=r"started .*perf_counter"):
        provenance({}, seed=0, started=time.perf_counter() + 1e9)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None, "0"])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ConfigError, match="seed must be a whole number ≥ 0"):
        provenance({}, seed=seed)


def test_a_configuration_that_cannot_be_written_is_named():
    with pytest.raises(InputError, match=r"config\['rule'\] must be"):
        provenance({"rule": object()}, seed=0)


def test_run_ids_are_stable_and_depend_on_every_value():
    # printf '{"rate":0.001,"rule":"local"}' | sha256sum
    assert run_id({"rule": "local", "rate": 1e-3}) == "8593f4d1e55d32cf"
    ids = {run_id({"a": value}) for value in (0, 1, 1.5, "1", None, [1], {"b": 1}, True, "x̄")}
    assert len(ids) == 9 and all(re.fullmatch("[0-9a-f]{16}", name) for name in ids)


def repository(folder, head, **files):
    git = folder / ".git"
    for name, text in {"HEAD": head, **files}.items():
        (git / name).parent.mkdir(parents=True, exist_ok=True)
        (git / name).write_text(text)
    return folder


def test_the_commit_is_read_from_a_loose_branch(tmp_path):
    checkout = repository(tmp_path, "ref: refs/heads/main\n", **{"refs/heads/main": COMMIT + "\n"})
    assert _git_commit(checkout) == COMMIT


def test_the_commit_is_read_from_packed_branches(tmp_path):
    packed = f"# pack-refs with: peeled\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n"
    assert _git_commit(repository(tmp_path, "ref: refs/heads/main\n", **{"packed-refs": packed})) == COMMIT


def test_the_commit_is_read_from_a_detached_head(tmp_path):
    assert _git_commit(repository(tmp_path, COMMIT + "\n")) == COMMIT


def test_the_commit_is_read_from_a_linked_work_tree(tmp_path):
    main = repository(tmp_path / "main", "ref: refs/heads/main\n", **{"refs/heads/topic": COMMIT + "\n"})
    linked = main / ".git" / "worktrees" / "topic"
    linked.mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/topic\n")
    (linked / "commondir").write_text("../..\n")
    checkout = tmp_path / "topic"
    checkout.mkdir()
    (checkout / ".git").write_text(f"gitdir: {linked}\n")
    assert _git_commit(checkout) == COMMIT


@pytest.mark.parametrize("head", ["", "ref: refs/heads/main\n", "not a commit", COMMIT + "0"])
def test_no_commit_is_made_up(tmp_path, head):
    assert _git_commit(tmp_path) is None
    assert _git_commit(repository(tmp_path, head)) is None
