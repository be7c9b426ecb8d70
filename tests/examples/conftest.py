import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "av_digits"

# The example is a script's folder, not an installed package.
sys.path.insert(0, str(EXAMPLE))
