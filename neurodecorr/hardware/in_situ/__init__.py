"""Learning on the chip: pulsed synapses, the local rule through the devices as they are, and learning in integers."""

from neurodecorr.hardware.in_situ.integers import IntegerLearningRule, initial_integer_state, learn_integers
from neurodecorr.hardware.in_situ.learning_chip import learning_chips
from neurodecorr.hardware.in_situ.reprogramming import InSituComparison, compare_in_situ, learn_in_situ
from neurodecorr.hardware.in_situ.rule import InSituRule
from neurodecorr.hardware.in_situ.synapses import PulsedSynapse

__all__ = [
    "InSituComparison",
    "InSituRule",
    "IntegerLearningRule",
    "PulsedSynapse",
    "compare_in_situ",
    "initial_integer_state",
    "learn_in_situ",
    "learn_integers",
    "learning_chips",
]
