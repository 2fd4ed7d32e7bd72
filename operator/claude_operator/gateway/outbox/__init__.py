"""What the gateway owes the outside world, delivered at least once: a durable queue and its worker.

A call to somebody else's server can fail for hours, and no crash of ours may lose it. So what is owed is a
row, written in the same transaction as the reason for it (`queue.put`), and tried until it is delivered or
given up (`worker.Outbox`). A row is keyed by (session uid, kind): a session owes at most one thing of each
kind, and putting it again replaces what is wanted (its `version` rises) also while it waits or is under way.
What was delivered when the process died before it could note so is delivered again: receivers tell by the id.

Rejected: sending from where the reason arises (lost with the process, and slow receivers would hold up the
controller); a queue server (one more thing to run for a few rows an hour).

A second kind plugs in with two lines and one function::

    # Where the reason arises, within its transaction; the worker is told after the commit.
    queue.put(connection, Wanted(session_uid=uid, kind="github", namespace=..., project=...,
                                 target="https://api.github.com", body=json))
    wakeups.notify(queue.WAKEUP)

    # serve.py
    Outbox(..., kinds={"notify": notifier.deliver, "github": comments.deliver})

    async def deliver(self, delivery: Delivery) -> Result:
        number = delivery.kept or await self._find_or_create(...)   # at least once: look before creating
        ...
        return Delivered(kept=number)      # remembered over versions
        return Retry("api.github.com answers 502")
        return Retry("rate limit", after=600)
        return GiveUp("the issue is gone")

`delivery` names the contract, `pace` when it is tried, `queue` the rows, `worker` who does it when.
"""
