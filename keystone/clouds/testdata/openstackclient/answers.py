#!/usr/bin/env python3
"""Write answers.json: the login that the openstack command sends for each input in inputs.json.

The script needs the Debian package python3-openstackclient (6.0). Run the script in this directory after a change of inputs.json:

    ./answers.py

In an input, KEYSTONE stands for the address of a Keystone, and DIR for the directory that contains the files of the input. HOME is DIR/home,
and the current directory is DIR/cwd. An answer contains the path of the login and the field "auth" of its body, or null if the command
fails before it logs in.
"""

import concurrent.futures
import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading


class Keystone(http.server.BaseHTTPRequestHandler):
    """Answers with a document of versions, and refuses all logins."""

    def reply(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        base = f"http://127.0.0.1:{self.server.server_port}" + self.path.rstrip("/").removesuffix("/v3")
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": base + "/v3/"}]}
        if self.path.rstrip("/").endswith("/v3"):
            self.reply(200, {"version": version})
        else:
            self.reply(300, {"versions": {"values": [version]}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.login = {"path": self.path.removesuffix("/auth/tokens"), "auth": body["auth"]}
        self.reply(401, {"error": {"code": 401, "message": "no", "title": "Unauthorized"}})

    def log_message(self, *_):
        pass


def answer(given):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keystone)
    server.login = None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as top:
        def fill(text):
            return text.replace("KEYSTONE", f"127.0.0.1:{server.server_port}").replace("DIR", top)

        for name in ("home", "cwd"):
            os.mkdir(os.path.join(top, name))
        for name, content in given.get("files", {}).items():
            path = pathlib.Path(top, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fill(content))
        env = {"PATH": os.environ["PATH"], "HOME": os.path.join(top, "home")}
        env.update({name: fill(value) for name, value in given.get("env", {}).items()})
        subprocess.run(["openstack", "token", "issue"], env=env, cwd=os.path.join(top, "cwd"), stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=120, check=False)
    server.shutdown()
    return server.login


def main():
    inputs = json.load(open("inputs.json", encoding="utf-8"))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = dict(zip([i["name"] for i in inputs], pool.map(answer, inputs)))
    with open("answers.json", "w", encoding="utf-8") as out:
        json.dump(answers, out, indent=1)
        out.write("\n")


main()
