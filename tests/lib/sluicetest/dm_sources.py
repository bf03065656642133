# SPDX-License-Identifier: Apache-2.0
"""
What the stand-in for DM does with sources and whole tasks, as it was recorded: stop-task, operate-source, start-task.

stop-task keeps the downstream's checkpoint, and start-task goes on from it. A source that is created with enable-relay
starts the relay with what its directory already has; a stopped one takes its relay with it.
"""
import pymysql
import yaml

from .dm_binlog import GtidSet

CHECKED = "fail to check synchronization configuration with type: no errors but some warnings\n detail: {}"


def _words(code, text, kind="scheduler"):
    return f"[code={code}:class={kind}:scope=internal:level=medium], Message: {text}"


class Sources:
    """A part of DmStandIn."""

    source_is_there, has_delete, worker, check_upstream = True, True, "worker1", True

    def init_sources(self):
        """|ports|: {port in a source's file: where it really is}; |checkpoints|: what the downstream's tables hold."""
        self.ports, self.checkpoints, self.created = {}, {}, []

    def _done(self, **more):
        return {"result": True, "msg": "", "sources": [
            {"result": True, "msg": "", "source": self.source_id, "worker": self.worker}], **more}

    @staticmethod
    def _refused(msg, **more):
        return {"result": False, "msg": msg, "sources": [], **more}

    def stop_task(self, name, op):
        """Op 7, Delete; op 1, Stop, up to v5.4."""
        word = {7: "Delete", 1: "Stop"}[op]
        if (op == 7) != self.has_delete:
            return {"op": word, **self._refused(_words(38019, f"invalid op {word} on task", "dm-master"))}
        task = self.tasks[name]
        task.validator.end("Stopped")
        if task.stage == "Running":
            task.end("Stopped")
        task.close_pool()
        self.checkpoints[name] = task.flushed.copy()
        del self.tasks[name]
        return {"op": word, **self._done()}

    def operate_source(self, body):
        """PUT /sources: create 1, stop 3, show 4."""
        if body.get("op") == 1:
            return self._create_source(body)
        if body.get("sourceID") != [self.source_id] or (body["op"] == 3 and not self.source_is_there):
            return self._refused(_words(46004, f"source config with ID {body.get('sourceID')} not exists"))
        if body["op"] == 4:
            return self._done()
        if self.tasks:
            names = " ".join(self.tasks)
            return self._refused(_words(46010, f"source with name {self.source_id} need to operate has existing tasks "
                                               f"[{names}], Workaround: Please `stop-task` first.", "dm-master"))
        if self.relay.is_started and not self.relay_was_given_with_source and self.relay_has_worker:
            return self._refused(_words(46023, f"source {self.source_id} has relay workers"))
        self.relay.end("Stopped")
        self.relay.is_started = False
        self.source_is_there = self.is_bound = False
        return self._done()

    def _create_source(self, body):
        config = yaml.safe_load(body["config"][0])
        if self.source_is_there:
            return self._refused(_words(46007, f"source config with ID {self.source_id} already exists"))
        if body.get("workerName") not in (None, "", self.worker):
            return self._refused(_words(46003, f"dm-worker with name {body['workerName']} not exists"))
        begin = config["from"]
        port = self.ports.get(begin["port"], begin["port"])
        try:
            if self.check_upstream:
                pymysql.connect(host="127.0.0.1", port=port, user=begin["user"], password=begin["password"] or "",
                                connect_timeout=10).close()
        except pymysql.Error as error:
            return self._refused(_words(10001, f"database driver error: {error.args[-1]}", "database"))
        self.created.append(body["config"][0])
        self.from_host, self.from_port, self.upstream_port = begin["host"], begin["port"], port
        self.enable_gtid = bool(config.get("enable-gtid"))
        self.relay_was_given_with_source = bool(config.get("enable-relay"))
        self.source_is_there = self.is_bound = True
        if self.relay_was_given_with_source:
            self.relay.is_started = True
            self.relay.start()
        return self._done()

    def start_task(self, body):
        """POST /tasks."""
        config = yaml.safe_load(body["task"])
        name, sources = config["name"], [one["source-id"] for one in config["mysql-instances"]]
        if not self.source_is_there:
            text = f"source {self.source_id} in deployment configuration not found"
            return self._refused(_words(20031, text, "dm-master"), checkResult="")
        if self.source_id not in (body.get("sources") or sources):
            return self._refused("source not found in task's config", checkResult=CHECKED)
        if name in self.tasks:
            text = f"subtasks with name {name} for sources [{self.source_id}] already exist"
            return self._refused(_words(46014, text), checkResult=CHECKED)
        assert not body.get("removeMeta"), "the checkpoint would be gone"
        self.add_task(name, str(self.checkpoints.get(name, GtidSet())))
        return self._done(checkResult=CHECKED)
