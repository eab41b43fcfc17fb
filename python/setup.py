"""What pyproject.toml cannot say: with the program inside (`make wheel` puts it there) the package is for one platform,
any Python 3, and brings the command `mmq`; without it, as `pip install ./python` finds it, it is Python alone."""

from pathlib import Path

from setuptools import setup
from setuptools.dist import Distribution

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70.1
    from wheel.bdist_wheel import bdist_wheel

inside = (Path(__file__).parent / "src/mmq/bin/mmq").is_file()


class PlatformDistribution(Distribution):
    def has_ext_modules(self) -> bool:
        return True


class AnyPython(bdist_wheel):
    """No module of it is compiled: one wheel does for every Python."""

    def get_tag(self) -> tuple:
        return ("py3", "none", super().get_tag()[2])


if inside:
    setup(distclass=PlatformDistribution, cmdclass={"bdist_wheel": AnyPython}, scripts=["scripts/mmq"])
else:
    setup()
