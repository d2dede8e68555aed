"""Simulators that may be absent; the netlists' own tests run without them."""

import shutil

import pytest


def _require(simulator):
    if shutil.which(simulator) is None:
        pytest.skip(f"{simulator} is not installed: apt-get install {simulator}")


@pytest.fixture
def ngspice():
    _require("ngspice")


@pytest.fixture(params=["ngspice", "gnucap"])
def simulator(request):
    _require(request.param)
    return request.param
