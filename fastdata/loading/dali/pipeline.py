"""DALI's pipeline of two operators, how it begins and how it ends: the only module that imports DALI, when used."""

import _thread
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from fastdata.loading.batch_job import Setup
from fastdata.loading.dali.options import Dali


def new_pipeline(source: Callable[[], tuple[Any, ...]], setup: Setup, options: Dali, num_threads: int) -> Any:
    """A pipeline that decodes what `source` gives: boxes of images, and of them the windows, resized and mirrored."""
    from nvidia.dali import Pipeline, fn, types

    device = setup.device
    (transform,) = setup.dataset.transform.transforms
    width, height = transform.output_size or (0, 0)
    hints: dict[str, Any] = {}
    if device is not None:
        hints = {
            "hw_decoder_load": options.hw_decoder_load,
            "preallocate_width_hint": options.width_hint,
            "preallocate_height_hint": options.height_hint,
            "jpeg_fancy_upsampling": True,  # as libjpeg does
        }
    pipeline = Pipeline(
        batch_size=setup.layouts[None].batch_size,
        num_threads=num_threads,
        device_id=None if device is None else device.index,
        prefetch_queue_depth=options.queue,
        exec_dynamic=True,  # its outputs stay ours for as long as we hold them
    )
    with pipeline:
        data, origin, shape, begin, end = fn.external_source(source=source, num_outputs=5, no_copy=True)
        where = "cpu" if device is None else "mixed"
        images = fn.decoders.image_slice(data, origin, shape, axis_names="WH", device=where, **hints)
        images = fn.resize(
            images,
            size=(height, width),
            roi_start=begin,
            roi_end=end,
            interp_type=types.INTERP_LINEAR if transform.interpolation == "bilinear" else types.INTERP_CUBIC,
            antialias=transform.antialias,
        )
        pipeline.set_outputs(images)
    return pipeline


def end_pipeline(pipelines: list[Any]) -> None:
    """End the pipeline that is the list's only element, and take it out of there; nobody else should hold it.

    In a thread of its own: a pipeline waits for its threads in `__del__`, and a Ctrl-C that the main thread gets in a
    `__del__` is printed and lost, so that training goes on. Waiting for a queue it raises.
    """
    if not pipelines or not pipelines[0]._pipe:  # at the interpreter's exit DALI has ended it itself
        return
    ended: SimpleQueue[None] = SimpleQueue()
    _thread.start_new_thread(_end, (pipelines, ended))
    ended.get()


def _end(pipelines: list[Any], ended: "SimpleQueue[None]") -> None:
    try:
        pipelines.pop()  # the last reference, so that it is destroyed here
    finally:
        ended.put(None)
