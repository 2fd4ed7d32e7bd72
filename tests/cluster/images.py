"""The product's two images, as the harness sees them: a Dockerfile, and a tag that says what is in it.

The tag is a hash over the Dockerfile and everything that it copies. So "is it built, is it loaded?" is a
look-up, an unchanged image costs nothing, and a changed one gets a new name that every pod template notices.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.files import digest
from tests.cluster.places import REPOSITORY, cache_dir

if TYPE_CHECKING:
    from tests.cluster.provider import Provider

_CODE = ("pyproject.toml", "README.md", "operator/claude_operator")


@dataclass(frozen=True, slots=True)
class Image:
    """One of the product's images.

    Attributes:
        name: its folder below `operator/images`.
        repository: the image's name without a tag. "localhost" is the registry that no runtime ever asks.
        inputs: what its Dockerfile copies, relative to the repository's root.
    """

    name: str
    repository: str
    inputs: tuple[str, ...]

    @property
    def dockerfile(self) -> str:
        """What users build, too; relative to the repository's root."""
        return f"operator/images/{self.name}/Dockerfile"

    def tag(self, root: Path = REPOSITORY) -> str:
        """The name, and a hash over all that determines the image, as it is below `root` now."""
        hashed = digest([root / path for path in (self.dockerfile, *self.inputs)], root=root)
        return f"{self.name}-{hashed}"

    def reference(self, tag: str) -> str:
        """The full name that pods use."""
        return f"{self.repository}:{tag}"

    @contextmanager
    def snapshot(self) -> Iterator[Path]:
        """A copy of the inputs to hash and build from: the checkout may be edited meanwhile.

        Else an image could be kept for ever under the hash of code that it does not hold.
        """
        place = cache_dir() / "images"
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place, prefix=".context-") as name:
            root = Path(name)
            for path in (self.dockerfile, *self.inputs):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                if (REPOSITORY / path).is_dir():
                    shutil.copytree(
                        REPOSITORY / path, root / path, ignore=shutil.ignore_patterns("__pycache__")
                    )
                else:
                    shutil.copy2(REPOSITORY / path, root / path)
            yield root


OPERATOR = Image("operator", "localhost/claude-operator", ("requirements/operator.txt", *_CODE))
SESSION = Image("session", "localhost/claude-operator-session", ("requirements/runner.txt", *_CODE))
ALL = (OPERATOR, SESSION)


def provide_all(provider: "Provider") -> Mapping[str, str]:
    """Build and load both images where that is needed; the names for pods, by image: operator, session."""
    return {image.name: provider.provide(image) for image in ALL}
