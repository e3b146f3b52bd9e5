"""The public names, and where they are: what type checkers see, and what `__init__.py` loads when it is asked for."""

from .datasets.collate import collate as collate
from .datasets.directory import ImageDirectoryDataset as ImageDirectoryDataset
from .datasets.shards import TarImageDataset as TarImageDataset
from .datasets.store import TarImageMapDataset as TarImageMapDataset
from .epoch.order import EpochOrder as EpochOrder
from .epoch.plan import EpochPlan as EpochPlan
from .epoch.plan import Place as Place
from .epoch.sampler import EpochSampler as EpochSampler
from .errors import DecodeError as DecodeError
from .errors import DrawError as DrawError
from .errors import JpegError as JpegError
from .errors import ManifestError as ManifestError
from .errors import PackError as PackError
from .errors import ReadError as ReadError
from .errors import SampleError as SampleError
from .errors import StateError as StateError
from .errors import TarError as TarError
from .errors import TargetError as TargetError
from .errors import TooManySkippedError as TooManySkippedError
from .images.cut import cut as cut
from .images.cut import is_crop_ready as is_crop_ready
from .images.decode import decode as decode
from .images.header import read_header as read_header
from .images.kernel import kernel as kernel
from .loading.dali.options import Dali as Dali
from .loading.loader import Loader as Loader
from .loading.normalize import Normalize as Normalize
from .loading.skipping import Skipped as Skipped
from .loading.stats import Stats as Stats
from .packing.crop_ready import make_crop_ready as make_crop_ready
from .sample import Batch as Batch
from .sample import Sample as Sample
from .transforms.draw import draw as draw
from .transforms.draw import sample_rng as sample_rng
from .transforms.steps import Box as Box
from .transforms.steps import CenterCrop as CenterCrop
from .transforms.steps import Pad as Pad
from .transforms.steps import RandomCrop as RandomCrop
from .transforms.steps import RandomHorizontalFlip as RandomHorizontalFlip
from .transforms.steps import RandomResizedCrop as RandomResizedCrop
from .transforms.steps import RandomVerticalFlip as RandomVerticalFlip
from .transforms.steps import Resize as Resize
from .transforms.steps import Transform as Transform
from .transforms.steps import View as View

__version__: str
