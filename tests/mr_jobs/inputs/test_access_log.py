import gzip
import hashlib
import hmac
import re
import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinflow.errors import ConfigurationError
from pinflow.mr_jobs.inputs.access_log import DROPPED, log_objects, parse_log
from pinflow.mr_jobs.inputs.blocks import Block
from pinflow.mr_jobs.inputs.log_lines import line_times, read_log_lines
from pinflow.mr_jobs.inputs.parsed import EVENT_COLUMNS, Parsed
from pinflow.mr_jobs.inputs.visitors import app_of, country_lookup, is_bot, load_secret, user_id

KEY = b"k" * 32
EXAMPLES = Path(__file__).parents[3] / "examples" / "access_log"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:24.0) Gecko/20140205 Firefox/24.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 6_1_3 like Mac OS X) AppleWebKit/536.26 Mobile/10B329 Safari/8536.25"
IPAD = "Mozilla/5.0 (iPad; CPU OS 7_0_4 like Mac OS X) AppleWebKit/537.51.1 Version/7.0 Mobile/11B554a Safari/9537.53"
ANDROID = "Mozilla/5.0 (Linux; Android 4.4.2; Nexus 5 Build/KOT49H) AppleWebKit/537.36 Chrome/33.0 Mobile Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def line(
    target="/a/b/c?q=1",
    *,
    method="GET",
    status="200",
    referrer="-",
    agent=FIREFOX,
    address="192.0.2.1",
    time="18/May/2015:02:05:03 +0200",
    request=None,
) -> bytes:
    request = f"{method} {target} HTTP/1.1" if request is None else request
    return f'{address} - - [{time}] "{request}" {status} 171 "{referrer}" "{agent}"'.encode()


def parse(*lines: bytes, site="Site.example", **options) -> Parsed:
    parsed = parse_log(Block(b"\n".join(lines)), site, KEY, **options)
    counts = parsed.counts
    total = sum(counts[name] for name in ("page_views", "blank_lines", "bad_lines", *DROPPED))
    assert counts["lines_read"] == total == len(b"\n".join(lines).split(b"\n")) - (not lines or not lines[-1])
    assert counts["bad_lines"] == len(parsed.bad)
    return parsed


def test_a_page_view_is_an_impression():
    parsed = parse(line())
    expected = hmac.new(KEY, b"192.0.2.1", hashlib.sha256).hexdigest()[:16]
    assert parsed.frame.columns == list(EVENT_COLUMNS)
    assert parsed.frame.row(0, named=True) == {
        "event_type": "impression",
        "timestamp": datetime(2015, 5, 18, 0, 5, 3, tzinfo=UTC),
        "user_id": expected,
        "pin_id": "/a/b/c",
        "app": "web",
        "country": None,
        "metro": None,
        "network": None,
        "domain": "site.example",
        "owner_id": "a",
        "board_id": "/a/b",
    }
    assert parsed.counts == dict.fromkeys(DROPPED, 0) | {
        "lines_read": 1,
        "blank_lines": 0,
        "bad_lines": 0,
        "truncated_files": 0,
        "page_views": 1,
    }


@pytest.mark.parametrize(
    ("target", "pin", "board", "owner"),
    [
        ("/", "/", "/", "/"),
        ("/a", "/a", "/a", "a"),
        ("/a/", "/a/", "/a", "a"),
        ("/a/b", "/a/b", "/a/b", "a"),
        ("/a/b/", "/a/b/", "/a/b", "a"),
        ("/a%20b/C%2f/é?x=/y#z", "/a%20b/C%2f/é", "/a%20b/C%2f", "a%20b"),
        ("/a#b?c", "/a", "/a", "a"),
        ("//a//b", "//a//b", "/a/b", "a"),
        ("http://site.example/a?b", "/a", "/a", "a"),
        ("http://site.example", "/", "/", "/"),
        ("http://site.example?x", "/", "/", "/"),
        (r"/say\"hi\"/\\x", r'/say"hi"/\x', r'/say"hi"/\x', 'say"hi"'),
        ("/a b/c", "/a b/c", "/a b/c", "a b"),
    ],
)
def test_paths(target, pin, board, owner):
    parsed = parse(line(target))
    assert parsed.frame.select("pin_id", "board_id", "owner_id").rows() == [(pin, board, owner)]


