# SPDX-License-Identifier: Apache-2.0
"""What a person asks of dm-master and orders from it: its HTTP API, of a real DM or of the stand-in alike."""
import http.client
import json

import grpc

from .dm_api import decode, encode

PAUSE, RESUME, STOP = 2, 3, 7
CREATE = 1


class DmCalls:
    """Calls to the master at |address| ("host:port"), about one source."""

    def __init__(self, address, source_id="mysql-01"):
        self.address, self.source_id = address, source_id

    def http(self, method, path, body=None, timeout=120.0):
        """(HTTP status, answer) of one call of the gateway; the answer is parsed when it is JSON."""
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request(method, "/apis/v1alpha1/" + path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read().decode()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text
        finally:
            connection.close()

    def order(self, method, path, body):
        """A call that must succeed, for the whole and for each source."""
        status, answer = self.http(method, path, body)
        parts = answer.get("sources", []) if isinstance(answer, dict) else []
        if status != 200 or not answer["result"] or not all(part["result"] for part in parts):
            raise RuntimeError(f"DM: {method} {path}: HTTP {status}: {answer}")
        return answer

    def grpc(self, method, message):
        """{field: values} that a call by gRPC answers; |message| is the same of the request."""
        with grpc.insecure_channel(self.address) as channel:
            call = channel.unary_unary(f"/pb.Master/{method}", request_serializer=encode, response_deserializer=decode)
            return call(message, timeout=60)

    # What query-status says. It makes the worker ask the upstream: not while clients are held.

    def status(self):
        """The element of this source in `sources`, or None where the worker gives none."""
        status, answer = self.http("GET", "status/")
        if status != 200 or not isinstance(answer, dict):
            return None
        ours = [one for one in answer["sources"] if one["sourceStatus"]["source"] == self.source_id]
        return next((one for one in ours if one["subTaskStatus"]), ours[0] if ours else None)

    def tasks(self):
        """{name: its element of subTaskStatus}."""
        status = self.status()
        return {task["name"]: task for task in status["subTaskStatus"]} if status else {}

    def gtid_s(self, task):
        """syncerBinlogGtid: what a person reads as S."""
        found = self.tasks().get(task)
        return found["sync"]["syncerBinlogGtid"] if found and found["sync"] else ""

    def stages(self):
        """{"relay": …, task: …, "validator of task": …}; a stage that is not there is ""."""
        status = self.status()
        if not status:
            return {}
        relay = status["sourceStatus"]["relayStatus"]
        found = {"relay": relay["stage"] if relay else ""}
        for task in status["subTaskStatus"]:
            found[task["name"]] = task["stage"]
            validation = task.get("validation")
            found[f"validator of {task['name']}"] = validation["stage"] if validation else ""
        return found

    # What dmctl orders.

    def pause(self, task):
        """pause-task, of this source."""
        return self.order("PUT", f"tasks/{task}", {"op": PAUSE, "sources": [self.source_id]})

    def resume(self, task):
        """resume-task, of this source."""
        return self.order("PUT", f"tasks/{task}", {"op": RESUME, "sources": [self.source_id]})

    def start_task(self, text):
        """start-task with the text of a task's file."""
        return self.order("POST", "tasks", {"task": text, "sources": [self.source_id]})

    def create_source(self, text):
        """operate-source create."""
        return self.order("PUT", "sources", {"op": CREATE, "config": [text]})
