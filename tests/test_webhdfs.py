"""Which answers of HDFS are waited out: those of a NameNode that is away, as the real one words them."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from pinflow.webhdfs import WebHdfs, WebHdfsError

FROM = "Call From vm/127.0.0.1 to localhost:8020 failed on"
PASSING = [
    ("StandbyException", "Operation category READ is not supported in state standby"),
    (
        "ConnectException",
        f"{FROM} connection exception: java.net.ConnectException: Connection refused; For more details",
    ),
    (
        "SocketTimeoutException",
        f"{FROM} socket timeout exception: java.net.SocketTimeoutException: 60000 millis timeout",
    ),
    ("SocketException", f"{FROM} socket exception: java.net.SocketException: Connection reset; For more details"),
    ("EOFException", 'End of File Exception between local host is: "vm/127.0.0.1"; '),
    ("IOException", "Failed on local exception: java.io.IOException: Connection reset by peer; Host Details :"),
    ("IOException", "Failed to find datanode, suggest to check cluster health. excludeDatanodes=null"),
    ("IOException", "No active nodes contain this block"),
]


class NameNode(http.server.ThreadingHTTPServer):
    """Answers with each of `errors`, then as asked; breaks the first `broken` answers off."""

    errors: list[tuple[str, str]]
    broken: int


class Answer(http.server.BaseHTTPRequestHandler):
    server: NameNode

    def do_GET(self) -> None:
        error = self.server.errors.pop() if self.server.errors else None
        told = {"RemoteException": {"exception": error[0], "message": error[1]}} if error else {"Path": "/user/a"}
        body = json.dumps(told).encode()
        self.send_response(403 if error else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: 4 if self.server.broken else None])
        self.server.broken = max(0, self.server.broken - 1)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def namenode() -> Iterator[NameNode]:
    with NameNode(("127.0.0.1", 0), Answer) as server:
        server.errors, server.broken = [], 0
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("error", PASSING)
def test_a_namenode_that_is_away_is_waited_for(namenode: NameNode, error: tuple[str, str]) -> None:
    namenode.errors = [error]
    found = WebHdfs({}, patience=20).get(f"webhdfs://127.0.0.1:{namenode.server_port}/", "GETHOMEDIRECTORY")
    assert found == {"Path": "/user/a"}


@pytest.mark.parametrize("broken", [0, 2])
def test_a_file_that_breaks_off_is_read_again(namenode: NameNode, broken: int) -> None:
    namenode.broken = broken
    found = bytearray(19)
    WebHdfs({}, patience=20).read_into(f"webhdfs://127.0.0.1:{namenode.server_port}/a", 0, memoryview(found))
    assert found == b'{"Path": "/user/a"}'


@pytest.mark.parametrize("kind", ["AccessControlException", "FileNotFoundException", "EOFException", "IOException"])
def test_what_stays_wrong_is_told_at_once(namenode: NameNode, kind: str) -> None:
    namenode.errors = [(kind, "no"), (kind, "no")]
    with pytest.raises(WebHdfsError, match="no") as told:
        WebHdfs({}, patience=20).get(f"webhdfs://127.0.0.1:{namenode.server_port}/", "GETHOMEDIRECTORY")
    assert told.value.kind == kind
    assert len(namenode.errors) == 1
