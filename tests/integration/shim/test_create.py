"""A session is created, and everything that was said of it is kept."""

import pytest

from tests.integration.shim.stage import Stage

pytestmark = pytest.mark.controlplane


async def test_smoke(stage: Stage) -> None:
    made = await stage.api.create()
    assert made.status == 200
    print(made.body)
    session = made.session
    assert session["status"] == "pending"
    assert (await stage.object(session["id"]))["spec"]["suspend"] is True
