"""Write the weights that all runs of a race adapt: base.py TO.pt CHANNELS SIDE.

One base for all lanes, whatever their seeds, as a pretrained one is; its values do not matter.
"""

import sys

import torch

from adapterlab.models import MLP


def main() -> None:
    to, channels, side = sys.argv[1:]
    generator = torch.Generator().manual_seed(0)
    shape = (int(channels), int(side), int(side))
    torch.save(MLP(shape, 10, widths=(128,), generator=generator).state_dict(), to)


if __name__ == "__main__":
    main()
