"""Write every network of one platform, with its spikes: `python build.py PLATFORM FOLDER`."""

import importlib
import sys
from pathlib import Path

import torch
from common import write

if __name__ == "__main__":
    torch.set_num_threads(1)
    platform, folder = sys.argv[1:]
    for name in write(Path(folder), importlib.import_module(f"{platform}_networks").CELLS):
        print(name)