@pytest.mark.parametrize(
    ("referrer", "domain"),
    [
        ("http://Other.example/x", "other.example"),
        ("https://www.other.example:8080", "www.other.example"),
        ("HTTP://user@other.example?q", "other.example"),
        ("http://other.example.", "other.example"),
        ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
        ("http://bücher.example/", "bücher.example"),
        (r"http://other.example/\"x\"", "other.example"),
        ("-", None),
        ("", None),
        ("http://site.example/a", None),
        ("https://WWW.Site.example:443/a", None),
        ("android-app://com.example/", None),
        ("other.example", None),
        ("http:///x", None),
        ("about:blank", None),
    ],
)
@pytest.mark.parametrize("site", ["Site.example", "www.site.example"])
def test_referrers(referrer, domain, site):
    parsed = parse(line(referrer=referrer), site=site)
    clicks = parsed.frame.filter(pl.col("event_type") == "clickthrough")
    assert clicks["domain"].to_list() == ([domain] if domain else [])
    assert parsed.frame.filter(pl.col("event_type") == "impression")["domain"].to_list() == [site.lower()]
    same = [name for name in EVENT_COLUMNS if name not in ("event_type", "domain")]
    assert parsed.frame.select(same).n_unique() == 1
    assert parsed.counts["page_views"] == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (line(method="POST", status="404"), "dropped_method"),
        (line(request="-", status="408"), "dropped_method"),
        (line(request="", status="400"), "dropped_method"),
        (line(request=r"\x16\x03\x01", status="400"), "dropped_method"),
        (line("/a.css", status="404"), "dropped_status"),
        (line("nonsense", status="400"), "dropped_status"),
        (line("nonsense"), "bad_lines"),
        (line("/a/style.CSS?v=2", agent=GOOGLEBOT), "dropped_asset"),
        (line("/favicon.ico"), "dropped_asset"),
        (line("/v1.2/page.html"), "page_views"),
        (line("/pages/css"), "page_views"),
        (line(agent=GOOGLEBOT), "dropped_bot"),
        (line(agent="-"), "page_views"),
        (line(status="304"), "page_views"),
        (line(status="206"), "dropped_status"),
        (b"", "blank_lines"),
        (b" \t", "blank_lines"),
        (b"garbage", "bad_lines"),
        (line()[:-1], "bad_lines"),
        (line(time="31/Feb/2015:10:00:00 +0000"), "bad_lines"),
        (line(time="18/Mai/2015:10:00:00 +0000"), "bad_lines"),
        (line("/a\xe9".encode("latin-1").decode("latin-1")).replace("é".encode(), b"\xe9"), "bad_lines"),
        (line() + b' "-" 0.01', "page_views"),
        (line() + b"x", "bad_lines"),
        (line(address="2001:db8::7"), "page_views"),
        (line().replace(b" - - ", b" - Jane Doe "), "page_views"),
        (line().replace(b" - - ", b' - a"b '), "page_views"),
        (line().replace(b" 171 ", b" - "), "page_views"),
        (line() + b"\r", "page_views"),
        (line(agent=r"Mozilla/5.0 \"quoted\" (X11)"), "page_views"),
        (line(agent='Mozilla/5.0 "raw" (X11)'), "bad_lines"),
    ],
)
def test_each_line_is_counted_once_under_what_fits_first(text, reason):
    parsed = parse(line(), text, line())
    assert parsed.counts[reason] == 1 + 2 * (reason == "page_views")
    if reason == "bad_lines":
        assert parsed.bad[0].offset == len(line()) + 1
        assert parsed.bad[0].text == text


@pytest.mark.parametrize(
    ("agent", "app"), [(FIREFOX, "web"), (IPHONE, "iphone"), (IPAD, "ipad"), (ANDROID, "android"), ("-", "web")]
)
def test_apps(agent, app):
    assert parse(line(agent=agent)).frame["app"].to_list() == [app]
    assert app_of(agent) == app
    assert not is_bot(agent)


PIECES = st.sampled_from([*'"\\ []-', "a", "é", "[18/May/2015:02:05:03 +0200]", '" 200 5 "', '" "', "\r", " "])
GARBLED = st.lists(PIECES, max_size=6).map("".join)


@given(GARBLED, GARBLED, GARBLED, GARBLED)
@settings(max_examples=300)
def test_lines_are_taken_apart_as_the_expression_of_the_format_does(user, request, referrer, agent):
    text = f'h - {user} [18/May/2015:02:05:03 +0200] "{request}" 200 5 "{referrer}" "{agent}"'
    quoted = r'"((?:[^"\\]|\\.)*)"'
    time = r"\[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+\d{4})\]"
    match = re.match(rf"^(\S+) \S+ .*?{time} {quoted} (\d{{3}}) (?:\d+|-) {quoted} {quoted}(?:\s.*)?$", text)
    rows = read_log_lines(Block(text.encode()))
    assert rows.frame.height == (match is not None)
    if match:
        fields = [re.sub(r'\\(["\\])', r"\1", field) for field in (match[5], match[6])]
        expected = [None if field in ("", "-") else field for field in fields]
        assert rows.frame.select("referrer", "agent").row(0) == tuple(expected)


