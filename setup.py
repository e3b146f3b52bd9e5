"""The compiled kernel and the calls of a cache, optional parts; all else about this package stands in pyproject.toml.

Without a compiler or libjpeg-turbo (2.1 or later, with headers) the package is installed without what needs them.
FASTDATA_BUILD=yes makes that an error, FASTDATA_BUILD=no does not try. CFLAGS and LDFLAGS are honoured.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

if sys.version_info < (3, 11):  # noqa: UP036 - pip looks at what constraints.txt pins first, and gives up with a riddle
    raise SystemExit(f"fastdata needs Python 3.11 or newer, and this is {sys.version.split()[0]}: {sys.executable}")

BUILD = os.environ.get("FASTDATA_BUILD", "").lower()
# Free-threaded Pythons have no stable ABI yet: there the extension is built for just one version.
STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")


def pkg_config(what: str) -> list[str]:
    """What pkg-config says of libjpeg; nothing where it is missing or knows none."""
    program = shutil.which("pkg-config")
    if program is None:
        return []
    done = subprocess.run([program, what, "libjpeg"], capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


class OptionalBuild(build_ext):
    """A failure is a message, unless FASTDATA_BUILD=yes."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # compilers fail in as many ways as there are compilers
            if BUILD == "yes":
                raise
            self._say(error, self.extensions)

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            if BUILD == "yes":
                raise
            self._say(error, [ext])

    def _say(self, error: Exception, failed: list[Extension]) -> None:
        # what is not there can't be copied in an editable install
        self.extensions = [ext for ext in self.extensions if ext not in failed]
        names = ", ".join(ext.name for ext in failed)
        self.warn(
            f"fastdata is installed without its compiled {names}: {error}. The kernel needs a C compiler and "
            "libjpeg-turbo's headers (`apt install gcc libjpeg-dev`), the cache's calls a compiler; everything works "
            "without them, only slower"
        )


class Wheel(bdist_wheel):
    """One wheel for all versions of Python from 3.11 on, where the extension keeps to the stable ABI."""

    def finalize_options(self) -> None:
        if self.distribution.has_ext_modules() and STABLE:
            self.py_limited_api = "cp311"
        super().finalize_options()


CSRC = Path("fastdata", "csrc")  # relative, as setuptools wants it
SOURCES = sorted(map(str, CSRC.rglob("*.c")))
if not SOURCES and BUILD != "no":
    raise SystemExit(f"no sources of the kernel in {CSRC.resolve()}: run setup.py in the folder where it lies")
kernel = Extension(
    "fastdata.images._kernel",
    SOURCES,
    depends=sorted(map(str, CSRC.rglob("*.h"))),
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE else [],
    py_limited_api=STABLE,
    # Drawing must give what Python gives, to the last bit: no sum and product in one rounding. What these files have of
    # each other is nobody else's: another library of the process may have a `reserve` or `cut`, too.
    extra_compile_args=["-O3", "-std=gnu11", "-ffp-contract=off", "-fvisibility=hidden", *pkg_config("--cflags")],
    extra_link_args=pkg_config("--libs") or ["-ljpeg"],
)

# The locks of the cache of remote data are Linux's.
pieces = Extension(
    "fastdata.sources.node._pieces",
    ["fastdata/sources/node/pieces.c"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE else [],
    py_limited_api=STABLE,
    extra_compile_args=["-std=gnu11"],
)
extensions = [kernel, pieces] if sys.platform == "linux" else [kernel]

setup(
    ext_modules=[] if BUILD == "no" else extensions,
    cmdclass={"build_ext": OptionalBuild, "bdist_wheel": Wheel},
)
