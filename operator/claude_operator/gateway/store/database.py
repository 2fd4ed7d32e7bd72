"""Reading, and writing by group commit.

SQLite has one writer, and a durable commit costs an fsync. So every write is a small function that is
queued; one thread takes whatever is queued, runs each function in a savepoint of one immediate transaction
and commits once. A hundred streams that end together share one fsync, nobody waits for a lock, and a write
that was acknowledged is on disk. A function that raises undoes its own part only.

Rejected: a transaction per write (SQLITE_BUSY under load, an fsync each); batching by time (adds latency
when idle); the async drivers, which hop threads for each statement and cost ten times the CPU of one hop
for a batch. The functions are plain Core code, so they run unchanged on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from claude_operator.gateway.errors import StoreUnavailableError
from claude_operator.gateway.store.migrate import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sqlalchemy import Connection, Engine

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MOST_IN_ONE_COMMIT: Final = 128
_READERS: Final = 4
_BUSY_MILLISECONDS: Final = 5000
"""How long SQLite waits for a lock: only a second process (a backup) can hold one."""


@dataclass(slots=True)
class _Write(Generic[T]):
    operation: Callable[[Connection], T]
    done: asyncio.Future[T]


class Store:
    """The database, an async context manager. Every method may raise StoreUnavailableError."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._queue: asyncio.Queue[_Write[Any] | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.failing = False
        """The last commit did not succeed: whoever can wait for the next one should."""
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(_READERS, "store-reader")

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().run_in_executor(self._writer, self._transact, upgrade)
        self._task = asyncio.create_task(self._write_queued(), name="store-writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was queued before is written."""
        if self._task is not None:
            task, self._task = self._task, None
            self._queue.put_nowait(None)
            await task
        self._readers.shutdown()
        self._writer.shutdown()
        self._engine.dispose()

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run `operation` on one consistent view of the data, beside whatever is written."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, operation)

    async def write(self, operation: Callable[[Connection], T]) -> T:
        """Run `operation` and return its result once that is on disk.

        What it raises is raised here, and its part undone. A caller that is cancelled does not undo it.
        """
        if self._task is None:
            raise StoreUnavailableError("the gateway's database is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Write(operation, done))
        return await done

    def post(
        self,
        operation: Callable[[Connection], None],
        what: str,
        *,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Run `operation` soon, after all writes that were asked for before; a failure is logged.

        Args:
            operation: the write.
            what: its name in the log.
            done: called once it is on disk.
        """
        if self._task is None:
            _log.error("%s was not written: the database is closed", what)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def finished(future: asyncio.Future[None]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is not None:
                _log.error("%s was not written: %s", what, error)
            elif done is not None:
                done()

        future.add_done_callback(finished)
        self._queue.put_nowait(_Write(operation, future))

    def _look(self, operation: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return operation(connection)
        except DBAPIError as error:
            raise _unavailable(error) from error

    async def _write_queued(self) -> None:
        last = False
        while not last:
            batch: list[_Write[Any]] = []
            while len(batch) < _MOST_IN_ONE_COMMIT and not (batch and self._queue.empty()):
                write = await self._queue.get()
                if write is None:
                    last = True
                    break
                batch.append(write)
            if batch:
                await self._commit(batch)

    async def _commit(self, batch: list[_Write[Any]]) -> None:
        operations = [write.operation for write in batch]
        results: list[Any]
        try:
            results = await asyncio.get_running_loop().run_in_executor(
                self._writer, self._transact, lambda connection: _each(connection, operations)
            )
            self.failing = False
        except Exception as error:  # noqa: BLE001 - delivered to every waiting caller; the writer must live on
            results = [error] * len(batch)
            self.failing = True
        for write, result in zip(batch, results, strict=True):
            if write.done.done():
                continue  # its caller was cancelled
            if isinstance(result, BaseException):
                write.done.set_exception(result)
            else:
                write.done.set_result(result)

    def _transact(self, operation: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as plain:
                connection = plain.execution_options(writes=True)
                with connection.begin():
                    return operation(connection)
        except DBAPIError as error:
            raise _unavailable(error) from error


def _each(connection: Connection, operations: list[Callable[[Connection], Any]]) -> list[Any]:
    results: list[Any] = []
    for operation in operations:
        savepoint = connection.begin_nested()
        try:
            result = operation(connection)
        except OperationalError:
            # Disk full, I/O error: SQLite has rolled the whole transaction back, savepoint and all. Nothing
            # of the batch stands; to roll back the savepoint would only hide the cause.
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the caller of this one write
            savepoint.rollback()
            results.append(error)
        else:
            savepoint.commit()
            results.append(result)
    return results


def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=_READERS + 1, max_overflow=0)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: object) -> None:
    # The driver must not open transactions of its own: `begin immediate` below would fail.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={_BUSY_MILLISECONDS}",
            "journal_size_limit=67108864",
        ):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _unavailable(error: DBAPIError) -> StoreUnavailableError:
    return StoreUnavailableError(f"the gateway's database cannot serve now: {error.orig}")
