"""How the room `spiking` is called."""

import numpy as np
from bad_values import Call, Choice, Flag, Number, Numbers, Seed, Valid, Whole

from neurodecorr import spiking
from neurodecorr.spiking import LateralRule, SpikeCode, Stimulus

ROOM = "spiking"
R = np.array([[1.0, 0.4], [0.3, 1.0]])
X = np.random.default_rng(0).standard_normal((10, 2))
CODE, LIF = SpikeCode(R, gamma=0.05), spiking.LIFNetwork(np.ones((2, 2)) * 1e-9, bias_a=150e-12)
STIMULUS = Stimulus(X, 0.01)
RUN = spiking.run_code(CODE, STIMULUS)
ACTIVITY = np.random.default_rng(1).standard_normal((400, 3))
EXEMPT = {
    f"spiking.{name}": reason
    for name, reason in {
        "rate_network": "needs Brian2",
        "run_rate": "needs Brian2",
    }.items()
}
STEP = Number(1e-4, above=0, high=0.01)
RECORD = Number(5e-3, above=0)
ANY = Numbers(np.array([1.0, -1.0]), any_shape=True)
BOOTSTRAP = {
    "block": Whole(None, low=1, high=20, none=True),
    "resamples": Whole(20, low=2, high=10**4),
    "level": Number(0.95, above=0, below=1),
    "seed": Seed(0),
}

CALLS = [
    Call(f"{ROOM}.{name}", *call)
    for name, call in {
        "InhibitoryRule": (
            spiking.InhibitoryRule,
            {name: Number(1.0, above=0) for name in ("rate_siemens", "target_hz", "tau_stdp_s", "most_siemens")},
        ),
        "LIFNetwork": (
            spiking.LIFNetwork,
            {
                "weights": Numbers(np.ones((2, 2)) * 1e-9),
                "bias_a": Number(80e-12),
                "gain_a": Number(40e-12),
                **{n: Number(0.01, above=0) for n in ("tau_membrane_s", "tau_inhibition_s", "refractory_s")},
                "rest_v": Number(-0.06, low=-0.08, below=-0.05),
                "threshold_v": Number(-0.05, above=-0.06),
                "inhibition_v": Number(-0.08, high=-0.06),
                "leak_siemens": Number(10e-9, above=0),
                "decay_hz": Number(50.0, above=0),
            },
        ),
        "LateralRule": (
            LateralRule,
            {
                "rate": Number(2e-3, above=0),
                "halving_s": Number(10.0, above=0, also={"inf": "a constant rate"}),
                "one_signed": Flag(False),
            },
        ),
        "SpikeCode": (
            SpikeCode,
            {
                "R": Numbers(R),
                "tau_s": Number(0.01, above=0),
                "decay_hz": Number(50.0, above=0),
                "gamma": Number(0.1, above=0),
            },
        ),
        "SpikeRun.settled": (RUN.settled, {"skip_s": Number(0.0, high=float(RUN.t_s[-1]))}),
        "SpikeRun.error": (RUN.error, {"target": Numbers(X[0]), "skip_s": Number(0.0, high=float(RUN.t_s[-1]))}),
        "Stimulus": (
            Stimulus,
            {"values": Numbers(X, also={"longer": "more units"}), "frame_s": Number(0.01, above=0)},
        ),
        "Stimulus.steps_per_frame": (STIMULUS.steps_per_frame, {"dt_s": STEP}),
        "coding_error_floor": (spiking.code.coding_error_floor, {"gamma": Number(0.2, above=0)}),
        "constant_stimulus": (
            spiking.constant_stimulus,
            {"x": Numbers(X[0], also={"longer": "more units"}), "duration_s": Number(0.2, above=0)},
        ),
        "lateral_jump": (
            spiking.code.lateral_jump,
            {"sign": ANY, "current": ANY, "activity": ANY, "weight": ANY, "rate": Number(0.01, above=0)},
        ),
        "mean_correlation": (
            spiking.mean_correlation,
            {"activity": Numbers(ACTIVITY, also={"longer": "more units"}), **BOOTSTRAP},
        ),
        "ou_stimulus": (
            spiking.ou_stimulus,
            {
                "covariance": Numbers(np.array([[1.0, 0.5], [0.5, 1.0]])),
                "frames": Whole(10, low=1, high=10**6),
                "correlation_time_s": Number(0.1, above=0),
                "frame_s": Number(1e-3, above=0),
                "seed": Seed(0),
            },
        ),
        "reduction": (
            spiking.reduction,
            {
                "before": Numbers(ACTIVITY, also={"longer": "more units"}),
                "after": Numbers(ACTIVITY, also={"longer": "more units"}),
                **BOOTSTRAP,
            },
        ),
        "run_code": (
            spiking.run_code,
            {
                "code": Valid(CODE),
                "stimulus": Valid(STIMULUS),
                "rule": Valid(LateralRule(), also={"None": "no learning"}),
                "dt_s": STEP,
                "record_s": RECORD,
                "engine": Choice("compiled"),
                "target": Choice("numpy"),
            },
        ),
        "run_lif": (
            spiking.run_lif,
            {
                "network": Valid(LIF),
                "stimulus": Valid(STIMULUS),
                "rule": Valid(spiking.InhibitoryRule(), also={"None": "no learning"}),
                "dt_s": STEP,
                "record_s": RECORD,
                "engine": Choice("compiled"),
                "target": Choice("numpy"),
            },
        ),
    }.items()
]
