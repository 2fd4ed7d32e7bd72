"""Small questions to an HTTPS or HTTP endpoint of the cluster: is it ready?

kubectl could ask as well, at a tenth of a second of CPU per question; readiness is polled fifty times a
second.
"""

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.certs import KeyPair


@dataclass(frozen=True, slots=True)
class Probe:
    """GET `path` on `host`:`port`; 200 is healthy. Over TLS when an authority is given."""

    host: str
    port: int
    path: str
    authority: Path | None = None
    client: KeyPair | None = None

    def healthy(self) -> bool:
        """Whether the answer was 200 within two seconds."""
        connection = self._connection()
        try:
            connection.request("GET", self.path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            # Not listening yet, still starting, or going down: not healthy is the whole answer.
            return False
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.authority is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=2)
        context = ssl.create_default_context(cafile=self.authority)
        if self.client:
            context.load_cert_chain(self.client.cert, self.client.key)
        return http.client.HTTPSConnection(self.host, self.port, timeout=2, context=context)
