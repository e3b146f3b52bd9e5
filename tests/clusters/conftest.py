"""What tests of whole runs share: a dataset in an object store, a proxy before it, and ranks that reach it by that."""

from collections.abc import Iterator

import pytest

from support.far_ranks import Rank, ranks
from support.http_server import Server, serving_faults_of
from support.object_store import Packed, pack, write_photos
from support.servers import S3


@pytest.fixture(scope="session")
def packed(seaweed_s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """203 photos in five shards, here and there."""
    folder, local = write_photos(tmp_path_factory.mktemp("photos")), tmp_path_factory.mktemp("packed")
    url = f"{seaweed_s3.make_bucket('photos')}/out"
    pack(folder, url, seaweed_s3)
    pack(folder, str(local), seaweed_s3)
    return Packed(local / "train.json", f"{url}/train.json", seaweed_s3)


@pytest.fixture(scope="session")
def proxy(packed: Packed) -> Iterator[Server]:
    """A server before the object store, that counts and can be made to fail."""
    with serving_faults_of(packed.store.endpoint) as server:
        yield server


@pytest.fixture(scope="session")
def two(packed: Packed, proxy: Server) -> Iterator[list[Rank]]:
    """Two processes that reach the store by the proxy."""
    with ranks(2, S3(f"http://127.0.0.1:{proxy.port}").environment) as both:
        yield both
