#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a Kubernetes API server, for the real kubectl: one node and its pods.

No real one can be had from Debian's packages. It knows just what kubectl's get, annotate, cordon,
uncordon and drain ask for. kube_api.py FOLDER: writes FOLDER/config (a kubeconfig) and keeps
FOLDER/node.json (what the node is now) up to date; FOLDER/ready: the node's Ready; a pod is gone once
it was evicted, unless FOLDER/protected is there (as a PodDisruptionBudget would have it).
"""
import http.server
import json
import pathlib
import re
import sys
import urllib.parse

folder = pathlib.Path(sys.argv[1])
node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "pi-07", "resourceVersion": "1"}, "spec": {}}
pods = {"web": {"kind": "Pod", "apiVersion": "v1",
                "metadata": {"name": "web", "namespace": "default", "uid": "u1",
                             "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web",
                                                  "uid": "u2", "controller": True}]},
                "spec": {"nodeName": "pi-07", "containers": []}, "status": {"phase": "Running"}}}


def resource(name, kind, *, namespaced, **more):
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind,
            "verbs": ["get", "list", "patch", "create", "delete"], **more}


def merge(into, patch):
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


class Api(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        with open(folder / "requests", "a") as f:
            print(self.command, self.path, file=f)

    def answer(self, body, status=200):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, status, reason):
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason,
                     "message": reason}, status)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        known = {
            "/version": {"major": "1", "minor": "20", "gitVersion": "v1.20.2"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                {"name": g, "versions": [{"groupVersion": g + "/v1", "version": "v1"}],
                 "preferredVersion": {"groupVersion": g + "/v1", "version": "v1"}} for g in ("policy", "apps")]},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                resource("nodes", "Node", namespaced=False, shortNames=["no"]),
                resource("pods", "Pod", namespaced=True),
                resource("pods/eviction", "Eviction", namespaced=True, group="policy", version="v1")]},
            "/apis/policy/v1": {"kind": "APIResourceList", "groupVersion": "policy/v1", "resources": []},
            "/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
                resource("daemonsets", "DaemonSet", namespaced=True)]},
            "/api/v1/pods": {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(pods.values())},
        }
        pod = re.fullmatch("/api/v1/namespaces/default/pods/(.*)", path)
        if path == "/api/v1/nodes/pi-07":
            ready = "True" if (folder / "ready").exists() else "False"
            self.answer({**node, "status": {"conditions": [{"type": "MemoryPressure", "status": "False"},
                                                           {"type": "Ready", "status": ready}]}})
        elif path in known:
            self.answer(known[path])
        elif pod and pod[1] in pods:
            self.answer(pods[pod[1]])
        else:
            self.refuse(404, "NotFound")

    def do_PATCH(self):
        if urllib.parse.urlsplit(self.path).path != "/api/v1/nodes/pi-07":
            return self.refuse(404, "NotFound")
        merge(node, self.body())
        (folder / "node.json").write_text(json.dumps(node))
        return self.answer(node)

    def do_POST(self):
        pod = re.fullmatch("/api/v1/namespaces/default/pods/(.*)/eviction", urllib.parse.urlsplit(self.path).path)
        self.body()
        if not pod or pod[1] not in pods:
            return self.refuse(404, "NotFound")
        if (folder / "protected").exists():
            return self.refuse(429, "TooManyRequests")
        del pods[pod[1]]
        return self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"}, 201)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
(folder / "node.json").write_text(json.dumps(node))
config = {"apiVersion": "v1", "kind": "Config", "current-context": "lab",
          "clusters": [{"name": "lab", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
          "users": [{"name": "lab", "user": {}}],
          "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}]}
(folder / "config.new").write_text(json.dumps(config))
(folder / "config.new").rename(folder / "config")
server.serve_forever()
