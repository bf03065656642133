# SPDX-License-Identifier: Apache-2.0
"""Every answer of the admin interface is one that conf/openapi.yaml describes."""
import http.client
import json
import os
import pathlib
import re
import socket

import jsonschema
import pytest
import yaml

from sluicetest import free_port, wait_until
from sluicetest.dm_stand_in import DmStandIn

SPEC = yaml.safe_load((pathlib.Path(__file__).resolve().parents[2] / "conf/openapi.yaml").read_text("utf-8"))
SEEN = set()  # (path template, method, status)


def resolve(node):
    """What a $ref of the document means."""
    while "$ref" in node:
        target = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def validate(value, schema, what):
    """Hold a value to a schema of the document."""
    root = {**schema, "components": SPEC["components"]}
    errors = list(jsonschema.Draft202012Validator(root).iter_errors(value))
    told = "\n".join(f"{error.json_path}: {error.message}" for error in errors)
    assert not errors, f"{what}: {told}\nin {json.dumps(value, indent=1)[:4000]}"


def template_of(path):
    """The path of the document that |path| is one of."""
    path = path.split("?")[0]
    for template in SPEC["paths"]:
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path):
            return template
    return None


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the admin socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Api:
    """Calls that hold each answer to the document."""

    def __init__(self, open_connection, token=None):
        self.open_connection, self.token = open_connection, token

    def _begin(self, method, path, body, headers):
        connection = self.open_connection()
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, data, {**sent, **(headers or {})})
        return connection, connection.getresponse()

    @staticmethod
    def _described(method, path, answer):
        """The description of this answer; fails when there is none, or the headers differ from it."""
        template = template_of(path)
        assert template, f"{path} is answered with {answer.status}, and is not in the document"
        operation = SPEC["paths"][template].get(method.lower()) or next(
            value for key, value in SPEC["paths"][template].items() if key in ("get", "post"))
        responses = operation["responses"]
        assert str(answer.status) in responses, f"{method} {path}: {answer.status} is not described"
        SEEN.add((template, method.lower(), answer.status))
        described = resolve(responses[str(answer.status)])
        for name, header in described.get("headers", {}).items():
            assert answer.getheader(name) is not None or not header.get("required"), f"{path}: no header {name}"
        kind = answer.getheader("Content-Type").split(";")[0]
        assert list(described["content"]) == [kind], f"{method} {path}: {answer.status} has the type {kind}"
        return described["content"][kind]["schema"]

    def call(self, method, path, body=None, status=200, headers=None):
        """One call; returns its document, or its text."""
        connection, answer = self._begin(method, path, body, headers)
        try:
            text = answer.read().decode()
            assert answer.status == status, f"{method} {path}: {answer.status}, wanted {status}: {text[:2000]}"
            schema = self._described(method, path, answer)
            if "json" not in answer.getheader("Content-Type"):
                return text
            document = json.loads(text)
            validate(document, schema, f"{method} {path} {status}")
            return document
        finally:
            connection.close()

    def get(self, path, status=200):
        """GET."""
        return self.call("GET", path, status=status)

    def post(self, path, body=None, status=200):
        """POST of an object."""
        return self.call("POST", path, {} if body is None else body, status)

    def events(self, number):
        """The events of a switch, as they come; each is held to the document."""
        path = f"/v1/switches/{number}/events"
        connection, answer = self._begin("GET", path, None, None)
        try:
            assert answer.status == 200, answer.read()
            schema = self._described("GET", path, answer)
            for line in answer:
                line = line.decode().rstrip("\n")
                if line and not line.startswith(":"):
                    assert line.startswith("data: "), line
                    event = json.loads(line.removeprefix("data: "))
                    validate(event, schema, path)
                    yield event
        finally:
            connection.close()


def api_of(one):
    """Calls to a Sluice over its unix socket."""
    return Api(lambda: UnixConnection(one.socket))


def source_path(one, verb=""):
    """/v1/sources/ID[/verb]."""
    return f"/v1/sources/{one.source_id}" + (f"/{verb}" if verb else "")


@pytest.fixture(name="one")
def fixture_one(pair, sluice):
    """A Sluice in front of a and b that routes to a."""
    pair.a.query("CREATE DATABASE test_admin")
    pair.a.query("CREATE TABLE test_admin.t (id INT PRIMARY KEY)")
    pair.b.wait_for(pair.a.executed())
    made = sluice(pair).start_ready()
    wait_until(lambda: made.active == "a", 20, "clients are routed")
    return made


