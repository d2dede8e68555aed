"""Chips and devices that have been published, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from neurodecorr._texts import short_repr
from neurodecorr._validation import choice
from neurodecorr.hardware.devices.chip import Devices
from neurodecorr.hardware.devices.drift import PCMDrift
from neurodecorr.hardware.devices.programming import PCM, RRAM
from neurodecorr.hardware.devices.read_noise import PCMReadNoise


@short_repr
@dataclass(frozen=True)
class Preset:
    """Devices of a published chip, and the source of their numbers.

    Attributes
    ----------
    devices : Devices
        Their description.
    source : str
        Who says so.
    """

    devices: Devices
    source: str


# A digital chip has no conductances: one microsiemens stands for one code.
PRESETS: dict[str, Preset] = {
    "ideal": Preset(Devices(), "any conductance from 0 to 25 µS, without error"),
    "brainscales2": Preset(
        Devices(g_max=63e-6, codes=(-63, 63)),
        "6-bit synapses, a row for each sign: electronicvisions/hxtorch, `hxtorch/snn/transforms/weight_transforms.py`",
    ),
    "loihi": Preset(
        Devices(g_max=256e-6, codes=(-256, 255)),
        "weights of mixed sign: lava-nc/lava, `lava/utils/weightutils.py`, `_validate_weights`",
    ),
    "loihi-mixed": Preset(
        Devices(g_max=128e-6, codes=(-128, 127)),
        "the same, less the last bit, which mixed signs cost: `truncate_weights`, even numbers from −256 to 254",
    ),
    "pcm": Preset(
        Devices(g_max=25e-6, programming=PCM(), drift=PCMDrift(), read_noise=PCMReadNoise()),
        "IBM/aihwkit 1.1.0, `inference/noise/pcm.py`; Nandakumar et al., ICECS (2019)",
    ),
    "rram": Preset(
        Devices(g_min=50e-6, g_max=225e-6, programming=RRAM()),
        "sandialabs/cross-sim 3.2, `simulator/devices/custom/RRAM_Milo.py`; Milo et al., IRPS (2021)",
    ),
    "xylo": Preset(
        Devices(g_max=127e-6, codes=(-127, 127)),
        "8-bit weights: synsense/rockpool, `rockpool/transform/quantize_methods.py`, `global_quantize`",
    ),
}


def preset_names() -> list[str]:
    """Return the names that `preset` accepts.

    Returns
    -------
    list of str

    Examples
    --------
    >>> preset_names()
    ['brainscales2', 'ideal', 'loihi', 'loihi-mixed', 'pcm', 'rram', 'xylo']
    """
    return sorted(PRESETS)


def preset(name: str) -> Devices:
    """Return the devices of a published chip.

    Parameters
    ----------
    name : str
        One of `preset_names()`.

    Returns
    -------
    Devices
        `dataclasses.replace` changes what should differ.

    Raises
    ------
    ConfigError
        If there is no preset of this name; the message names the nearest.

    Examples
    --------
    >>> import numpy as np

    >>> preset("brainscales2").program(np.array([[1.0, -0.5], [0.1, 1.0]]), rng=0).weights().round(4).tolist()
    [[1.0, -0.5079], [0.0952, 1.0]]
    """
    return replace(PRESETS[choice(name, "name", preset_names())].devices, name=name)
