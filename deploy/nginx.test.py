"""Runs nginx with deploy/nginx.conf on the loopback address, in front of a stand-in for a replica.

    python3 deploy/nginx.test.py CONF FOLDER

CONF is a copy whose replicas are 127.0.0.1:3007 and whose files are in FOLDER: scripts/check-stack
makes it. What is tested: a replica's answers pass unchanged, a write is sent once, and whatever nginx
refuses by itself is a problem as a replica's own would be.
"""

import http.client
import http.server
import json
import re
import socket
import subprocess
import sys
import threading

PATIENCE = 20
STOPPED = threading.Event()
# What has arrived: (method, path, request id).
SEEN = []
# As a replica writes it, down to the order of the members.
PROBLEM = b'{"type":"about:blank","title":"T","status":%d,"detail":"d","error":"d","code":"c","request_id":"r"}'
MEMBERS = ["type", "title", "status", "detail", "error", "code", "request_id"]


class Replica(http.server.BaseHTTPRequestHandler):
    """Answers as its path says."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        SEEN.append((self.command, self.path, self.headers["X-Request-Id"]))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = 200
        if self.path == "/drop":
            self.close_connection = True
            return
        if self.path == "/hang":
            STOPPED.wait(PATIENCE)
        if self.path.startswith("/problem/"):
            status = int(self.path.removeprefix("/problem/"))
        body = b"{}" if status == 200 else PROBLEM % status
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "private, no-cache")
        self.send_header("X-Request-Id", self.headers["X-Request-Id"])
        self.send_header("Allow", "GET")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Answer:
    """One answer to bytes that need not be a request."""

    def __init__(self, port, sent):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(sent)
            response = http.client.HTTPResponse(connection, method=sent.decode().split(" ")[0])
            response.begin()
            self.status, self.body = response.status, response.read()
            self.headers = {name.lower(): value for name, value in response.getheaders()}


def request(line, *headers, host="Host: localhost", body=b""):
    return "\r\n".join([f"{line} HTTP/1.1", host, "Connection: close", *headers, "", ""]).encode() + body


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r} instead of {wanted!r}")


def expect_problem(what, answer, status, code, request_id=None):
    """That nginx has answered, and in what form."""
    expect(what, answer.status, status)
    expect(what, answer.headers.get("content-type"), "application/problem+json")
    expect(what, answer.headers.get("cache-control"), "no-store")
    expect(what, answer.headers.get("content-length"), str(len(answer.body)))
    problem = json.loads(answer.body)
    expect(what, list(problem), MEMBERS)
    expect(what, (problem["type"], problem["status"], problem["code"]), ("about:blank", status, code))
    expect(what, problem["error"], problem["detail"])
    expect(what, bool(problem["title"] and problem["error"]), True)
    expect(what, answer.headers.get("x-request-id"), problem["request_id"])
    if request_id:
        expect(what, problem["request_id"], request_id)
    expect(what, bool(re.fullmatch("[A-Za-z0-9._-]{1,64}", problem["request_id"])), True)
    expect(what, answer.headers.get("retry-after"), "1" if status in (502, 503, 504) else None)
    expect(what, "allow" in answer.headers, status == 405)


def passes(port):
    """What a replica answers, and what it is asked."""
    for method in "GET", "PUT", "DELETE", "OPTIONS":
        for status in 200, 400, 401, 404, 405, 409, 413, 415, 422, 500, 502, 503, 504:
            path = f"/problem/{status}"
            answer = Answer(port, request(f"{method} {path}", "X-Request-Id: Abc.1_2-3", "Content-Length: 2", body=b"{}"))
            what = f"{method} {path} through nginx"
            expect(what, answer.status, status)
            expect(what, answer.body, b"{}" if status == 200 else PROBLEM % status)
            expect(what, answer.headers["cache-control"], "private, no-cache")
            expect(what, (answer.headers["allow"], answer.headers.get("retry-after")), ("GET", None))
            expect(what, (answer.headers["x-request-id"], SEEN[-1]), ("Abc.1_2-3", (method, path, "Abc.1_2-3")))
        # As it was sent: a decoded slash would be another path.
        path = "/tenants/by-integration/a%2Fb/?x=%20&y"
        expect(path, Answer(port, request(f"{method} {path}")).status, 200)
        expect(path, SEEN[-1][:2], (method, path))
    for own in "localhost:3007", "127.0.0.1", "[::1]:3007":
        expect(own, Answer(port, request("GET /", host=f"Host: {own}")).status, 200)
    for bad in "", 'a"b', "a b", "<b>", "a" * 65:
        answer = Answer(port, request("GET /", f"X-Request-Id: {bad}"))
        expect(f"the id for {bad!r}", bool(re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])), True)


def refuses(port):
    """What nginx answers by itself."""
    for what, status, code, raw in [
        ("no Host", 400, "bad_request", b"GET / HTTP/1.1\r\n\r\n"),
        ("two lengths", 400, "bad_request", request("PUT /", "Content-Length: 2", "Content-Length: 3", body=b"{}")),
        ("not HTTP", 400, "bad_request", b"hunter2\r\n\r\n"),
        ("malformed escape", 400, "bad_request", request("GET /%zz")),
        ("NUL", 400, "bad_request", request("GET /%00")),
        ("metrics", 404, "not_found", request("GET /metrics")),
        ("internal path", 404, "not_found", request("GET /.problem")),
        ("TRACE", 405, "method_not_allowed", request("TRACE /livez")),
        ("large body", 413, "body_too_large", request("PUT /", "Content-Length: 2000000")),
        ("long URI", 414, "uri_too_long", request("GET /" + "a" * 9000)),
        ("large header", 431, "headers_too_large", request("GET /", "X: " + "a" * 9000)),
        ("coding", 501, "not_implemented", request("PUT /", "Transfer-Encoding: gzip")),
        ("another name", 421, "misdirected_request", request("GET /", host="Host: evil.example")),
        ("another name, a write", 421, "misdirected_request", request("PUT /", host="Host: evil.example:3007")),
        ("version", 505, "http_version_not_supported", b"GET / HTTP/3.0\r\n\r\n"),
        ("full disk", 500, "internal", request("GET /own/500")),
        ("limit", 503, "unavailable", request("GET /own/503")),
    ]:
        before = len(SEEN)
        answer = Answer(port, raw)
        expect_problem(what, answer, status, code)
        expect(what, b"hunter2" in answer.body, False)
        expect(f"{what}: requests to a replica", len(SEEN), before)
    head = Answer(port, request("HEAD /metrics"))
    expect("HEAD", (head.status, head.body), (404, b""))


def fails(port):
    """A replica that breaks off or says nothing: a read is sent to another, a write never again."""
    for path, status, code in ("/drop", 502, "replica_unreachable"), ("/hang", 504, "replica_timeout"):
        for method in "GET", "PUT", "DELETE":
            SEEN.clear()
            answer = Answer(port, request(f"{method} {path}", "X-Request-Id: id-1", "Content-Length: 2", body=b"{}"))
            expect_problem(f"{method} {path}", answer, status, code, "id-1")
            # nginx does not count a try on a connection that it had kept.
            tries = (2, 3) if method == "GET" else (1,)
            expect(f"{method} {path}: {len(SEEN)} tries", len(SEEN) in tries, True)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def main(conf, folder):
    replica = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replica)
    replica.daemon_threads = True
    threading.Thread(target=replica.serve_forever, daemon=True).start()
    port = free_port()
    text = open(conf, encoding="utf-8").read()
    for old, new in [
        ("127.0.0.1:3007", f"127.0.0.1:{replica.server_port}"),
        ("listen 8080;", f"listen 127.0.0.1:{port}; location = /own/500 {{ return 500; }} location = /own/503 {{ return 503; }}"),
        ("proxy_read_timeout 30s;", "proxy_read_timeout 1s;"),
        # One that has failed is asked again at once: what is tested here is one request at a time.
        ("max_fails=1", "max_fails=0"),
    ]:
        expect(f"{old} in {conf}", old in text, True)
        text = text.replace(old, new)
    conf = f"{folder}/nginx.running.conf"
    open(conf, "w", encoding="utf-8").write(text)
    options = f"pid {folder}/nginx.pid; daemon off; master_process off;"
    with subprocess.Popen(["nginx", "-e", "stderr", "-p", folder, "-c", conf, "-g", options]) as nginx:
        try:
            for _ in range(PATIENCE * 100):
                expect("nginx has ended with", nginx.poll(), None)
                try:
                    socket.create_connection(("127.0.0.1", port), PATIENCE).close()
                    break
                except ConnectionRefusedError:
                    threading.Event().wait(0.01)
            passes(port)
            refuses(port)
            fails(port)
            replica.shutdown()
            replica.server_close()
            STOPPED.set()
            for method in "GET", "PUT":
                answer = Answer(port, request(f"{method} /"))
                expect_problem(f"{method} without a replica", answer, 502, "replica_unreachable")
        finally:
            nginx.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
