import random
from collections.abc import Iterator
from typing import Any

from torch import Tensor

import fastdata as fd
from peers.pixels import drawn
from work import SIZE, Batches, Work


def spdl(work: Work) -> Batches:
    """SPDL's threads and FFmpeg's decoder and scaler, whose plain bilinear is called fast_bilinear."""
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    paths = [path for path, _ in fd.ImageDirectoryDataset(work.files.folder).samples]
    scale = f"scale={SIZE}:{SIZE}:flags={'bilinear' if work.antialias else 'fast_bilinear'}"
    normalize = work.normalize

    def shuffled() -> Iterator[str]:
        while True:
            yield from random.sample(paths, len(paths))

    def decode(path: str) -> Any:
        packets = spdl.io.demux_image(path)
        view = drawn((packets.width, packets.height))
        crop = f"crop={view.box.width}:{view.box.height}:{view.box.left}:{view.box.top}"
        steps = [crop, scale, *(["hflip"] if view.flip else []), "format=pix_fmts=rgb24"]
        return spdl.io.decode_packets(packets, filter_desc=",".join(steps))

    def batch(frames: Any) -> Tensor:
        images: Tensor = spdl.io.to_torch(spdl.io.convert_frames(frames))
        return images.permute(0, 3, 1, 2)

    builder = PipelineBuilder().add_source(shuffled()).pipe(decode, concurrency=work.threads)
    pipeline = builder.aggregate(work.batch_size).pipe(batch).add_sink(3).build(num_threads=work.threads)
    with pipeline.auto_stop():
        yield from (normalize(images) for images in pipeline)
