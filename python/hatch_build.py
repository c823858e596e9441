"""Puts libndshm.so into the wheel: the file that NDSHM_LIBRARY names, else one compiled from the sources.

NDSHM_LIBRARY=/path/libndshm.so NDSHM_ARCH=arm64   a finished library, and what it is for (default: this machine)
NDSHM_LIBRARY=none                                 a wheel without one, for where that of the npm package is used
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROCESSORS = {"x64": "x86_64", "arm64": "aarch64", "x86_64": "x86_64", "aarch64": "aarch64"}
HELP = (
    "ndshm: no libndshm.so could be compiled: {reason}. Install a C++17 compiler (Debian, Ubuntu: apt-get install g++; "
    "Alpine: apk add g++), or name a finished library by NDSHM_LIBRARY=/path/libndshm.so, or install without one by "
    "NDSHM_LIBRARY=none (for where the npm package ndshm brings it)."
)


class Library(BuildHookInterface):
    """The hook, of which hatchling asks these three things."""

    workshop: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """What compiling needs and this machine has not."""
        if os.environ.get("NDSHM_LIBRARY"):
            return []
        missing = [] if shutil.which("cmake") else ["cmake"]
        return missing if shutil.which("make") or shutil.which("ninja") else [*missing, "ninja"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the library to the wheel that is about to be built. An editable install uses the checkout's build/."""
        given = os.environ.get("NDSHM_LIBRARY")
        if version == "editable" or given == "none":
            return
        if given and not Path(given).is_file():
            self.app.abort(f"ndshm: there is no {given}, which NDSHM_LIBRARY names")
        processor = PROCESSORS.get(os.environ.get("NDSHM_ARCH", platform.machine()))
        if processor is None or platform.system() != "Linux":
            self.app.abort(f"ndshm: runs on Linux only, on {' and '.join(sorted(set(PROCESSORS.values())))}")
        library = Path(given) if given else self.compile()
        # scripts/portable.mjs has checked a given one: it needs no library, and no function younger than these.
        checked = (f"manylinux2014_{processor}", f"manylinux_2_17_{processor}", f"musllinux_1_1_{processor}")
        systems = checked if given else (f"linux_{processor}",)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{'.'.join(systems)}"
        build_data["force_include"][str(library)] = "ndshm/libndshm.so"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is there."""
        if self.workshop is not None:
            self.workshop.cleanup()

    def compile(self) -> Path:
        """Compiles the sources of the checkout, or of the sdist."""
        sources = next(
            (folder for folder in (Path(self.root), Path(self.root).parent) if (folder / "native").is_dir()), None
        )
        if sources is None:
            self.app.abort(HELP.format(reason="its sources are not there"))
        self.workshop = tempfile.TemporaryDirectory(prefix="ndshm-build-")
        self.run("cmake", f"-S{sources}", f"-B{self.workshop.name}", "-DCMAKE_BUILD_TYPE=Release")
        self.run("cmake", "--build", self.workshop.name, "--target", "ndshm_c")
        return Path(self.workshop.name, "libndshm.so")

    def run(self, *command: str) -> None:
        """Ends the build with what to do if the command fails."""
        try:
            finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        except OSError as error:
            self.app.abort(HELP.format(reason=error))
        if finished.returncode != 0:
            self.app.abort(f"{finished.stdout}\n{HELP.format(reason=f'{command[0]} failed, and said what is above')}")
