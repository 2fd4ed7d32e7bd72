"""One cluster by its name: which provider it is of, and bringing it up, down and back up again.

The provider is chosen once, at the first `up`, and recorded before anything is made: a `down` next week must
remove what was made then, whatever kubeconfig or Docker the shell has by then.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tests.cluster import environment, kind
from tests.cluster.existing import Existing
from tests.cluster.files import lock, write_json
from tests.cluster.kind import Kind
from tests.cluster.kubectl import Kubectl
from tests.cluster.native import Native
from tests.cluster.places import DEFAULT_NAME, cache_dir, state_dir
from tests.cluster.progress import say, step
from tests.cluster.provider import Provider

ProviderName = Literal["existing", "kind", "native"]
_RECORD = "cluster.json"
KUBECONFIG_VARIABLE = "CLAUDE_OPERATOR_KUBECONFIG"


class ConflictError(RuntimeError):
    """A cluster of this name is up already, of another provider than the one asked for."""


class NotUpError(RuntimeError):
    """There is no cluster of this name."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")

    provider: ProviderName
    kubeconfig: Path | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that `up` has brought up (or begun to)."""

    name: str
    state: Path
    kind: ProviderName
    provider: Provider

    @classmethod
    def up(
        cls,
        name: str = DEFAULT_NAME,
        *,
        kubeconfig: Path | None = None,
        provider: ProviderName | None = None,
    ) -> "Cluster":
        """Bring the cluster up; one that is up is left as it is, a broken or interrupted one is completed.

        Args:
            name: tells clusters on one machine apart.
            kubeconfig: use this cluster instead of making one; default: `$CLAUDE_OPERATOR_KUBECONFIG`.
            provider: kind or native regardless of what is there; default: kind where Docker answers and
                kind is installed, else native.

        Raises:
            ConflictError: it is up already, of another provider.
            ValueError: the arguments contradict each other, or the state folder holds something else.
        """
        state = state_dir(name)
        with _exclusively(state):
            record = _recorded(state)
            wanted = _wanted(kubeconfig, provider)
            if record is None:
                _refuse_foreign(state)
                record = wanted or _Record(provider="kind" if kind.available() else "native")
            elif wanted is not None and wanted != record:
                raise ConflictError(
                    f"cluster {name!r} is up already, as {_told(record)}; take it down before asking for "
                    f"{_told(wanted)}"
                )
            write_json(state / _RECORD, record.model_dump(mode="json"))
            cluster = cls(name, state, record.provider, _provider(name, state, record))
            say(f"cluster {name} ({_told(record)})")
            cluster.provider.up()
            cluster._write_environment()
        return cluster

    @classmethod
    def find(cls, name: str = DEFAULT_NAME) -> "Cluster":
        """The cluster that was brought up before.

        Raises:
            NotUpError: none was.
        """
        state = state_dir(name)
        record = _recorded(state)
        if record is None:
            raise NotUpError(
                f"no cluster {name!r} (looked in {state}); `python -m tests.cluster up` makes one"
            )
        return cls(name, state, record.provider, _provider(name, state, record))

    def down(self) -> None:
        """Remove everything that was made for it; safe to repeat after an interrupt."""
        with _exclusively(self.state), step(f"removing cluster {self.name}"):
            self.provider.down()
            # The record goes last: without it nobody would know that there is something left to remove.
            for entry in self.state.iterdir():
                if entry.name != _RECORD:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            shutil.rmtree(self.state)

    @property
    def kubectl(self) -> Kubectl:
        """A kubectl of the administrator."""
        return self.provider.kubectl

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.provider.kubeconfig

    @property
    def host_address(self) -> str:
        """The address at which pods reach servers on this machine."""
        return self.provider.host_address

    def _write_environment(self) -> None:
        programs = self.state / "bin"
        programs.mkdir(exist_ok=True)
        kubectl = programs / "kubectl"
        kubectl.unlink(missing_ok=True)
        kubectl.symlink_to(self.kubectl.binary)
        environment.contribute(self.state, {"KUBECONFIG": str(self.kubeconfig)}, path=[programs])


def _wanted(kubeconfig: Path | None, provider: ProviderName | None) -> _Record | None:
    """What the caller insists on, if on anything."""
    named = os.environ.get(KUBECONFIG_VARIABLE)
    if kubeconfig is None and named and provider in {None, "existing"}:
        kubeconfig = Path(named)
    if kubeconfig is not None:
        if provider not in {None, "existing"}:
            raise ValueError(f"a kubeconfig names an existing cluster: it can't be of provider {provider}")
        if not kubeconfig.is_file():
            raise ValueError(f"kubeconfig {kubeconfig}: no such file")
        return _Record(provider="existing", kubeconfig=kubeconfig.absolute())
    if provider == "existing":
        raise ValueError(f"provider existing: name its kubeconfig (or set {KUBECONFIG_VARIABLE})")
    return _Record(provider=provider) if provider else None


def _refuse_foreign(state: Path) -> None:
    """`down` removes the whole folder, so it must be one that `up` has made."""
    if state.is_dir() and any(state.iterdir()):
        raise ValueError(f"{state} is not empty and no cluster's state: choose another CLAUDE_OPERATOR_STATE")


def _provider(name: str, state: Path, record: _Record) -> Provider:
    match record.provider:
        case "existing":
            assert record.kubeconfig is not None
            return Existing(record.kubeconfig)
        case "kind":
            return Kind(name, state)
        case "native":
            return Native(name, state)


def _told(record: _Record) -> str:
    return f"existing, {record.kubeconfig}" if record.kubeconfig else record.provider


def _recorded(state: Path) -> _Record | None:
    try:
        return _Record.model_validate_json((state / _RECORD).read_text())
    except FileNotFoundError:
        return None


@contextmanager
def _exclusively(state: Path) -> Iterator[None]:
    # Not in the state folder, which goes: two who wait on a removed file's lock would both get it.
    name = sha256(str(state).encode()).hexdigest()[:16]
    with lock(cache_dir() / "locks" / name, purpose=f"working on {state}"):
        yield