def test_reading_answers_are_described(one):
    """Status, health, metrics and an empty history are as the document says, from the first moment on."""
    api = api_of(one)
    answer = api.get("/v1/sources")
    assert [source["source-id"] for source in answer["sources"]] == [one.source_id]
    assert api.get(source_path(one))["source"]["active"] == "a"
    assert api.get(source_path(one, "history"))["switches"] == []
    assert api.get(source_path(one, "history") + "?limit=1000")["switches"] == []
    api.get("/healthz")
    api.get("/readyz")
    assert "\n# TYPE sluice_epoch gauge\n" in api.get("/metrics")


def test_metrics_and_status_agree(one):
    """What the metrics say of a source is what its status says."""
    api = api_of(one)
    source = api.get(source_path(one))["source"]
    metrics = one.metrics()
    assert metrics[f'sluice_epoch{{source="{one.source_id}"}}'] == source["epoch"]
    assert metrics[f'sluice_source_mode{{source="{one.source_id}",mode="{source["mode"]}"}}'] == 1
    assert metrics[f'sluice_cutover_phase{{source="{one.source_id}",phase="idle"}}'] == 1
    assert metrics[f'sluice_invariant_violations_total{{source="{one.source_id}"}}'] == 0
    for backend in source["backends"]:
        labels = f'source="{one.source_id}",backend="{backend["name"]}"'
        assert metrics[f"sluice_backend_up{{{labels}}}"] == backend["reachable"]
        assert metrics[f"sluice_backend_active{{{labels}}}"] == (backend["name"] == source["active"])
    assert metrics["process_open_fds"] > 5


def test_every_metric_has_a_name_and_a_value(one):
    """Nothing is declared without a sample, and no counter comes without a family of its own."""
    _, text = one.get("/metrics")
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    names = re.findall(r"^([a-z_]+)[{ ]", text, re.MULTILINE)
    assert len(types) > 30 and "sluice_unknown_commands_total" in types
    assert not [name for name, kind in types.items() if kind not in ("counter", "gauge", "histogram")]
    families = {re.sub(r"_(bucket|sum|count)$", "", name) if name.startswith("sluice_hold_seconds_") else name
                for name in names}
    assert set(types) == families, set(types) ^ families


def test_switch_and_its_events_are_described(one):
    """A whole switch: check, order, events, outcome, history; and again after a restart."""
    api = api_of(one)
    checked = api.post(source_path(one, "check"), {"to": "b"})
    assert checked["result"] and checked["checks"]
    number = api.post(source_path(one, "switch"), {"to": "b", "wait-catchup": "5s"}, status=202)["switch"]
    events = list(api.events(number))
    assert [event["type"] for event in events[:-1]] == ["step"] * (len(events) - 1) and len(events) > 5
    assert events[-1]["type"] == "end" and events[-1]["result"], events[-1]
    outcome = api.get(f"/v1/switches/{number}")
    assert outcome["switch"]["state"] == "done" and outcome["switch"]["to"] == "b" and outcome["code"] == 0
    assert events[-1]["switch"]["number"] == number
    assert [step["text"] for step in outcome["switch"]["steps"]] == [event["text"] for event in events[:-1]]
    assert [switch["number"] for switch in api.get(source_path(one, "history"))["switches"]] == [number]
    assert api.get(source_path(one))["source"]["active"] == "b"
    assert list(api.events(number)) == events
    one.restart()
    replayed = list(api.events(number))
    assert [event["type"] for event in replayed] == ["end"] and replayed[0]["switch"]["state"] == "done"


def test_refused_switch_is_described(pair, one):
    """A switch that the gate refuses ends with code 3, undone, and says so in the same shapes."""
    api = api_of(one)
    pair.a.stop_replica()
    pair.b.query("INSERT INTO test_admin.t VALUES (1)")
    assert not api.post(source_path(one, "check"), {"to": "b", "wait-catchup": 0})["result"]
    number = api.post(source_path(one, "switch"), {"to": "b", "wait-catchup": 0}, status=202)["switch"]
    end = list(api.events(number))[-1]
    assert end["code"] == 3 and not end["result"] and end["msg"]
    assert api.get(f"/v1/switches/{number}")["code"] == 3
    assert api.get(source_path(one))["source"]["active"] == "a"


