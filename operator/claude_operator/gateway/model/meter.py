"""The meter: reserve before, book after, never above a cap by more than one response.

The sums are held in memory and decided on without a pause in between, so parallel requests cannot slip
past each other; the database is written beside and read once per session. A reservation is on disk before
the first byte of an answer is passed on, and one that is found at start is booked whole: neither a crash
nor a client that hangs up makes a response free.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from claude_operator.gateway.clock import utc_now
from claude_operator.gateway.errors import Refusal, StoreUnavailableError
from claude_operator.gateway.model import accounts
from claude_operator.gateway.model.accounts import Reservation
from claude_operator.gateway.model.gauge import Admission, Gauge, decide
from claude_operator.gateway.model.usage import NANO_PER_USD, Spent
from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from claude_operator.gateway.live import Grant
    from claude_operator.gateway.scope import Caps
    from claude_operator.gateway.store.database import Store
    from claude_operator.resources.project import Budgets

_LONGEST_WAIT: Final = 300.0
"""Seconds that a request waits for others to be settled."""
_RETRY_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Account:
    """A session's sums."""

    spent: Spent
    under_way: dict[str, Reservation] = field(default_factory=dict)


@dataclass(slots=True)
class _Budget:
    """A project's sums; those of a day and month that are over are read again."""

    day: str
    spent_today: int
    spent_this_month: int
    under_way: dict[str, Reservation] = field(default_factory=dict)


class Meter:
    """Sums of every session and project that has asked for a model since the start."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._accounts: dict[str, _Account] = {}
        self._budgets: dict[tuple[str, str], _Budget] = {}
        self._changed = asyncio.Event()
        self._closing = False
        self._late: set[asyncio.Task[None]] = set()

    async def recover(self) -> None:
        """At start: book what a crash has cut off."""
        count = await self._store.write(lambda connection: accounts.book_interrupted(connection, _today()))
        if count:
            _log.warning("%d model requests were cut off by a crash; their reservations are booked", count)

    def close(self) -> None:
        """Stop retrying; what can't be written now is booked as its reservation at the next start."""
        self._closing = True

    async def reserve(
        self,
        grant: Grant,
        caps: Caps,
        budgets: Budgets | None,
        *,
        model: str,
        input_tokens: int,
        output_tokens: int,
        cost_nanousd: int | None,
    ) -> Reservation:
        """Reserve the most that a request can use; wait while it does not fit beside others.

        Args:
            grant: who asks.
            caps: the session's.
            budgets: the project's.
            model: which.
            input_tokens: an upper estimate.
            output_tokens: `max_tokens`.
            cost_nanousd: of both; None when the model has no price.

        Raises:
            Refusal: 403, a cap is reached, or it cannot be kept because the model has no price.
        """
        if cost_nanousd is None and (caps.cost_nanousd is not None or _money(budgets)):
            raise Refusal(
                403,
                Reason.MODEL_REFUSED,
                f"the model {model} has no known price, so the cost cap can't be kept: "
                "add it to the ClaudeProject's model.prices",
            )
        reservation = Reservation(
            id=str(uuid.uuid4()),
            session_uid=grant.session_uid,
            attempt=grant.attempt,
            namespace=grant.namespace,
            project=grant.project,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_nanousd=cost_nanousd or 0,
        )
        account = await self._account(grant.session_uid)
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                while True:
                    budget = await self._budget(grant.namespace, grant.project)
                    # No await from here to the entry into the books.
                    admission, gauge = decide(_gauges(account, budget, caps, budgets, reservation))
                    if admission is Admission.GO:
                        account.under_way[reservation.id] = reservation
                        budget.under_way[reservation.id] = reservation
                        return reservation
                    if admission is Admission.REFUSE:
                        assert gauge is not None
                        raise Refusal(403, gauge.reason, gauge.message)
                    await self._changed.wait()
        except TimeoutError:
            raise Refusal(
                529, Reason.MODEL_OVERLOADED, "other requests of the session hold what its caps leave"
            ) from None

    async def record(self, reservation: Reservation) -> None:
        """Put a reservation on disk.

        Raises:
            StoreUnavailableError: it is not; the request must not be answered.
        """
        await self._store.write(lambda connection: accounts.reserve(connection, reservation))

    @property
    def failing(self) -> bool:
        """Whether reservations can't be put on disk now."""
        return self._store.failing

    def book_unrecorded(self, reservation: Reservation) -> None:
        """The model was asked, and then the reservation could not be put on disk: booked once it can be."""
        spent, day = reservation.whole(), _today()
        self._book(reservation, spent)

        def write(connection: Connection) -> None:
            accounts.reserve(connection, reservation)
            accounts.settle(connection, reservation, spent, day)

        task = asyncio.create_task(self._until_written(write, reservation.session_uid))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def release(self, reservation: Reservation) -> None:
        """The request came to nothing: nothing is booked."""
        self._book(reservation, Spent())
        self._store.post(
            lambda connection: accounts.settle(connection, reservation, Spent(), _today()), "a release"
        )

    async def settle(self, reservation: Reservation, spent: Spent) -> None:
        """Book what a request has used; the memory at once, the database until it succeeds."""
        self._book(reservation, spent)
        day = _today()
        await self._until_written(
            lambda connection: accounts.settle(connection, reservation, spent, day), reservation.session_uid
        )

    async def _until_written(self, write: Callable[[Connection], None], session_uid: str) -> None:
        while True:
            try:
                await self._store.write(write)
            except StoreUnavailableError as error:
                # Given up only at the process's end: a reservation on disk is booked at the next start.
                _log.warning("usage of session %s is not written yet: %s", session_uid, error)
                if self._closing:
                    return
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    def refusal(self, caps: Caps, spent: Spent) -> Gauge | None:
        """The cap that is reached already, if any."""
        account = _Account(spent)
        budget = _Budget("", 0, 0)
        nothing = Reservation("", "", 0, "", "", "", 0, 0, 0)
        admission, gauge = decide(_gauges(account, budget, caps, None, nothing))
        return gauge if admission is Admission.REFUSE else None

    async def budget_refusal(self, namespace: str, project: str, budgets: Budgets | None) -> Gauge | None:
        """The project's budget that is used up, if any."""
        budget = await self._budget(namespace, project)
        nothing = Reservation("", "", 0, "", "", "", 0, 0, 0)
        admission, gauge = decide(_budget_gauges(budget, budgets, nothing))
        return gauge if admission is Admission.REFUSE else None

    def forget(self, session_uid: str) -> None:
        """The session is finished: its sums are in the database alone from now on."""
        account = self._accounts.get(session_uid)
        if account is not None and not account.under_way:
            del self._accounts[session_uid]

    def _book(self, reservation: Reservation, spent: Spent) -> None:
        account = self._accounts.get(reservation.session_uid)
        if account is not None and reservation.id in account.under_way:
            del account.under_way[reservation.id]
            account.spent += spent
        budget = self._budgets.get((reservation.namespace, reservation.project))
        if budget is not None and reservation.id in budget.under_way:
            del budget.under_way[reservation.id]
            budget.spent_today += spent.cost_nanousd
            budget.spent_this_month += spent.cost_nanousd
        self._changed.set()
        self._changed = asyncio.Event()

    async def _account(self, session_uid: str) -> _Account:
        account = self._accounts.get(session_uid)
        if account is None:
            spent = await self._store.read(
                lambda connection: accounts.spent_by_session(connection, session_uid)
            )
            account = self._accounts.setdefault(session_uid, _Account(spent))
        return account

    async def _budget(self, namespace: str, project: str) -> _Budget:
        key, day = (namespace, project), _today()
        budget = self._budgets.get(key)
        if budget is None:
            today, month = await self._store.read(
                lambda connection: (
                    accounts.spent_by_project(connection, namespace, project, day),
                    accounts.spent_by_project(connection, namespace, project, f"{day[:7]}-01"),
                )
            )
            budget = self._budgets.setdefault(key, _Budget(day, today, month))
        if budget.day != day:
            if budget.day[:7] != day[:7]:
                budget.spent_this_month = 0
            budget.day, budget.spent_today = day, 0
        return budget


