"""What tests share: hypothesis without randomness, numbered photos, and the real ones that may be there."""

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.azure import Azure, azurite
from support.forks import Run, prepared
from support.http_server import Server, serving_files
from support.nginx import nginx
from support.numbered import write_folder, write_shards
from support.servers import S3, moto, seaweed

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered photos, for a module."""
    return write_folder(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same in shards."""
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="session")
def run_forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """What a program prints that finds torch and fastdata imported, and says nothing on its standard error."""
    with prepared(tmp_path_factory.mktemp("forked")) as run:
        yield run


@pytest.fixture(scope="session")
def ready_forkserver() -> None:
    """Makes "forkserver" a start method that is as clean as "spawn", and takes 0.1 seconds rather than two.

    What it copies has imported torch and fastdata, and got nothing else from this process. Where a test of the command
    line has begun one before, it is that one, and all of this is imported anew.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.utils.data", "support.cursors", "fastdata.datasets.shards"])
    forkserver.ensure_running()


@pytest.fixture
def http_server() -> Iterator[Server]:
    """An HTTP server of files on loopback that fails by script."""
    with serving_files() as server:
        yield server


@pytest.fixture(scope="session")
def moto_s3() -> Iterator[S3]:
    """moto's S3 on loopback: in memory, started in 2 seconds."""
    with moto() as store:
        yield store


@pytest.fixture(scope="session")
def seaweed_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """SeaweedFS's S3 on loopback, a real object store; tests that use it are slow."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as store:
        yield store


@pytest.fixture(scope="session")
def azurite_blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Azurite's blob storage on loopback; tests that use it are slow."""
    with azurite(tmp_path_factory.mktemp("azurite")) as store:
        yield store


@pytest.fixture(scope="session")
def nginx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of nginx on loopback, which has what is PUT to it."""
    with nginx(tmp_path_factory.mktemp("nginx")) as url:
        yield url
