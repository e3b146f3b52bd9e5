"""How DALI decodes, said without importing it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dali:
    """Decode with DALI: `Loader(dataset, batch_size, decoder=Dali(hw_decoder_load=0.9))`. All of them are hints.

    hw_decoder_load: the share of JPEGs for the GPU's own JPEG decoder, where it has one.
    width_hint, height_hint: of the largest image, in pixels, for allocating its memory beforehand; 0: not known.
    queue: batches that DALI has begun and not yet handed out.
    """

    hw_decoder_load: float = 0.65
    width_hint: int = 0
    height_hint: int = 0
    queue: int = 2

    def __post_init__(self) -> None:
        if not 0.0 <= self.hw_decoder_load <= 1.0:
            raise ValueError(f"hw_decoder_load must lie between 0 and 1, got {self.hw_decoder_load!r}")
        if self.queue < 1:
            raise ValueError(f"queue must be at least 1, got {self.queue!r}")


def check_installed() -> None:
    """ImportError, with what to install, where DALI is not there."""
    try:
        import nvidia.dali.fn  # noqa: F401
    except ImportError as error:
        raise ImportError("decoder='dali' needs NVIDIA DALI: pip install 'fastdata-images[dali]'") from error
