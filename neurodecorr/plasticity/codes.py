"""Numbers by which compiled kernels know rules and gains, and the places of a learner's counters."""

EXPLICIT, LOCAL, CONGRUENT = 0, 1, 2
NO_GAIN, NODE_GAIN, LAYER_GAIN = 0, 1, 2

# Counters: samples seen, sum of the rates used, running x̄ᵀx̄, updates limited, worst relative settling error.
SAMPLES, CLOCK, TRACE, LIMITED, WORST_ERROR = 0, 1, 2, 3, 4
COUNTERS = 5

# One sample may pull at most this many times harder than the limit on the mean allows: with a limit ≤ 0.1, η‖x̄‖² ≤ ½.
OUTLIER = 5.0

# The running trace x̄ᵀx̄ averages over 100 samples; running mean and power at a constant rate over no fewer than 10 (P0).
TRACE_MEMORY = 0.01
FASTEST_MEMORY = 0.1

# An x̄ᵀx̄ beyond this has left the finite numbers, NaN included, for every purpose.
HUGE = 1e300
