"""What every test shares: hypothesis without randomness, and the photos that may be there."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fastdata", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50
)
settings.load_profile("fastdata")

PHOTOS = Path(os.environ.get("FASTDATA_PHOTOS", Path(__file__).parents[2] / "shared" / "photos"))


@pytest.fixture(scope="session")
def photos() -> Path:
    """A folder of real photos with test/ and val/ class folders, where there is one (FASTDATA_PHOTOS)."""
    if not PHOTOS.is_dir():
        pytest.skip(f"no photos at {PHOTOS}: set FASTDATA_PHOTOS to a folder that has some")
    return PHOTOS
