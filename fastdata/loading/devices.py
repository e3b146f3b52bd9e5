"""The device that a Loader's batches go to."""

import torch

from fastdata.epoch.plan import environment_int


def device_of(device: str | torch.device | None) -> torch.device | None:
    """The device that a user names, and of several GPUs which; None for the CPU, where batches are already.

    RuntimeError where CUDA is asked for and is not there, ValueError for a LOCAL_RANK that is no integer.
    """
    if device is None:
        return None
    device = torch.device(device)
    if device.type == "cpu":
        return None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device='cuda', but torch sees no CUDA device here: leave device out to stay on the CPU")
    return torch.device("cuda", _local_gpu()) if device.type == "cuda" and device.index is None else device


def _local_gpu() -> int:
    """This rank's GPU, by torchrun's LOCAL_RANK; the current one where a rank sees fewer, its own alone for example."""
    local_rank = environment_int("LOCAL_RANK")
    if local_rank is not None and 0 <= local_rank < torch.cuda.device_count():
        return local_rank
    return torch.cuda.current_device()
