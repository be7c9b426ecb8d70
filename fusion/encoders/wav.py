"""Reader of one-channel wav recordings."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from fusion.errors import InvalidInput


def read_wav(path: Path) -> tuple[NDArray[np.float64], int]:
    """Return the samples of a one-channel wav file and its sampling rate.

    Integer files keep their integers' range: encoders do not depend on the gain.

    Returns:
        float64 [n], and samples per second.

    Raises:
        InvalidInput: naming the file, if it is no wav file, cut short, has several channels or
            holds a sample that is not finite.
        OSError: if the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", wavfile.WavFileWarning)
            # Unknown chunks (a title, a comment) are harmless, a short data chunk is not.
            warnings.filterwarnings("ignore", "Chunk", wavfile.WavFileWarning)
            rate_hz, samples = wavfile.read(path)
    except OSError:
        raise
    except Exception as error:  # a hostile header makes SciPy fail in many ways
        raise InvalidInput(path.name, f"is not a readable wav file: {error}") from error
    if samples.ndim != 1:
        raise InvalidInput(
            path.name, f"has {samples.shape[1]} channels", "mix it down to one channel"
        )
    # Eight-bit wav files are unsigned, with silence at 128.
    centre = 128.0 if samples.dtype == np.uint8 else 0.0
    values = samples.astype(np.float64) - centre
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise InvalidInput(path.name, f"sample {int(bad[0])} is {values[bad[0]]}")
    return values, int(rate_hz)
