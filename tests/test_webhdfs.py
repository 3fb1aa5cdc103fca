"""Which answers of WebHDFS are waited out: a server of this process gives them, in the words of Hadoop 3.4."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from pinflow.webhdfs import WebHdfs, WebHdfsError

PASSING = [
    ("StandbyException", "Operation category READ is not supported in state standby"),
    ("SafeModeException", "Cannot create file /a. Name node is in safe mode."),
    ("IOException", "Failed to find datanode, suggest to check cluster health. excludeDatanodes=null"),
    ("IOException", "No active nodes contain this block"),
    ("RemoteException", "File /a could only be written to 0 of the 1 minReplication nodes."),
]


class Answers(http.server.BaseHTTPRequestHandler):
    """Refuses with the first of `refusals` as long as there are any."""

    refusals: list[tuple[str, str]]

    def do_GET(self) -> None:
        answer: dict[str, object] = {"FileStatus": {"length": 1}}
        if self.refusals:
            kind, message = self.refusals.pop(0)
            answer = {"RemoteException": {"exception": kind, "message": message}}
        self.send_response(403 if "RemoteException" in answer else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"webhdfs://127.0.0.1:{server.server_port}/a"
        server.shutdown()


@pytest.mark.parametrize("refusal", PASSING)
def test_what_passes_is_asked_again(url: str, refusal: tuple[str, str]) -> None:
    Answers.refusals = [refusal]
    assert WebHdfs({}, patience=10).get(url, "GETFILESTATUS") == {"FileStatus": {"length": 1}}
    assert Answers.refusals == []


def test_what_does_not_pass_is_told_at_once(url: str) -> None:
    Answers.refusals = [("AccessControlException", "Permission denied: user=stranger"), ("StandbyException", "")]
    with pytest.raises(WebHdfsError, match="Permission denied"):
        WebHdfs({}, patience=10).get(url, "GETFILESTATUS")
    assert len(Answers.refusals) == 1
