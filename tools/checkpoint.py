"""What `train.py` goes on from: written whole, and read without unpickling anything but tensors and plain values."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn


def save_checkpoint(state: dict[str, Any], checkpoint: Path) -> None:
    """Write it whole: whenever the process is killed, this one is there or the one before."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    temporary = checkpoint.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(checkpoint)


def load_checkpoint(checkpoint: Path, option: str, device: torch.device) -> dict[str, Any]:
    """What was saved; exits where nothing was."""
    if not checkpoint.exists():
        raise SystemExit(f"{option}: there is no checkpoint {checkpoint}")
    state: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
    return state


def fill(module: nn.Module, weights: dict[str, Any], checkpoint: Path) -> None:
    """Put the weights into the module; exits where they are another network's."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:  # names or shapes differ
        problem = f"{checkpoint} is of another network: give the --norm, --width and --classes that it was made with"
        raise SystemExit(f"{problem}\n{error}") from error
