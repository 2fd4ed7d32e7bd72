"""Bringing a database to the version of this program, at start, in one transaction.

The migrations travel inside the distribution: an image and its schema cannot be mismatched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from claude_operator.gateway.errors import StoreUnavailableError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(connection: Connection) -> None:
    """Run what is missing.

    Raises:
        StoreUnavailableError: the database is a newer program's.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreUnavailableError(
            f"the database was written by a newer version ({error}): run that version, or restore a backup"
        ) from error