def test_readdress_is_described(pair, sluice):
    """A dry run of an address change; an order that cannot be taken; of a source without DM it is refused."""
    one = sluice(pair)
    stand_in = DmStandIn(pair.a.port, pair.b)
    try:
        one.source["consumer"] = {"type": "dm", "master-addr": stand_in.address}
        one.start()
        api = api_of(one)
        order = {"to": pair.b.address, "task-files": [], "dry-run": True, "wait-catchup": 0, "source-file":
                 f"source-id: {one.source_id}\nfrom: {{host: 127.0.0.1, port: {pair.a.port}, user: dm, password: x}}\n"}
        answer = api.post(source_path(one, "readdress"), order)
        assert answer["code"] == 3 and answer["calls"] == [] and answer["checks"]
        assert "line 1" in api.post(source_path(one, "readdress"), {**order, "source-file": "x"}, 400)["msg"]
        api.post(source_path(one, "readdress"), {**order, "resume": True}, 409)
        assert api.get(source_path(one))["source"]["readdress"] is None
    finally:
        one.stop()
        stand_in.stop()


def test_switch_in_progress_is_described(pair, one):
    """While a switch waits for catch-up: its status, the refusal of a second one, the abort, and the end."""
    api = api_of(one)
    pair.a.stop_replica()  # b is merely ahead of a, which will have it in an hour
    pair.a.replicate_from(pair.b, source_delay=3600)
    pair.b.query("INSERT INTO test_admin.t VALUES (1)")
    order = {"to": "b", "wait-catchup": "1m", "old-is-dead": False, "accept-errant": [f"{pair.a.uuid}:1000000"]}
    number = api.post(source_path(one, "switch"), order, status=202)["switch"]
    stream = api.events(number)
    while next(stream)["phase"] != "catch-up":
        pass
    assert api.get(source_path(one))["source"]["switch"]["number"] == number
    assert api.get(f"/v1/switches/{number}")["switch"]["state"] == "open"
    for verb, body in (("switch", {"to": "b"}), ("check", {"to": "b"}), ("adopt", {"backend": "b"}),
                       ("repin", {"backend": "b"}), ("hold", {}), ("release", {})):
        assert api.post(source_path(one, verb), body, status=409)["switch"] == number
    assert api.post(source_path(one, "abort"))["switch"] == number
    end = list(stream)[-1]
    assert end["type"] == "end" and end["switch"]["state"] == "undone" and end["code"] == 1
    api.post(source_path(one, "abort"), status=409)


def test_orders_are_described(one):
    """Hold, release, adopt and repin, done and refused."""
    api = api_of(one)
    api.post(source_path(one, "hold"))
    held = api.get(source_path(one))["source"]
    assert held["held-by-hand"] and held["mode"] == "holding" and held["phase"]
    api.post(source_path(one, "release"))
    assert api.get(source_path(one))["source"]["phase"] == ""
    api.post(source_path(one, "adopt"), {"backend": "a"})
    api.post(source_path(one, "adopt"), {"backend": "b"}, status=409)
    api.post(source_path(one, "repin"), {"backend": "b"})
    api.post(source_path(one, "switch"), {"to": "a"}, status=409)


def test_backend_that_is_down_is_described(pair, one):
    """What is not known of a server that does not answer is null, and not left out."""
    api = api_of(one)
    pair.b.kill()

    def is_down():
        return not api.get(source_path(one))["source"]["backends"][1]["reachable"]

    try:
        wait_until(is_down, 20, "b is seen to be down")
        api.post(source_path(one, "repin"), {"backend": "b"}, status=409)
        assert not api.post(source_path(one, "check"), {"to": "b"})["result"]
        one.stop()
        one.start_ready()
        backend = api.get(source_path(one))["source"]["backends"][1]
        assert backend["gtid-executed"] is None and backend["version"] is None and backend["pinned-uuid"]
    finally:
        pair.b.start()


