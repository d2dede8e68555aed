"""Numbers by which kernels know options and counters, and what a unit at its limit does in whole numbers."""

__all__ = [
    "CAPPED",
    "COUNTERS",
    "INTEGER_COUNTERS",
    "INTEGER_RAILED",
    "MINUS",
    "PLUS",
    "PROGRAMMING",
    "PULSES",
    "RAILED",
    "RAISED",
    "REFRESHES",
    "RELIEF",
    "RESTLESS",
    "SATURATED",
    "UNSETTLED",
]

PLUS, MINUS = 0, 1
# How pulses follow from the change that is wanted.
PROGRAMMING = {"stochastic": 0, "carried": 1, "verified": 2}
# What a chip counts while it learns.
COUNTERS = ("pulses", "capped", "refreshes", "railed", "raised", "unsettled")
PULSES, CAPPED, REFRESHES, RAILED, RAISED, UNSETTLED = range(len(COUNTERS))
# What integer learning counts: weights and activities held at their limits, samples that did not come to rest.
INTEGER_COUNTERS = ("saturated", "railed", "unsettled")
SATURATED, INTEGER_RAILED, RESTLESS = range(len(INTEGER_COUNTERS))
# A unit at its limit adds 2⁻⁴ to its own R_ii, and the sample is not learnt from.
RELIEF = 4