def test_objects_of_a_log():
    parsed = parse(line("/a/b/c", referrer="http://x.example/"), line("/a/b/c?2"), line("/", address="h"))
    pins = log_objects("pins", parsed.frame, file=3)
    assert pins.drop("_offset").rows() == [
        ("/a/b/c", "/a/b", "a", "site.example", 3),
        ("/", "/", "/", "site.example", 3),
    ]
    assert log_objects("boards", parsed.frame).drop("_offset", "_file").rows() == [
        ("/a/b", "a", "/a/b"),
        ("/", "/", "/"),
    ]
    users = log_objects("users", parsed.frame)
    assert users.columns == ["user_id", "country", "gender", "metro", "_file", "_offset"]
    assert users["user_id"].to_list() == [user_id("192.0.2.1", KEY), user_id("h", KEY)]
    assert users.schema["_file"] == pl.UInt32


def test_the_country_comes_from_the_address():
    parsed = parse(line(), line(address="::1"), country_of={"192.0.2.1": "DE"}.get)
    assert parsed.frame["country"].to_list() == ["DE", None]
    assert log_objects("users", parsed.frame)["country"].to_list() == ["DE", None]
    assert country_lookup("")("192.0.2.1") is None


def test_a_country_database_that_cannot_be_used(tmp_path):
    (tmp_path / "x.mmdb").write_bytes(b"junk")
    for name in ("x.mmdb", "none.mmdb"):
        with pytest.raises(ConfigurationError, match=name):
            country_lookup(str(tmp_path / name))


def test_an_empty_block():
    parsed = parse_log(Block(b""), "site", KEY)
    assert parsed.frame.schema == parse(line()).frame.schema
    assert parsed.counts["lines_read"] == 0
    assert line_times(Block(b"")).len() == 0


def test_times_of_lines_in_any_order():
    block = Block(b"\n".join([line(time=f"{day}/May/2015:02:05:03 +0200") for day in (18, 20, 17)] + [b"bad"]))
    moments = sorted(datetime.fromtimestamp(second, UTC) for second in line_times(block))
    assert moments == [datetime(2015, 5, day, 0, 5, 3, tzinfo=UTC) for day in (17, 18, 20)]


def test_the_real_log_balances_and_agrees_with_a_plain_count():
    text = b"".join(gzip.decompress(path.read_bytes()) for path in sorted(EXAMPLES.glob("*.log.gz")))
    lines = text.decode().splitlines()
    parsed = parse(*text.splitlines(), site="semicomplete.com")
    statuses = Counter(found[1] for text in lines if (found := re.search(r'" (\d{3}) (?:\d+|-) "', text)))
    assert (statuses["200"], statuses["304"], statuses["404"]) == (9126, 445, 213)
    gets = [text for text in lines if '] "GET ' in text]
    assert parsed.counts["lines_read"] == len(lines) == 10_000
    assert parsed.counts["dropped_method"] == len(lines) - len(gets)
    kept = [text for text in gets if re.search(r'" (?:200|304) ', text)]
    assert parsed.counts["dropped_status"] == len(gets) - len(kept)
    assert parsed.counts["bad_lines"] == sum(not text.endswith('"') for text in lines) == 1
    images = sum(bool(re.search(r"GET [^ ?#]*\.(png|ico|jpg|gif|css|js)[ ?#]", text)) for text in kept)
    assert images < parsed.counts["dropped_asset"] < images * 1.3
    googlebot = parsed.frame.filter(pl.col("pin_id") == "/robots.txt")
    assert googlebot.height == 0
    assert set(parsed.frame["app"]) == {"web", "iphone", "ipad", "android"}


def test_the_secret_is_made_once_and_kept(tmp_path):
    home = tmp_path / "new" / "home"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_secret(home), range(32)))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert stat.S_IMODE((home / "secret").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["secret"]


@pytest.mark.parametrize("text", ["", "abcd", "no hex", "é"])
def test_a_damaged_secret_is_never_replaced(tmp_path, text):
    (tmp_path / "secret").write_text(text)
    with pytest.raises(ConfigurationError, match=r"secret.*pinflow doctor"):
        load_secret(tmp_path)
    assert (tmp_path / "secret").read_text() == text
