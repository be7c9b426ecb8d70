"""The engine of Loihi's integers in machine code, with the readable engine's bits."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulators.compiled_loihi import step_samples
from simulators.loihi import LoihiEngine
from simulators.loihi_layout import Layout, lay_out
from simulators.loihi_network import LoihiNetwork
from simulators.trace import Counts, State, Trace