def _today() -> str:
    return utc_now().strftime("%Y-%m-%d")


def _money(budgets: Budgets | None) -> bool:
    return budgets is not None and (budgets.daily_usd is not None or budgets.monthly_usd is not None)


def _gauges(
    account: _Account, budget: _Budget, caps: Caps, budgets: Budgets | None, asked: Reservation
) -> Iterator[Gauge]:
    reserved = account.under_way.values()
    if caps.cost_nanousd is not None:
        yield Gauge(
            limit=caps.cost_nanousd,
            spent=account.spent.cost_nanousd,
            reserved=sum(one.cost_nanousd for one in reserved),
            asked=asked.cost_nanousd,
            reason=Reason.BUDGET_EXCEEDED,
            message=f"the session has spent ${account.spent.cost_nanousd / NANO_PER_USD:.6f} of "
            f"${caps.cost_nanousd / NANO_PER_USD:g}: raise limits.maxCostUSD to go on",
        )
    if caps.tokens is not None:
        yield Gauge(
            limit=caps.tokens,
            spent=account.spent.tokens,
            reserved=sum(one.tokens for one in reserved),
            asked=asked.tokens,
            reason=Reason.BUDGET_EXCEEDED,
            message=f"the session has used {account.spent.tokens} of {caps.tokens} tokens: "
            "raise limits.maxTokens to go on",
        )
    if caps.turns is not None:
        yield Gauge(
            limit=caps.turns,
            spent=account.spent.turns,
            reserved=len(reserved),
            asked=1,
            reason=Reason.MAX_TURNS,
            message=f"the session has had {account.spent.turns} of {caps.turns} turns: "
            "raise limits.maxTurns to go on",
        )
    yield from _budget_gauges(budget, budgets, asked)


def _budget_gauges(budget: _Budget, budgets: Budgets | None, asked: Reservation) -> Iterator[Gauge]:
    if budgets is None:
        return
    reserved = sum(one.cost_nanousd for one in budget.under_way.values())
    for limit, spent, name, period in (
        (budgets.daily_usd, budget.spent_today, "dailyUSD", "today"),
        (budgets.monthly_usd, budget.spent_this_month, "monthlyUSD", "this month"),
    ):
        if limit is not None:
            yield Gauge(
                limit=round(limit * NANO_PER_USD),
                spent=spent,
                reserved=reserved,
                asked=asked.cost_nanousd,
                reason=Reason.BUDGET_EXCEEDED,
                message=f"the project has spent ${spent / NANO_PER_USD:.6f} of ${limit:g} {period}: "
                f"raise budgets.{name} of the ClaudeProject, or wait",
            )