REFUSALS = [
    ("GET", "/v1/sources?all=1", None, 400),
    ("GET", "/v1/sources/%FF", None, 400),
    ("GET", "/v1/sources/no-such", None, 404),
    ("GET", "/v1/sources/no-such/history", None, 404),
    ("GET", "/v1/sources/{id}/history?limit=0", None, 400),
    ("GET", "/v1/switches/999999", None, 404),
    ("GET", "/v1/switches/999999/events", None, 404),
    ("GET", "/v1/switches/0", None, 400),
    ("GET", "/v1/switches/x/events", None, 400),
    ("DELETE", "/v1/sources", None, 405),
    ("GET", "/v1/sources/{id}/switch", None, 405),
    ("POST", "/metrics", {}, 405),
    ("POST", "/v1/sources/{id}/check", {"to": "c"}, 404),
    ("POST", "/v1/sources/{id}/switch", {"to": "c"}, 404),
    ("POST", "/v1/sources/{id}/adopt", {"backend": "c"}, 404),
    ("POST", "/v1/sources/{id}/repin", {"backend": "c"}, 404),
    ("POST", "/v1/sources/no-such/switch", {"to": "b"}, 404),
    ("POST", "/v1/sources/{id}/switch", {}, 400),
    ("POST", "/v1/sources/{id}/switch", {"to": "b", "force": True}, 400),
    ("POST", "/v1/sources/{id}/switch", {"to": "b", "wait-catchup": "soon"}, 400),
    ("POST", "/v1/sources/{id}/switch", {"to": "b", "accept-loss": "no set"}, 400),
    ("POST", "/v1/sources/{id}/switch", {"to": "b", "accept-errant": "no set"}, 400),
    ("POST", "/v1/sources/{id}/switch", {"to": "b", "gtid-s": "no set"}, 400),
    ("POST", "/v1/sources/{id}/switch", '{"to": "b"', 400),
    ("POST", "/v1/sources/{id}/abort", {"to": "b"}, 400),
    ("POST", "/v1/sources/{id}/hold", " " * ((1 << 20) + 1), 413),
    ("POST", "/v1/sources/{id}/release", None, 415),
]


def test_refusals_are_described(one):
    """Each way to ask wrongly has its status, and its answer says what is wrong; none of them changes anything."""
    api = api_of(one)
    for method, path, body, status in REFUSALS:
        answer = api.call(method, path.replace("{id}", one.source_id), body, status)
        assert not answer["result"] and answer["code"] == 2 and answer["msg"], (method, path, body)
    assert api.get(source_path(one, "history"))["switches"] == []
    assert api.get(source_path(one))["source"]["mode"] == "routing"


def test_token_is_asked_for_on_tcp(pair, sluice, tmp):
    """Over TCP every path needs the token; with it the answers are the same."""
    one = sluice(pair)
    port = free_port()
    token_file = tmp / "token"
    with open(os.open(token_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
        file.write("a-long-word\n")
    one.config["admin"] = {"listen": f"127.0.0.1:{port}", "token-file": str(token_file)}
    one.launch()
    right, none, wrong = (Api(lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=30), token)
                          for token in ("a-long-word", None, "a-long-wort"))

    def answers():
        assert one.is_running, one.log_tail()
        try:
            return right.get("/healthz")["result"]
        except ConnectionRefusedError:
            return False

    wait_until(answers, 20, "the admin interface answers")
    for api in (none, wrong):
        for template in SPEC["paths"]:
            path = template.replace("{source-id}", one.source_id).replace("{number}", "1")
            method = "POST" if "post" in SPEC["paths"][template] else "GET"
            api.call(method, path, {} if method == "POST" else None, 401)
    right.get("/v1/sources")


def test_stop_ends_open_event_streams(pair, one):
    """A daemon that is told to stop ends the streams that are open, and itself, in order."""
    api = api_of(one)
    pair.b.stop_replica(threads="SQL_THREAD")
    pair.a.query("INSERT INTO test_admin.t VALUES (1)")
    number = api.post(source_path(one, "switch"), {"to": "b", "wait-catchup": "1m"}, status=202)["switch"]
    streams = [api.events(number) for _ in range(5)]
    for stream in streams:
        next(stream)
    one.stop()  # exit code 0, and no report of a sanitizer
    for stream in streams:
        for _ in stream:
            pass  # to a proper end of the answer


def test_every_operation_was_seen():
    """Each operation of the document was called here, and has succeeded; runs last, and only after all the others."""
    wanted = {(path, method) for path, item in SPEC["paths"].items() for method in item if method != "parameters"}
    if len(SEEN) < 10:
        pytest.skip("runs with the other tests of this file")
    missing = wanted - {(template, method) for template, method, status in SEEN if status < 300}
    assert not missing, f"never answered well: {sorted(missing)}"
