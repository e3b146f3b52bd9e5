import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import fastdata

PUBLIC: list[str] = vars(fastdata)["__all__"]


def imported_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after running `code`."""
    code += "; import sys; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(fastdata.__path__, "fastdata.")]


def test_everything_public_is_there_and_shown_and_nothing_else() -> None:
    assert "Loader" in PUBLIC
    for name in PUBLIC:
        assert getattr(fastdata, name) is not None
    assert dir(fastdata) == sorted(PUBLIC)


def test_no_module_hides_a_public_name() -> None:
    for module in modules():
        if not module.endswith("__main__"):
            importlib.import_module(module)
    for name in PUBLIC:
        assert f"fastdata.{name}" not in modules()
        assert type(getattr(fastdata, name)) is not type(sys)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        getattr(fastdata, "nothing")  # noqa: B009 - to type checkers it is an error already


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not {"torch", "cv2", "numpy", "nvidia", "matplotlib"} & imported_by("import fastdata")


def test_transforms_need_only_the_standard_library_and_numpy() -> None:
    assert not {"torch", "cv2", "PIL", "simplejpeg"} & imported_by("import fastdata; fastdata.draw")


def test_webdataset_is_never_imported() -> None:
    everything = "; ".join(f"import {module}" for module in modules() if not module.endswith("__main__"))
    assert "webdataset" not in imported_by(everything)


def test_a_class_shows_the_parameters_of_its_constructor() -> None:
    """In notebooks and editors, though what makes it a stream of standard input takes any."""
    shown = inspect.signature(fastdata.TarImageDataset)
    assert list(shown.parameters)[:3] == ["urls", "transform", "image"]
    assert shown.parameters["batch_size"].kind is inspect.Parameter.KEYWORD_ONLY
    assert not {"args", "options", "self"} & set(shown.parameters)

    class Own(fastdata.TarImageDataset):
        def __init__(self, bucket: str) -> None:
            super().__init__(f"s3://{bucket}/train.json")

    assert list(inspect.signature(Own).parameters) == ["bucket"]
