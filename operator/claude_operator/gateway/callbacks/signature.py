"""How a callback is signed: HMAC-SHA256 over the moment of the try and the exact body.

The moment is part of what is signed, so that a receiver can refuse a POST that somebody recorded and sends
again later; the delivery's id is in the body. docs/api-claude-hub.md shows a receiver.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

DELIVERY_HEADER: Final = "X-Claude-Operator-Delivery"
"""The same over all tries of one delivery: a receiver that knows it has had it already."""
TIMESTAMP_HEADER: Final = "X-Claude-Operator-Timestamp"
"""Unix seconds of this try."""
SIGNATURE_HEADER: Final = "X-Claude-Operator-Signature"


def sign(key: str, timestamp: str, body: bytes) -> str:
    """The value of the signature header."""
    mac = hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"
