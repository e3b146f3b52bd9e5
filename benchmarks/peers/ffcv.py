import tempfile
from pathlib import Path

from PIL import Image

import fastdata as fd
from work import SIZE, Batches, Work


class Photos:
    """What its writer asks, in its processes."""

    def __init__(self, folder: str) -> None:
        self.samples = fd.ImageDirectoryDataset(folder).samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, target = self.samples[index]
        return Image.open(path).convert("RGB"), target


def ffcv(work: Work) -> Batches:
    """From its own format, written for the occasion: JPEG at quality 95. It resizes by area, so without aliasing."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=95), "label": IntField()}
    steps = [RandomResizedCropRGBImageDecoder((SIZE, SIZE)), RandomHorizontalFlip(), ToTensor(), ToTorchImage()]
    normalize = work.normalize
    with tempfile.TemporaryDirectory() as directory:
        file = str(Path(directory) / "photos.beton")
        DatasetWriter(file, fields, num_workers=work.threads).from_indexed_dataset(Photos(work.files.folder))
        pipelines = {"image": steps, "label": [IntDecoder(), ToTensor()]}
        batches = Loader(file, work.batch_size, work.threads, order=OrderOption.RANDOM, pipelines=pipelines)
        while True:
            yield from (normalize(images) for images, _ in batches)
