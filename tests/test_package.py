import subprocess
import sys

import pytest

import fastdata


def imported_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after running `code`."""
    code += "; import sys; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_everything_public_is_there_and_nothing_else():
    for name in fastdata.__all__:
        assert getattr(fastdata, name) is not None
    assert set(fastdata.__all__) - {"__version__"} == set(fastdata._HOME)


def test_a_module_does_not_hide_the_function_of_its_name():
    import fastdata.images.decode
    import fastdata.loading.collate

    assert callable(fastdata.loading.collate)
    assert callable(fastdata.images.decode)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastdata.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    assert not {"torch", "cv2", "numpy", "nvidia", "matplotlib"} & imported_by("import fastdata")


def test_transforms_need_only_the_standard_library_and_numpy():
    assert not {"torch", "cv2", "PIL", "simplejpeg"} & imported_by("import fastdata; fastdata.draw")
