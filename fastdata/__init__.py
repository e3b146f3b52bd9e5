"""Folders and tar shards of images into PyTorch training batches, fast and exact.

The public names stand in `__init__.pyi`; each is loaded when it is first used, so that `fastdata --help` need not wait
for torch.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
